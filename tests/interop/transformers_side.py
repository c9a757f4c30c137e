"""Loads an exported encoder with transformers, which need not be ovocr's environment, and saves what it computes.

Usage: transformers_side.py EXPORT IMAGE PIXELS.npy OUT.npz
"""

import os
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp()

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel


def main(folder: str, image: str, pixels: str, out: str) -> None:
    assert "ovocr" not in sys.modules
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    given = torch.from_numpy(np.load(pixels))
    with torch.no_grad():
        outputs = model(given, output_hidden_states=True)
        video = model(given[:2].transpose(0, 1)[None])
        whole = model(**processor(image, return_tensors="pt"))
        eager = AutoModel.from_pretrained(folder, trust_remote_code=True, attn_implementation="eager").eval()
        weights = eager(given, output_attentions=True).attentions
        halved = AutoModel.from_pretrained(folder, trust_remote_code=True, dtype=torch.bfloat16).eval()
        rough = halved(given.bfloat16()).last_hidden_state.float()
    check_training(model, given)
    with tempfile.TemporaryDirectory() as again:
        model.save_pretrained(again)
        processor.save_pretrained(again)
        assert AutoConfig.from_pretrained(again, trust_remote_code=True).rope_theta == model.config.rope_theta
        reloaded = AutoModel.from_pretrained(again, trust_remote_code=True).eval()
        with torch.no_grad():
            assert torch.equal(reloaded(given).pooler_output, outputs.pooler_output)
        other = AutoImageProcessor.from_pretrained(again, trust_remote_code=True)
        assert np.array_equal(other(image)["pixel_values"][0], processor(image)["pixel_values"][0])
    with Image.open(image) as opened:
        from_pillow = processor(opened, do_normalize=False)["pixel_values"][0]
        arrays = processor([np.asarray(opened.convert("RGB"))] * 2, do_normalize=False, return_tensors="np")
    np.savez(
        out,
        version=transformers.__version__,
        hidden_states=torch.stack(outputs.hidden_states).numpy(),
        tokens=outputs.last_hidden_state.numpy(),
        pooled=outputs.pooler_output.numpy(),
        video=video.last_hidden_state.numpy(),
        rough=rough.numpy(),
        whole=whole.last_hidden_state.numpy(),
        attention_sums=torch.stack(weights).sum(-1).numpy(),
        from_file=processor(image, do_normalize=False)["pixel_values"][0],
        normalised=processor(image, return_tensors="np")["pixel_values"],
        from_pillow=from_pillow,
        from_array=arrays["pixel_values"][1],
    )


def check_training(model: torch.nn.Module, pixels: torch.Tensor) -> None:
    """Recomputed activations give the same gradients; a model without weights gets initial ones."""
    gradients = []
    model.train()
    for recompute in (False, True):
        model.zero_grad()
        if recompute:
            model.gradient_checkpointing_enable()
        model(pixels).pooler_output.sum().backward()
        gradients.append(model.embeddings.patch_embedding.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)
    model.gradient_checkpointing_disable()
    model.eval()
    fresh = type(model)(model.config)
    assert abs(float(fresh.encoder.layers[0].mlp.fc1.weight.std()) - 0.0176) < 0.002  # N(0, 0.02) cut at two deviations
    assert 0.5 < float(fresh.head.probe.std()) < 1.5


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The analytic counts, compared with the products that torch counts in a real forward and backward pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import PRESETS, BackboneConfig
from ovocr.trainer.flops.model_flops import PassSize, StepFlops, backbone_flops, head_flops
from ovocr.trainer.heads.partial_fc import PartialFC

SMALL = BackboneConfig(
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=64,
    patch_size=16,
)


def counted(run: Callable[[], Any]) -> int:
    """Returns the operations that torch counts. Its table lacks the product that adds in place."""

    def product(sum_shape: list[int], left: list[int], right: list[int], out_shape: Any = None, **others: Any) -> int:
        return 2 * left[0] * left[1] * right[1]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: product}) as counter:
        run()
    return counter.get_total_flops()


# torch's table has no entry for the fused attention of a CPU; the other one consists of two products.
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("frames", "image_size"), [(1, 64), (1, 96), (4, 64)])
def test_backbone_needs_as_many_as_torch_counts(frames: int, image_size: int, recompute: bool) -> None:
    backbone = Backbone(SMALL)
    backbone.encoder.recompute = recompute
    pixels = torch.randn(2, 3, *([frames] if frames > 1 else []), image_size, image_size)
    with sdpa_kernel(SDPBackend.MATH):
        found = counted(lambda: backbone(pixels)[1].sum().backward())
        backbone.requires_grad_(False)
        forward = counted(lambda: backbone(pixels))
    needed = 2 * backbone_flops(SMALL, frames=frames, image_size=image_size)
    assert forward == 2 * backbone_flops(SMALL, frames=frames, image_size=image_size, trained=False)
    if not recompute:
        assert found == needed
    else:  # the layers run twice; what is recomputed does not count as model FLOPs
        assert 1.1 * needed < found < 4 / 3 * needed


@pytest.mark.parametrize(
    "settings",
    [
        {"labels_per_sample": 4, "sample_rate": 0.3},
        {"labels_per_sample": 8, "sample_rate": 0.1, "negative_weight": "importance"},
        {"labels_per_sample": 4, "sample_rate": 0.3, "sampling": "shared"},
        {"labels_per_sample": 4, "sample_rate": 1.0},
        {"labels_per_sample": "all", "sample_rate": 0.3, "objective": "soft"},
        {"labels_per_sample": "all", "sample_rate": 0.3, "objective": "two_sided", "mask_own_tags": False},
    ],
    ids=str,
)
def test_head_needs_almost_as_many_as_torch_counts(settings: dict[str, Any]) -> None:
    """torch also counts the weights of slots (4 S K B) and the positives' cosines in float64 (4 B P D)."""
    images, dim = 32, 512
    head = PartialFC(dim, 3000, implementation="torch", **settings)
    embeddings = torch.randn(images, dim, requires_grad=True)
    labels = torch.randint(0, 3000, (images, 10))
    found = counted(lambda: head(embeddings, labels).backward())
    assert head.last_report is not None
    needed = head_flops(dim, images=images, centers=head.last_report.sample_size)
    assert needed <= found < 1.03 * needed


def test_large_backbone() -> None:
    """The published count for ViT-Large with 1,024 tokens: parameters of the layers, attention, twice for backward."""
    config = BackboneConfig(**PRESETS["large"])
    layers = 24 * 12 * 1024**2  # parameters that multiply a token
    products = 6 * 1024 * layers + 3 * 24 * 4 * 1024**2 * 1024
    assert backbone_flops(config, frames=1, image_size=448) == pytest.approx(products, rel=0.02)


def test_step_adds_up_passes_and_heads(config_file: Path) -> None:
    data = config_file.parent / "labels"
    other = f'heads.other.data=["{data}"]'
    config = load_config(config_file, [other, "heads.other.global_batch=6", "heads.other.image_size=64"])
    passes = {"ocr": [PassSize(2, 6, 30), PassSize(1, 6, 32)], "other": [PassSize(3, 6, 50)]}
    flops = StepFlops.count(config, passes)
    small, large = (backbone_flops(config.backbone, frames=1, image_size=side) for side in (32, 64))
    assert flops.backbone == 3 * small + 3 * large
    assert flops.heads == {"ocr": 3 * 2 * (30 + 32) * 6 * 64, "other": 3 * 2 * 50 * 6 * 64}
    assert flops.total == flops.backbone + sum(flops.heads.values())
    frozen = StepFlops.count(
        config.model_copy(update={"run": config.run.model_copy(update={"freeze_backbone": True})}), passes
    )
    assert 2.5 < flops.backbone / frozen.backbone < 3
    assert frozen.heads["other"] == 2 * 2 * 50 * 6 * 64

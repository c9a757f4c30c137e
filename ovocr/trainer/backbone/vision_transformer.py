"""The vision transformer: pre-norm, rotary (t, h, w) positions, attention pooling.

Parameters and config.json keys have the same names as in the released OneVision encoders (Hugging Face layout), so
weights can be exchanged without conversion.

Shape suffixes: B images or videos, T frames, L patches (of all frames), D channels, N heads, E channels of a head.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ovocr.base.errors import OvocrError
from ovocr.base.files import write_text, written_aside
from ovocr.trainer.backbone.rotary import grid_positions, rotary_tables, rotate
from ovocr.trainer.config.parsing import SettingError, parse
from ovocr.trainer.config.sections import BackboneConfig

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
# Entries of config.json with fixed values, besides the sizes. Other values describe a different network.
_FIXED_KEYS: dict[str, Any] = {
    "layer_norm_type": "layer_norm",
    "use_head": True,
    "hidden_act": "gelu",
    "num_channels": 3,
    "attention_dropout": 0.0,
}
_SIZE_KEYS = tuple(key for key in BackboneConfig.model_fields if key not in ("preset", "init_from"))
# Sizes that do not affect the weights: positions are rotary, so a backbone accepts images of any size.
_FREE_KEYS = frozenset({"image_size", "rope_temporal_size"})
_INITIAL_STD = 0.02


class Attention(nn.Module):
    """Self-attention over all patches of an image or video, with rotary positions for queries and keys."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BLD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Maps [B, L, D] to [B, L, D]; cos and sin broadcast to [B, N, L, E]."""
        q_BNLE, k_BNLE, v_BNLE = (
            projection(x_BLD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed_BNLE = F.scaled_dot_product_attention(rotate(q_BNLE, cos, sin), rotate(k_BNLE, cos, sin), v_BNLE)
        mixed_BLD = mixed_BNLE.transpose(1, 2).flatten(2)
        return self.out_proj(mixed_BLD)


class MLP(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x_BLD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Maps [B, L, D] to [B, L, D]."""
        x_BLD = x_BLD + self.self_attn(self.layer_norm1(x_BLD), cos, sin)
        return x_BLD + self.mlp(self.layer_norm2(x_BLD))


class PatchEmbedding(nn.Module):
    """A linear projection of the pixels of each patch, without a bias."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, kernel_size=size, stride=size, bias=False)

    def forward(self, pixels_BCTHW: Tensor) -> Tensor:
        """Maps [B, 3, T, H, W] to [B, L, D], frame by frame, row by row."""
        batch, _, frames, _, _ = pixels_BCTHW.shape
        maps = self.patch_embedding(pixels_BCTHW.transpose(1, 2).flatten(0, 1))
        return maps.flatten(2).transpose(1, 2).unflatten(0, (batch, frames)).flatten(1, 2)


class Encoder(nn.Module):
    """The stack of layers; ``recompute``: recompute activations in the backward pass instead of storing them."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.recompute = False

    def forward(self, x_BLD: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Maps [B, L, D] to [B, L, D]."""
        for layer in self.layers:
            if self.recompute and torch.is_grad_enabled():
                x_BLD = checkpoint(layer, x_BLD, cos, sin, use_reentrant=False, preserve_rng_state=False)
            else:
                x_BLD = layer(x_BLD, cos, sin)
        return x_BLD

    def compile_layers(self) -> None:
        """Compiles the layers with torch.compile. All layers have the same shape and share one compilation.

        In evaluation mode they run uncompiled: its inputs have other shapes and precisions, each of which would be
        compiled, and torch gives up compiling after a few of them.
        """
        for layer in self.layers:
            layer.forward = partial(_forward_of_mode, layer, layer.forward, torch.compile(layer.forward, dynamic=False))


def _forward_of_mode(
    layer: nn.Module, uncompiled: Callable[..., Tensor], compiled: Callable[..., Tensor], *inputs: Tensor
) -> Tensor:
    return compiled(*inputs) if layer.training else uncompiled(*inputs)


class PoolingHead(nn.Module):
    """Attention pooling: one learned probe attends over all tokens, followed by a residual MLP."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Maps [B, L, D] to [B, D]."""
        probe_B1D = self.probe.expand(tokens_BLD.shape[0], -1, -1)
        pooled_BD = self.attention(probe_B1D, tokens_BLD, tokens_BLD, need_weights=False)[0][:, 0]
        pooled_BD = pooled_BD.to(self.norm.weight.dtype)  # autocast made it bfloat16; sums and norms stay in float32
        return pooled_BD + self.mlp(self.norm(pooled_BD))


class Backbone(nn.Module):
    """Encodes images or videos to one token per patch and one pooled embedding; parameters are float32.

    Under bfloat16 autocast only products are bfloat16; residual sums, norms, rotary angles, tokens and pooled stay
    float32.

    Initial values follow the released model's code: weights of linear layers and of the patch embedding N(0, 0.02)
    (here truncated at two deviations), the pooling attention's joint projection Xavier uniform, the probe N(0, 1),
    biases 0, norm weights 1.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = PatchEmbedding(config)
        self.layernorm_pre = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = Encoder(config)
        self.layernorm_post = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = PoolingHead(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the initial values from torch's default generator."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=_INITIAL_STD, a=-2 * _INITIAL_STD, b=2 * _INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
                module.reset_parameters()
        nn.init.xavier_uniform_(self.head.attention.in_proj_weight)
        nn.init.zeros_(self.head.attention.in_proj_bias)
        nn.init.normal_(self.head.probe)

    def forward(self, pixels: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encodes normalised pixels.

        pixels: [B, 3, H, W], or [B, 3, T, H, W] for videos; H and W are multiples of the patch size.
        positions: int64 [B, L, 3], the (t, h, w) of each patch, L = T * H/p * W/p, frame by frame, row by row. None
            uses the indices of frame, row and column; an image has t = 0.

        Returns tokens [B, L, D], after the last norm, and pooled [B, D]. Raises ValueError if the shapes do not match.
        """
        if pixels.ndim == 4:
            pixels = pixels.unsqueeze(2)
        positions = self._checked_positions(pixels, positions)
        cos, sin = rotary_tables(positions, self.config.head_dim, self.config.rope_theta)
        # The residual stream stays in the parameters' dtype; autocast only lowers the products, on any device.
        tokens_BLD = self.layernorm_pre(self.embeddings(pixels).to(self.layernorm_pre.weight.dtype))
        tokens_BLD = self.encoder(tokens_BLD, cos.unsqueeze(-3), sin.unsqueeze(-3))
        tokens_BLD = self.layernorm_post(tokens_BLD)
        return tokens_BLD, self.head(tokens_BLD)

    def _checked_positions(self, pixels_BCTHW: Tensor, positions: Tensor | None) -> Tensor:
        patch = self.config.patch_size
        if pixels_BCTHW.ndim != 5 or pixels_BCTHW.shape[1] != 3:
            raise ValueError(f"pixels must be [B, 3, H, W] or [B, 3, T, H, W], not {list(pixels_BCTHW.shape)}")
        batch, _, frames, height, width = pixels_BCTHW.shape
        if height % patch or width % patch:
            raise ValueError(f"{height} x {width} pixels cannot be divided into patches of {patch} x {patch}")
        rows, columns = height // patch, width // patch
        if positions is None:
            if frames > self.config.rope_temporal_size:
                raise ValueError(f"{frames} frames exceed the time axis of {self.config.rope_temporal_size}")
            return grid_positions(frames, rows, columns, device=pixels_BCTHW.device)
        if positions.shape != (batch, frames * rows * columns, 3):
            raise ValueError(f"positions must be {[batch, frames * rows * columns, 3]}, not {list(positions.shape)}")
        return positions

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Backbone":
        """Loads config.json and model.safetensors; parameters become float32. Raises OvocrError naming the problem."""
        backbone = cls(read_config(Path(folder)))
        backbone.load_weights(folder)
        return backbone

    def load_weights(self, folder: str | Path) -> None:
        """Loads the weights of a folder with config.json and model.safetensors, for any image size.

        Raises OvocrError, before it changes anything, if the weights belong to a different network.
        """
        self.load_state_dict(self.read_weights(folder))

    def read_weights(self, folder: str | Path) -> dict[str, Tensor]:
        """Returns the tensors of a folder with config.json and model.safetensors by name, for any image size.

        Raises OvocrError if the weights belong to a different network.
        """
        check_same_network(read_config(Path(folder)), self.config, Path(folder) / CONFIG_NAME)
        path = Path(folder) / WEIGHTS_NAME
        if not path.is_file():
            raise OvocrError(f"{path}: no such file (weights are read from safetensors only)")
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise OvocrError(f"{path}: cannot be read as safetensors: {error}") from error
        problem = _mismatch(self.state_dict(), tensors)
        if problem:
            raise OvocrError(f"{path}: does not match this backbone: {problem}")
        return tensors

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors, each atomically; creates the folder if needed."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with written_aside(Path(folder) / WEIGHTS_NAME) as partial:
            # Not save_file, which makes the file readable by its owner only.
            partial.write_bytes(save(tensors, metadata={"format": "pt"}))
        keys = {
            "architectures": ["OneVisionEncoderModel"],
            "model_type": "onevision_encoder",
            **{key: getattr(self.config, key) for key in _SIZE_KEYS},
            **_FIXED_KEYS,
        }
        write_text(Path(folder) / CONFIG_NAME, json.dumps(keys, indent=2, sort_keys=True) + "\n")


def check_same_network(theirs: BackboneConfig, ours: BackboneConfig, source: Path) -> None:
    """Raises OvocrError naming ``source``, the file that describes ``theirs``, if weights have different meanings."""
    for key in _SIZE_KEYS:
        their_value, our_value = getattr(theirs, key), getattr(ours, key)
        if their_value != our_value and key not in _FREE_KEYS:
            raise OvocrError(f"{source}: {key} is {their_value}, but this backbone's is {our_value}")


def read_config(folder: Path) -> BackboneConfig:
    """Returns the sizes in a folder's config.json. Raises OvocrError if it is missing or of a different network."""
    path = folder / CONFIG_NAME
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OvocrError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise OvocrError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(keys, dict):
        raise OvocrError(f"{path}: expected a JSON object")
    for key, value in _FIXED_KEYS.items():
        if keys.get(key, value) != value:
            raise OvocrError(f"{path}: {key}: {keys[key]!r} is not supported; it must be {value!r}")
    try:
        return parse(BackboneConfig, {key: keys[key] for key in _SIZE_KEYS if keys.get(key) is not None})
    except SettingError as error:
        raise OvocrError(f"{path}: {error}") from error


def _mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Names tensors that are missing, unexpected or of a different shape, a few of each; empty if all match."""
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of a different shape": [
            f"{name} {list(found[name].shape)} for {list(expected[name].shape)}"
            for name in sorted(expected.keys() & found.keys())
            if found[name].shape != expected[name].shape
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        for kind, names in problems.items()
        if names
    )

"""The vision encoder in the folder of this file, for transformers; `ovocr export` wrote it (Apache-2.0).

A pre-norm vision transformer with rotary (t, h, w) positions and attention pooling. The names of its parameters are
those of the released OneVision encoders.

Shape suffixes: B images or videos, T frames, L patches (of all frames), D channels, N heads, E channels of a head.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel

from .configuration_onevision_encoder import OneVisionEncoderConfig

# Sixteenths of half a head's channels for the frequencies of t, h and w.
_SPLIT = (4, 6, 6)


def grid_positions(frames: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Returns the (t, h, w) of every patch, frame by frame, row by row: int64 [frames * rows * columns, 3]."""
    axes = (torch.arange(size, device=device) for size in (frames, rows, columns))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 2)


def rotary_tables(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Returns cosine and sine of every channel's angle, float32 [..., L, E], for positions [..., L, 3]."""
    angles = []
    for axis, share in enumerate(_SPLIT):
        count = share * (head_dim // 32)
        exponents = torch.arange(count, dtype=torch.float32, device=positions.device) / count
        angles.append(positions[..., axis, None].to(torch.float32) * (1.0 / theta**exponents))
    half = torch.cat(angles, dim=-1)
    angle = torch.cat((half, half), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x_BNLE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates pairs of neighbouring channels; keeps the dtype.

    The two channels of a pair have the angles of two different channels of the tables: the weights were trained so.
    """
    turned_BNLE = torch.stack((-x_BNLE[..., 1::2], x_BNLE[..., ::2]), dim=-1).flatten(-2)
    return (x_BNLE * cos + turned_BNLE * sin).to(x_BNLE.dtype)


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Returns attention [B, L, N, E] and its weights [B, N, L, L]; the interface of transformers' attentions."""
    weights = torch.matmul(query, key.transpose(-1, -2)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = F.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class OneVisionEncoderAttention(nn.Module):
    """Self-attention over all patches, with rotary positions for queries and keys."""

    is_causal = False

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BLD: Tensor, cos: Tensor, sin: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Returns [B, L, D] and the weights [B, N, L, L], None if the implementation does not compute them."""
        q_BNLE, k_BNLE, v_BNLE = (
            projection(x_BLD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attention = eager_attention_forward
        if self.config._attn_implementation != "eager":
            attention = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        mixed_BLNE, weights = attention(
            self,
            rotate(q_BNLE, cos, sin),
            rotate(k_BNLE, cos, sin),
            v_BNLE,
            None,
            scaling=self.scaling,
            dropout=self.config.attention_dropout if self.training else 0.0,
            **kwargs,
        )
        return self.out_proj(mixed_BLNE.flatten(2)), weights


class OneVisionEncoderMLP(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., D] to [..., D]."""
        return self.fc2(F.gelu(self.fc1(x)))


class OneVisionEncoderLayer(GradientCheckpointingLayer):
    """One pre-norm transformer layer."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = OneVisionEncoderAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = OneVisionEncoderMLP(config)

    def forward(self, x_BLD: Tensor, cos: Tensor, sin: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Returns [B, L, D] and the attention weights, None if they are not computed."""
        mixed_BLD, weights = self.self_attn(self.layer_norm1(x_BLD), cos, sin, **kwargs)
        x_BLD = x_BLD + mixed_BLD
        return x_BLD + self.mlp(self.layer_norm2(x_BLD)), weights


class OneVisionEncoderEmbeddings(nn.Module):
    """A linear projection of the pixels of each patch, without a bias."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=size, stride=size, bias=False
        )

    def forward(self, pixels_BCTHW: Tensor) -> Tensor:
        """Maps [B, 3, T, H, W] to [B, L, D], frame by frame, row by row."""
        batch, _, frames, _, _ = pixels_BCTHW.shape
        maps = self.patch_embedding(pixels_BCTHW.transpose(1, 2).flatten(0, 1))
        return maps.flatten(2).transpose(1, 2).unflatten(0, (batch, frames)).flatten(1, 2)


class OneVisionEncoderStack(nn.Module):
    """The layers."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(OneVisionEncoderLayer(config) for _ in range(config.num_hidden_layers))


class OneVisionEncoderPoolingHead(nn.Module):
    """Attention pooling: one learned probe attends over all tokens, followed by a residual MLP."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = OneVisionEncoderMLP(config)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Maps [B, L, D] to [B, D]."""
        probe_B1D = self.probe.expand(tokens_BLD.shape[0], -1, -1)
        pooled_BD = self.attention(probe_B1D, tokens_BLD, tokens_BLD, need_weights=False)[0][:, 0]
        return pooled_BD + self.mlp(self.norm(pooled_BD))


class OneVisionEncoderPreTrainedModel(PreTrainedModel):
    """Names and abilities of the model for transformers."""

    config_class = OneVisionEncoderConfig
    base_model_prefix = "onevision_encoder"
    main_input_name = "pixel_values"
    input_modalities = ("image", "video")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["OneVisionEncoderLayer", "OneVisionEncoderPoolingHead"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draws the initial values of one module, for models that are created without weights."""
        deviation = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight)
            nn.init.zeros_(module.in_proj_bias)
        elif isinstance(module, OneVisionEncoderPoolingHead):
            nn.init.normal_(module.probe)


class OneVisionEncoderModel(OneVisionEncoderPreTrainedModel):
    """Encodes images or videos to one token for each patch and one pooled embedding."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__(config)
        self.embeddings = OneVisionEncoderEmbeddings(config)
        self.layernorm_pre = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = OneVisionEncoderStack(config)
        self.layernorm_post = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = OneVisionEncoderPoolingHead(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the projection of the patches."""
        return self.embeddings.patch_embedding

    def forward(
        self,
        pixel_values: Tensor,
        patch_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Encodes normalised pixels.

        pixel_values: [B, 3, H, W], or [B, 3, T, H, W] for videos; patch_size divides H and W.
        patch_positions: int64 [B, L, 3], the (t, h, w) of each patch, frame by frame, row by row. None uses the indices
            of frame, row and column; an image has t = 0.
        output_attentions: whether to return attention weights; needs attn_implementation="eager".

        Returns last_hidden_state [B, L, D], the tokens after the last norm, and pooler_output [B, D]. With
        output_hidden_states: hidden_states, num_hidden_layers + 1 tensors [B, L, D]: the input of the first layer, then
        the output of each layer, before the last norm. Raises ValueError if shapes do not match.
        """
        config = self.config
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        if output_attentions and config._attn_implementation != "eager":
            raise ValueError('output_attentions needs the model loaded with attn_implementation="eager"')
        pixels_BCTHW = pixel_values.unsqueeze(2) if pixel_values.ndim == 4 else pixel_values
        positions = self._checked_positions(pixels_BCTHW, patch_positions)
        cos, sin = rotary_tables(positions, config.hidden_size // config.num_attention_heads, config.rope_theta)
        cos, sin = cos.unsqueeze(-3), sin.unsqueeze(-3)
        x_BLD = self.layernorm_pre(self.embeddings(pixels_BCTHW.to(self.embeddings.patch_embedding.weight.dtype)))
        hidden_states, attentions = [x_BLD], []
        for layer in self.encoder.layers:
            x_BLD, weights = layer(x_BLD, cos, sin, **kwargs)
            hidden_states.append(x_BLD)
            attentions.append(weights)
        tokens_BLD = self.layernorm_post(x_BLD)
        output = BaseModelOutputWithPooling(
            last_hidden_state=tokens_BLD,
            pooler_output=self.head(tokens_BLD),
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
        return output.to_tuple() if return_dict is False else output

    def _checked_positions(self, pixels_BCTHW: Tensor, positions: Tensor | None) -> Tensor:
        patch = self.config.patch_size
        if pixels_BCTHW.ndim != 5 or pixels_BCTHW.shape[1] != self.config.num_channels:
            raise ValueError(f"pixel_values must be [B, 3, H, W] or [B, 3, T, H, W], not {list(pixels_BCTHW.shape)}")
        batch, _, frames, height, width = pixels_BCTHW.shape
        if height % patch or width % patch:
            raise ValueError(f"{height} x {width} pixels cannot be divided into patches of {patch} x {patch}")
        rows, columns = height // patch, width // patch
        if positions is None:
            if frames > self.config.rope_temporal_size:
                raise ValueError(f"{frames} frames exceed the time axis of {self.config.rope_temporal_size}")
            return grid_positions(frames, rows, columns, pixels_BCTHW.device)
        if positions.shape != (batch, frames * rows * columns, 3):
            expected = [batch, frames * rows * columns, 3]
            raise ValueError(f"patch_positions must be {expected}, not {list(positions.shape)}")
        return positions


__all__ = ["OneVisionEncoderModel", "OneVisionEncoderPreTrainedModel"]

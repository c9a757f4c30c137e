"""Configuration of the vision encoder in the folder of this file, which `ovocr export` wrote (Apache-2.0)."""

from typing import Any

from transformers import PretrainedConfig


class OneVisionEncoderConfig(PretrainedConfig):
    """Sizes of a vision transformer with rotary (t, h, w) positions and attention pooling.

    Positions are rotary, so the encoder accepts images of any size that patch_size divides; image_size is the side that
    it was trained with. rope_temporal_size: the length of the time axis, in virtual frames.
    """

    model_type = "onevision_encoder"

    def __init__(
        self,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        num_channels: int = 3,
        image_size: int = 448,
        patch_size: int = 14,
        hidden_act: str = "gelu",
        layer_norm_eps: float = 1e-6,
        layer_norm_type: str = "layer_norm",
        attention_dropout: float = 0.0,
        rope_theta: float = 10000.0,
        rope_temporal_size: int = 64,
        use_head: bool = True,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.layer_norm_type = layer_norm_type
        self.attention_dropout = attention_dropout
        self.rope_theta = rope_theta
        self.rope_temporal_size = rope_temporal_size
        self.use_head = use_head
        self.initializer_range = initializer_range
        super().__init__(**kwargs)

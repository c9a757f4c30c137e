"""The backbone against a slow float64 reference with plain loops, written from the method's description."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ovocr.base.errors import OvocrError
from ovocr.trainer.backbone.rotary import grid_positions, rotary_tables, rotate
from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.config.sections import BackboneConfig

Array = NDArray[np.float64]
CONFIG = BackboneConfig(
    hidden_size=64,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=12,
    patch_size=4,
    rope_temporal_size=8,
)


def random_backbone(config: BackboneConfig = CONFIG, seed: int = 0) -> Backbone:
    """Returns a backbone with large random parameters, including biases and norms, so no term is near 0."""
    torch.manual_seed(seed)
    backbone = Backbone(config)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return backbone


def pixels(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- the reference: one image or video, one token, one channel at a time ----


def reference(backbone: Backbone, video: Array, positions: list[tuple[int, int, int]]) -> tuple[Array, Array]:
    """Returns tokens [L, D] and pooled [D] of one video [3, T, H, W]."""
    config = backbone.config
    weights = {name: value.double().numpy() for name, value in backbone.state_dict().items()}
    x = layer_norm(patches(video, weights["embeddings.patch_embedding.weight"]), weights, "layernorm_pre.")
    for number in range(config.num_hidden_layers):
        layer = f"encoder.layers.{number}."
        x = x + self_attention(layer_norm(x, weights, f"{layer}layer_norm1."), weights, f"{layer}self_attn.", positions)
        x = x + mlp(layer_norm(x, weights, f"{layer}layer_norm2."), weights, f"{layer}mlp.")
    x = layer_norm(x, weights, "layernorm_post.")
    return x, pool(x, weights)


def patches(video: Array, kernel: Array) -> Array:
    size = kernel.shape[-1]
    _, frames, height, width = video.shape
    tokens = [
        [(video[:, t, y : y + size, x : x + size] * channel).sum() for channel in kernel]
        for t in range(frames)
        for y in range(0, height, size)
        for x in range(0, width, size)
    ]
    return np.array(tokens)


def layer_norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weights[f"{name}weight"]
        + weights[f"{name}bias"]
    )


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return x @ weights[f"{name}weight"].T + weights[f"{name}bias"]


def mlp(x: Array, weights: dict[str, Array], name: str) -> Array:
    hidden = linear(x, weights, f"{name}fc1.")
    gelu = np.array([value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in hidden.ravel()])
    return linear(gelu.reshape(hidden.shape), weights, f"{name}fc2.")


def rotated(vector: Array, position: tuple[int, int, int]) -> Array:
    """Returns the rotated vector of one head, channel by channel: angles [f, f], neighbours (2i, 2i + 1) paired."""
    half = len(vector) // 2
    angles = []
    for coordinate, share in zip(position, (4, 6, 6), strict=True):
        count = half * share // 16
        angles += [coordinate * 10000.0 ** (-i / count) for i in range(count)]
    angles = angles * 2
    result = np.empty_like(vector)
    for i in range(0, len(vector), 2):
        a, b = vector[i], vector[i + 1]
        result[i] = a * math.cos(angles[i]) - b * math.sin(angles[i])
        result[i + 1] = b * math.cos(angles[i + 1]) + a * math.sin(angles[i + 1])
    return result


def attend(query: Array, keys: list[Array], values: list[Array]) -> Array:
    scores = [float(query @ key) / math.sqrt(len(query)) for key in keys]
    shares = [math.exp(score - max(scores)) for score in scores]
    return sum(share / sum(shares) * value for share, value in zip(shares, values, strict=True))


def self_attention(x: Array, weights: dict[str, Array], name: str, positions: list[tuple[int, int, int]]) -> Array:
    q, k, v = (linear(x, weights, f"{name}{part}_proj.") for part in "qkv")
    result = np.empty_like(x)
    size = x.shape[1] // CONFIG.num_attention_heads
    for start in range(0, x.shape[1], size):
        head = slice(start, start + size)
        keys = [rotated(key[head], position) for key, position in zip(k, positions, strict=True)]
        for token, position in enumerate(positions):
            result[token, head] = attend(rotated(q[token, head], position), keys, [value[head] for value in v])
    return linear(result, weights, f"{name}out_proj.")


def pool(x: Array, weights: dict[str, Array]) -> Array:
    width = x.shape[1]
    joint, bias = weights["head.attention.in_proj_weight"], weights["head.attention.in_proj_bias"]
    q = joint[:width] @ weights["head.probe"][0, 0] + bias[:width]
    k = x @ joint[width : 2 * width].T + bias[width : 2 * width]
    v = x @ joint[2 * width :].T + bias[2 * width :]
    size = width // CONFIG.num_attention_heads
    heads = [attend(q[s : s + size], list(k[:, s : s + size]), list(v[:, s : s + size])) for s in range(0, width, size)]
    pooled = linear(np.concatenate(heads), weights, "head.attention.out_proj.")
    normed = pooled / np.sqrt((pooled**2).mean() + 1e-6) * weights["head.norm.weight"]
    return pooled + mlp(normed, weights, "head.mlp.")


# ---- the tests ----


def test_image_matches_the_reference() -> None:
    backbone, image = random_backbone(), pixels(2, 3, 8, 12)
    with torch.no_grad():
        tokens, pooled = backbone(image)
    positions = [(0, row, column) for row in range(2) for column in range(3)]
    for number in range(2):
        expected = reference(backbone, image[number].double().numpy()[:, None], positions)
        np.testing.assert_allclose(tokens[number].numpy(), expected[0], atol=1e-5)
        np.testing.assert_allclose(pooled[number].numpy(), expected[1], atol=1e-5)


def test_video_with_positions_matches_the_reference() -> None:
    backbone, video = random_backbone(), pixels(1, 3, 2, 8, 8)
    positions = [(t, row, column) for t in (5, 61) for row in range(2) for column in (0, 30)]
    with torch.no_grad():
        tokens, pooled = backbone(video, torch.tensor([positions]))
        elsewhere, _ = backbone(video)
    expected = reference(backbone, video[0].double().numpy(), positions)
    np.testing.assert_allclose(tokens[0].numpy(), expected[0], atol=1e-5)
    np.testing.assert_allclose(pooled[0].numpy(), expected[1], atol=1e-5)
    assert (tokens - elsewhere).abs().max() > 1e-2  # positions affect the result


def test_default_positions_count_frames_rows_and_columns() -> None:
    backbone, video = random_backbone(), pixels(2, 3, 3, 8, 8)
    positions = grid_positions(3, 2, 2)
    assert positions.tolist()[3:6] == [[0, 1, 1], [1, 0, 0], [1, 0, 1]]
    with torch.no_grad():
        counted, given = backbone(video)[0], backbone(video, positions.expand(2, -1, -1))[0]
    torch.testing.assert_close(counted, given, rtol=0, atol=1e-6)


def test_image_is_a_video_of_one_frame() -> None:
    backbone, image = random_backbone(), pixels(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(backbone(image)[1], backbone(image.unsqueeze(2))[1])


def test_rotary_tables_split_4_6_6_and_repeat() -> None:
    cos, sin = rotary_tables(torch.tensor([[1, 0, 0], [0, 2, 3]]), head_dim=64, theta=100.0)
    angle_t = torch.tensor([100.0 ** (-i / 8) for i in range(8)])
    torch.testing.assert_close(sin[0, :8], angle_t.sin())
    assert torch.equal(cos[0, 8:32], torch.ones(24))  # h and w are 0
    assert torch.equal(cos[:, :32], cos[:, 32:])
    torch.testing.assert_close(cos[1, 8:20], torch.tensor([2 * 100.0 ** (-i / 12) for i in range(12)]).cos())
    torch.testing.assert_close(cos[1, 20:32], torch.tensor([3 * 100.0 ** (-i / 12) for i in range(12)]).cos())


def test_rotation_pairs_neighbours_with_separate_angles() -> None:
    cos, sin = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([5.0, 6.0, 7.0, 8.0])
    x = torch.tensor([[[[1.0, 10.0, 100.0, 1000.0]]]])
    assert rotate(x, cos, sin).flatten().tolist() == [1 - 50, 20 + 6, 300 - 7000, 4000 + 800]


def test_bfloat16_autocast_stays_near_float32() -> None:
    backbone, image = random_backbone(), pixels(2, 3, 12, 12)
    exact_tokens, exact_pooled = backbone(image)
    with torch.autocast("cpu", torch.bfloat16):
        tokens, pooled = backbone(image)
        cos, _ = rotary_tables(torch.tensor([[63, 31, 31]]), 32, 10000.0)
    assert tokens.dtype == pooled.dtype == cos.dtype == torch.float32
    for rounded, exact in ((tokens, exact_tokens), (pooled, exact_pooled)):
        assert 0 < (rounded - exact).norm() / exact.norm() < 0.02
    pooled.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in backbone.encoder.parameters())


def test_empty_batch_gives_empty_result_and_zero_gradients() -> None:
    backbone = random_backbone()
    tokens, pooled = backbone(torch.empty(0, 3, 12, 12))
    assert tokens.shape == (0, 9, 64)
    assert pooled.shape == (0, 64)
    pooled.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in backbone.parameters())


def test_layers_are_compiled_for_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, image = random_backbone(), pixels(1, 3, 28, 28)
    expected = backbone(image)[1]

    def fail(*inputs: Tensor) -> Tensor:
        raise AssertionError("compiled")

    monkeypatch.setattr(torch, "compile", lambda forward, dynamic: fail)
    backbone.encoder.compile_layers()
    with pytest.raises(AssertionError, match="compiled"):
        backbone(image)
    assert torch.equal(backbone.eval()(image)[1], expected)


def test_initial_values() -> None:
    torch.manual_seed(0)
    backbone = Backbone(CONFIG)
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        elif name not in ("head.probe", "head.attention.in_proj_weight"):
            assert 0.015 < parameter.std() < 0.02, name
            assert parameter.abs().max() <= 0.04, name
    assert 0.5 < backbone.head.probe.std() < 1.5
    assert backbone.head.attention.in_proj_weight.abs().max() <= math.sqrt(6 / (64 + 3 * 64))


@pytest.mark.parametrize(
    ("shape", "positions", "message"),
    [
        ((1, 3, 10, 12), None, "10 x 12 pixels cannot be divided into patches of 4 x 4"),
        ((1, 1, 12, 12), None, r"not \[1, 1, 1, 12, 12\]"),
        ((3, 12, 12), None, "pixels must be"),
        ((1, 3, 9, 4, 4), None, "9 frames exceed the time axis of 8"),
        ((2, 3, 8, 8), torch.zeros(2, 5, 3, dtype=torch.int64), r"positions must be \[2, 4, 3\], not \[2, 5, 3\]"),
    ],
)
def test_invalid_shapes_raise(shape: tuple[int, ...], positions: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_backbone()(torch.zeros(shape), positions)


def test_parameters_have_the_released_names() -> None:
    layer = [
        *(f"{norm}.{part}" for norm in ("layer_norm1", "layer_norm2") for part in ("weight", "bias")),
        *(f"self_attn.{name}_proj.{part}" for name in ("q", "k", "v", "out") for part in ("weight", "bias")),
        *(f"mlp.{name}.{part}" for name in ("fc1", "fc2") for part in ("weight", "bias")),
    ]
    expected = {
        "embeddings.patch_embedding.weight",
        *(f"{norm}.{part}" for norm in ("layernorm_pre", "layernorm_post") for part in ("weight", "bias")),
        *(f"encoder.layers.{number}.{name}" for number in range(2) for name in layer),
        *("head.probe", "head.norm.weight"),
        *("head.attention.in_proj_weight", "head.attention.in_proj_bias"),
        *("head.attention.out_proj.weight", "head.attention.out_proj.bias"),
        *(f"head.mlp.{name}.{part}" for name in ("fc1", "fc2") for part in ("weight", "bias")),
    }
    assert set(Backbone(CONFIG).state_dict()) == expected


def test_saved_network_loads_equal(tmp_path: Path) -> None:
    backbone = random_backbone()
    backbone.save_pretrained(tmp_path / "export")
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == ["config.json", "model.safetensors"]
    keys = json.loads((tmp_path / "export" / "config.json").read_text())
    expected = {"hidden_size": 64, "rope_temporal_size": 8, "layer_norm_type": "layer_norm", "use_head": True}
    assert expected.items() <= keys.items()
    assert "init_from" not in keys
    again = Backbone.from_pretrained(tmp_path / "export")
    assert again.config == CONFIG
    for (name, saved), loaded in zip(backbone.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(saved, loaded), name


def test_weights_of_half_precision_become_float32(tmp_path: Path) -> None:
    backbone = random_backbone()
    backbone.save_pretrained(tmp_path)
    halves = {name: tensor.bfloat16() for name, tensor in backbone.state_dict().items()}
    save_file(halves, tmp_path / "model.safetensors")
    again = Backbone.from_pretrained(tmp_path)
    assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32}
    assert torch.equal(again.head.probe, backbone.head.probe.bfloat16().float())


def test_error_of_mismatched_weights_names_the_tensors(tmp_path: Path) -> None:
    backbone = random_backbone()
    backbone.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["head.probe"]
    tensors["head.extra"] = torch.zeros(1)
    tensors["layernorm_pre.bias"] = torch.zeros(65)
    save_file(tensors, path)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(OvocrError) as caught:
        backbone.load_weights(tmp_path)
    assert str(caught.value) == (
        f"{path}: does not match this backbone: 1 missing: head.probe; 1 unexpected: head.extra; "
        "1 of a different shape: layernorm_pre.bias [65] for [64]"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_weights_with_a_different_number_of_heads_raise(tmp_path: Path) -> None:
    Backbone(CONFIG).save_pretrained(tmp_path)
    with pytest.raises(OvocrError) as caught:
        Backbone(CONFIG.model_copy(update={"num_attention_heads": 1})).load_weights(tmp_path)
    assert str(caught.value) == f"{tmp_path}/config.json: num_attention_heads is 2, but this backbone's is 1"


def test_weights_load_for_another_image_size(tmp_path: Path) -> None:
    random_backbone().save_pretrained(tmp_path)
    larger = Backbone(CONFIG.model_copy(update={"image_size": 24, "rope_temporal_size": 64}))
    larger.load_weights(tmp_path)
    assert torch.equal(larger.head.probe, random_backbone().head.probe)


def test_unreadable_weights_raise(tmp_path: Path) -> None:
    Backbone(CONFIG).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(OvocrError, match="model.safetensors: cannot be read as safetensors"):
        Backbone.from_pretrained(tmp_path)
    weights.unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(OvocrError, match="no such file .weights are read from safetensors only"):
        Backbone.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layer_norm_type": "rms_norm"},
            "config.json: layer_norm_type: 'rms_norm' is not supported; it must be 'layer_norm'",
        ),
        ({"use_head": False}, "config.json: use_head: False is not supported"),
        ({"hidden_act": "quick_gelu"}, "config.json: hidden_act: 'quick_gelu' is not supported"),
        ({"hidden_size": "64"}, 'config.json: hidden_size: must be a valid integer, not "64"'),
        ({"hidden_size": None}, "config.json: hidden_size: missing"),
        ({"num_attention_heads": 4}, "config.json: num_attention_heads: 4 heads of 16 channels"),
    ],
)
def test_configuration_of_a_different_network_raises(tmp_path: Path, change: dict[str, object], message: str) -> None:
    Backbone(CONFIG).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OvocrError, match=message):
        Backbone.from_pretrained(tmp_path)


def test_published_configuration_without_newer_keys_loads(tmp_path: Path) -> None:
    random_backbone().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    keys = json.loads(path.read_text())
    for key in ("num_channels", "hidden_act", "attention_dropout", "rope_temporal_size"):
        del keys[key]
    path.write_text(json.dumps(keys | {"initializer_range": 0.02, "torch_dtype": "float32"}))
    assert Backbone.from_pretrained(tmp_path).config.rope_temporal_size == 64


def test_norms_match_torch() -> None:
    backbone = Backbone(CONFIG)
    norms = [module for module in backbone.modules() if isinstance(module, nn.LayerNorm | nn.RMSNorm)]
    assert len(norms) == 2 * 2 + 2 + 1
    assert {norm.eps for norm in norms} == {1e-6}

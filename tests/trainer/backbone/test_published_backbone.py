"""Numbers and weights against the published encoder; needs the user's checkout of it.

    pip install 'transformers==4.57.3'     # required by the published code
    OVOCR_PUBLISHED_CHECKOUT=path/to/OneVision-Encoder python -m pytest
    tests/trainer/backbone/test_published_backbone.py

This repository does not contain it. Both networks compute in float32 on the CPU, the published one with its "eager"
attention. A difference is the largest absolute difference of a tensor divided by the largest absolute value of the
published one.

The published encoder accepts the positions of patches in two forms: ``patch_positions``, their (t, h, w), or
``visible_indices``, their numbers in a video of 64 frames, (t * rows + h) * columns + w. If there are as many indices
as patches in the pixels, it uses them only as positions.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.config.sections import BackboneConfig

CHECKOUT = os.environ.get("OVOCR_PUBLISHED_CHECKOUT", "")
PACKAGE = "onevision_encoder"
pytestmark = [
    pytest.mark.skipif(not CHECKOUT, reason="OVOCR_PUBLISHED_CHECKOUT does not name a checkout of OneVision-Encoder"),
    pytest.mark.skipif(
        importlib.util.find_spec("transformers") is None,
        reason="transformers, which the published encoder is written with, is not installed",
    ),
]

TOLERANCE = 1e-5
VIRTUAL_FRAMES = 64
# Unusual base and epsilon, so the tests fail if the configuration is not read.
SIZES = {
    "heads of 32, patch 14": BackboneConfig(
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        layer_norm_eps=1e-3,
        rope_theta=1000.0,
    ),
    "heads of 64, patch 16": BackboneConfig(
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        layer_norm_eps=1e-6,
        rope_theta=10000.0,
    ),
}
# Times of eight frames out of 64, one video per row: one from each bin of eight; the ends; repeated and unordered.
TIMES = [
    [3, 8, 23, 30, 32, 47, 49, 63],
    [7, 15, 16, 25, 39, 40, 50, 56],
    [0, 1, 2, 3, 60, 61, 62, 63],
    [63, 0, 17, 17, 5, 42, 31, 9],
]


@pytest.fixture(scope="module")
def published() -> Any:
    """Imports the published package from the checkout."""
    if not (Path(CHECKOUT) / PACKAGE / "__init__.py").is_file():
        pytest.fail(f"OVOCR_PUBLISHED_CHECKOUT is {CHECKOUT}: it does not contain {PACKAGE}")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CHECKOUT)
        return importlib.import_module(PACKAGE)


@pytest.fixture(scope="module", params=["our weights", "published weights"])
def source(request: pytest.FixtureRequest) -> str:
    """Selects the backbone that writes the weights with ``save_pretrained``; the other one reads them."""
    return request.param


@pytest.fixture(scope="module", params=SIZES)
def config(request: pytest.FixtureRequest) -> BackboneConfig:
    """Returns the sizes of both backbones."""
    return SIZES[request.param]


@pytest.fixture(scope="module")
def pair(
    published: Any, config: BackboneConfig, source: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Backbone, Any]:
    """Returns our backbone and the published one; one of them is loaded from the folder that the other wrote."""
    folder = tmp_path_factory.mktemp("weights")
    if source == "our weights":
        ours = Backbone(config)
        randomise(ours)
        ours.save_pretrained(folder)
        theirs, report = published.OneVisionEncoderModel.from_pretrained(
            folder, attn_implementation="eager", output_loading_info=True
        )
        assert {name: list(keys) for name, keys in report.items() if keys} == {}
    else:
        their_config = published.OneVisionEncoderConfig(**sizes(config), attn_implementation="eager")
        theirs = published.OneVisionEncoderModel(their_config)
        randomise(theirs)
        theirs.save_pretrained(folder)
        ours = Backbone.from_pretrained(folder)
    return ours, theirs.eval()


def sizes(config: BackboneConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if name != "init_from"}


def randomise(network: nn.Module) -> None:
    """Sets every parameter, including norms and biases, to large random values, so attention is far from uniform."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            spread = 0.5 if parameter.ndim == 1 else 1.5 * (parameter.numel() / len(parameter)) ** -0.5
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + spread * noise)


def pixels(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def positions_of(indices: Tensor, rows: int, columns: int) -> Tensor:
    """Returns the (t, h, w) of patches from their numbers in a video: [..., L] -> [..., L, 3]."""
    return torch.stack((indices // (rows * columns), indices // columns % rows, indices % columns), dim=-1)


def whole_frames(times_BT: Tensor, patches: int) -> Tensor:
    """Returns the numbers of all patches of the frames at these times: [B, T] -> [B, T * patches]."""
    return (times_BT.unsqueeze(-1) * patches + torch.arange(patches)).flatten(1)


def assert_same(ours: tuple[Tensor, Tensor], theirs: Any, name: str) -> None:
    """Compares tokens and pooled within the tolerance; prints the differences (pytest -s, or -rP)."""
    expected = (theirs.last_hidden_state, theirs.pooler_output)
    differences = [
        ((mine - other).abs().max() / other.abs().max()).item() for mine, other in zip(ours, expected, strict=True)
    ]
    print(f"{name}: tokens {differences[0]:.1e}, pooled {differences[1]:.1e}")
    for mine, other, difference in zip(ours, expected, differences, strict=True):
        assert mine.dtype == other.dtype == torch.float32
        assert mine.shape == other.shape
        assert difference < TOLERANCE


def far_apart(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    """Returns True if tokens and pooled both differ by more than a hundredth of their scale."""
    return all((a - b).abs().max() > 0.01 * b.abs().max() for a, b in zip(one, other, strict=True))


def test_every_tensor_and_size_is_loaded(pair: tuple[Backbone, Any], config: BackboneConfig) -> None:
    ours, theirs = pair
    tensors, expected = ours.state_dict(), theirs.state_dict()
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected[name]), name
        assert tensor.std() > 0, name  # random, including norms and biases
    assert ours.config == config
    assert {name: getattr(theirs.config, name) for name in sizes(config)} == sizes(config)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 7)])
def test_images(pair: tuple[Backbone, Any], rows: int, columns: int) -> None:
    ours, theirs = pair
    patch = ours.config.patch_size
    images = pixels(3, 3, rows * patch, columns * patch)
    with torch.no_grad():
        assert_same(ours(images), theirs(images), f"images of {rows} x {columns} patches")


@pytest.mark.parametrize("given", ["patch_positions", "visible_indices"])
def test_videos_with_explicit_times(pair: tuple[Backbone, Any], given: str) -> None:
    ours, theirs = pair
    rows, columns, patch = 2, 3, ours.config.patch_size
    times = torch.tensor(TIMES)
    videos = pixels(*times.shape[:1], 3, times.shape[1], rows * patch, columns * patch)
    indices = whole_frames(times, rows * columns)
    positions = positions_of(indices, rows, columns)
    assert positions[1, 7].tolist() == [15, 0, 1]  # second video, second frame, second patch
    argument = {"patch_positions": positions, "visible_indices": indices}[given]
    with torch.no_grad():
        result = ours(videos, positions)
        assert_same(result, theirs(videos, **{given: argument}), f"videos, {given}")
        assert far_apart(ours(videos), result)  # times affect the result


def test_videos_of_arbitrary_patches(pair: tuple[Backbone, Any]) -> None:
    """As selected by a codec: patches packed into eight frames, each with its original position."""
    ours, theirs = pair
    rows, columns, patch = 2, 3, ours.config.patch_size
    packed = pixels(2, 3, 8, rows * patch, columns * patch)
    generator = torch.Generator().manual_seed(3)
    count = VIRTUAL_FRAMES * rows * columns
    indices = torch.stack([torch.randperm(count, generator=generator)[: 8 * rows * columns] for _ in packed])
    with torch.no_grad():
        result = ours(packed, positions_of(indices, rows, columns))
        assert_same(result, theirs(packed, visible_indices=indices), "videos of arbitrary patches")


@pytest.mark.parametrize("frames", [1, 8])
def test_videos_without_times(pair: tuple[Backbone, Any], frames: int) -> None:
    ours, theirs = pair
    videos = pixels(2, 3, frames, 2 * ours.config.patch_size, 3 * ours.config.patch_size)
    with torch.no_grad():
        assert_same(ours(videos), theirs(videos), f"videos of {frames} frames without times")

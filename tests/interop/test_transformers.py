"""An exported encoder in transformers 5, which the tests' environment has, and in 4.57: the numbers of `Backbone`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovocr.trainer import Backbone
from ovocr.trainer.config.file import load_config
from ovocr.trainer.data.images import letterbox, load_image, normalise
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.training.loop import train
from tests.conftest import SHARED_DATA
from tests.trainer.conftest import write_run_config

pytestmark = pytest.mark.interop
SIDE = Path(__file__).with_name("transformers_side.py")
RECEIPTS = SHARED_DATA / "receipts"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("transformers")
    train(load_config(write_run_config(root), ["run.steps=6", "optimizer.lr=0.01"]))
    export_encoder(root / "run", root / "encoder")
    return root / "encoder"


@pytest.fixture(params=["4.57", "5"])
def python(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Returns a release of transformers and a Python executable that has it."""
    if request.param == "5":
        pytest.importorskip("transformers", minversion="5", reason="transformers 5 is not installed")
        return request.param, sys.executable
    executable = os.environ.get("OVOCR_TRANSFORMERS4_PYTHON")
    if not executable:
        pytest.skip("OVOCR_TRANSFORMERS4_PYTHON names no Python executable (`make interop` makes it and sets it)")
    return request.param, executable


def test_the_encoder_is_the_same_in_transformers(exported: Path, python: tuple[str, str], tmp_path: Path) -> None:
    release, executable = python
    image = big_photograph(tmp_path)
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randn(3, 3, 48, 64, generator=generator)
    np.save(tmp_path / "pixels.npy", pixels.numpy())
    found = in_transformers(executable, exported, image, tmp_path)
    assert str(found["version"]).startswith(release)

    backbone = Backbone.from_pretrained(exported).eval()
    states: list[torch.Tensor] = []
    backbone.layernorm_pre.register_forward_hook(lambda module, inputs, output: states.append(output))
    for layer in backbone.encoder.layers:
        layer.register_forward_hook(lambda module, inputs, output: states.append(output))
    with torch.no_grad():
        tokens, pooled = backbone(pixels)
        hidden_states = torch.stack(states)
        video, _ = backbone(pixels[:2].transpose(0, 1)[None])
    assert found["hidden_states"].shape == (3, 3, 12, 64)
    for name, expected in {"hidden_states": hidden_states, "tokens": tokens, "pooled": pooled, "video": video}.items():
        assert np.abs(found[name] - expected.numpy()).max() <= 1e-5, name
    assert np.abs(found["rough"] - tokens.numpy()).max() < 0.1
    np.testing.assert_allclose(found["attention_sums"], 1, atol=1e-5)

    ours = load_image(image.read_bytes(), 32)
    assert np.array_equal(found["from_file"], ours)
    assert np.array_equal(found["normalised"], normalise(torch.from_numpy(ours)[None]).numpy())
    full = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    assert np.array_equal(found["from_array"], letterbox(full, 32))
    assert np.array_equal(found["from_pillow"], found["from_array"])
    with torch.no_grad():
        whole, _ = backbone(normalise(torch.from_numpy(ours)[None]))
    assert np.abs(found["whole"] - whole.numpy()).max() <= 1e-5


def test_real_images_have_the_pixels_of_training(exported: Path) -> None:
    """Also files that OpenCV rotates, that are grey, transparent or small, and that it does not decode."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    if not RECEIPTS.is_dir():
        pytest.skip(f"{RECEIPTS} is absent")
    processor = processor_of(exported)
    images = sorted(RECEIPTS.glob("*.jpg"))[:6] + sorted((SHARED_DATA / "chinese").rglob("*.jpg"))[:4]
    assert len(images) >= 6
    for path in images:
        for side in (32, 448):
            ours = load_image(path.read_bytes(), side)
            for form in (path, str(path), path.read_bytes()):
                assert np.array_equal(processor(form, size=side, do_normalize=False)["pixel_values"][0], ours), path


def test_files_of_all_kinds_have_the_pixels_of_training(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from PIL import Image

    processor = processor_of(exported)
    colours = np.random.default_rng(1).integers(0, 256, (90, 61, 3), np.uint8)
    picture = Image.fromarray(colours)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.convert("L").save(tmp_path / "grey.jpg")
    picture.convert("L").save(tmp_path / "grey.png")
    picture.resize((5, 3)).save(tmp_path / "tiny.png")
    Image.fromarray(np.dstack([colours, colours[..., 0]])).save(tmp_path / "transparent.png")
    picture.save(tmp_path / "lossless.webp", lossless=True)
    paths = sorted(tmp_path.iterdir())
    for path in paths:
        for side in (32, 64):  # training decodes JPEG files at half their size for 32
            ours = load_image(path.read_bytes(), side)
            assert np.array_equal(processor(path, size=side, do_normalize=False)["pixel_values"][0], ours), path.name
        with Image.open(path) as opened:
            of_pillow = processor(opened, size=64, do_normalize=False)["pixel_values"][0]
        if path.suffix == ".png" or path.suffix == ".webp":
            assert np.array_equal(of_pillow, ours), path.name
        else:  # decoders of JPEG may round differently
            assert np.abs(of_pillow.astype(int) - ours).max() <= 4, path.name
    picture.save(tmp_path / "other.bmp")
    assert np.array_equal(
        processor(tmp_path / "other.bmp", do_normalize=False)["pixel_values"][0], letterbox(colours, 32)
    )
    batch = processor([colours, colours.transpose(2, 0, 1), torch.from_numpy(colours)], return_tensors="pt")
    assert batch["pixel_values"].shape == (3, 3, 32, 32)
    assert torch.equal(batch["pixel_values"][0], batch["pixel_values"][1])
    for wrong in (colours.astype(np.float32), colours[..., :2], colours[:0]):
        with pytest.raises((TypeError, ValueError), match="an image of"):
            processor(wrong)
    with pytest.raises(ValueError, match="no image is given"):
        processor([])
    assert "image_processor_type" not in processor.to_dict()
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "grey.jpg").read_bytes()[:60])
    with pytest.raises((ValueError, OSError)):
        processor(tmp_path / "broken.jpg")
    with pytest.raises(ValueError, match="must be equal"):
        processor(colours, size={"height": 32, "width": 48})


def processor_of(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)


def big_photograph(folder: Path) -> Path:
    """Writes a JPEG that training decodes at a quarter of its size."""
    small = np.random.default_rng(2).integers(0, 256, (17, 12, 3), np.uint8)
    cv2.imwrite(str(folder / "big.jpg"), cv2.resize(small, (120, 170), interpolation=cv2.INTER_CUBIC))
    return folder / "big.jpg"


def in_transformers(executable: str, folder: Path, image: Path, work: Path) -> dict[str, NDArray[Any]]:
    arguments = [str(folder), str(image), str(work / "pixels.npy"), str(work / "found.npz")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [executable, str(SIDE), *arguments],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(work / "found.npz") as found:
        return dict(found)

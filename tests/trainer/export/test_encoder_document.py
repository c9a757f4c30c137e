"""What the Python of docs/encoder.md prints, and how its vision tower for LLaVA is used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovocr.trainer.config.file import load_config
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.training.loop import train
from tests.trainer.conftest import write_run_config

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "encoder.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with `encoder`, `image.jpg`, and images of two classes below `probe`."""
    for package in ("transformers", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    root = tmp_path_factory.mktemp("document")
    train(load_config(write_run_config(root), ["run.steps=4"]))
    export_encoder(root / "run", root / "encoder", onnx=True)
    for number in range(20):
        name = "dark" if number % 2 else "light"
        (root / "probe" / name).mkdir(parents=True, exist_ok=True)
        image = np.full((40, 30, 3), 20 if number % 2 else 230, np.uint8)
        image[number : number + 9, 4:20] = 120
        cv2.imwrite(str(root / "probe" / name / f"{number}.jpg"), image)
    cv2.imwrite(str(root / "image.jpg"), image)
    return root


def run_block(place: Path, block: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=place,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_blocks_print_what_they_say(place: Path) -> None:
    (tokens,) = (block for block in BLOCKS if "last_hidden_state.shape" in block)
    assert run_block(place, tokens).split("\n")[:3] == ["torch.Size([1, 4, 64])", "torch.Size([1, 64])", "3"]
    (probe,) = (block for block in BLOCKS if "LBFGS" in block)
    assert "accuracy 1.000 on 4 held-out images" in run_block(place, probe)
    (tower,) = (block for block in BLOCKS if "class OvocrVisionTower" in block)
    use = """
from types import SimpleNamespace
tower = OvocrVisionTower("encoder", SimpleNamespace(mm_vision_select_layer=-2))
images = torch.randn(2, 3, 32, 32)
both = tower(images)
print(list(both.shape), tower.hidden_size, tower.num_patches, list(tower.dummy_feature.shape))
print(torch.allclose(tower(list(images))[1], both[1], atol=1e-5))
pixels = tower.image_processor.preprocess("image.jpg", return_tensors="pt")["pixel_values"]
print(list(pixels.shape), tower.image_processor.crop_size)
"""
    assert run_block(place, tower + use).splitlines() == [
        "[2, 4, 64] 64 4 [1, 64]",
        "True",
        "[1, 3, 32, 32] {'height': 32, 'width': 32}",
    ]

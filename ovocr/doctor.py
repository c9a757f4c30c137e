"""Checks of the installation for `ovocr doctor`. A check reports a part as working only after using it."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

from ovocr import __version__
from ovocr.base.errors import MissingExtraError, OvocrError, how_to_install
from ovocr.base.plural import counted
from ovocr.processes.cores import available_cores

_PACKAGES = {
    "": ("numpy", "pyarrow", "jieba", "wordfreq", "regex", "click", "tqdm"),
    "ocr": ("rapidocr", "onnxruntime", "pillow"),
    "paddle": ("paddleocr", "onnxruntime", "pillow"),
    "train": ("torch", "pydantic", "safetensors", "tensorboard"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow-skinny", "sqlalchemy", "alembic"),
    "video": ("av",),
    "vocab": ("duckdb", "opencc", "rjieba"),
    "openvino": ("openvino",),
    "ray": ("ray",),
    "s3": ("fsspec", "s3fs"),
    "dali": ("nvidia-dali-cuda120",),
}


@dataclass(frozen=True)
class Finding:
    """The result of one check. state: "missing" if an optional part is not installed, "failed" if it does not work."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str

    def format(self) -> str:
        """Returns one line for a terminal."""
        return f"{self.state:<8}{self.name:<15}{self.detail}"


def examine() -> Iterator[Finding]:
    """Yields a finding for each extra, the built-in vocabulary, the OCR engines and torch."""
    yield Finding("ovocr", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield Finding("cores", "ok", f"{available_cores()} available of {os.cpu_count()}")
    for extra, packages in _PACKAGES.items():
        yield _check_packages(extra, packages)
    yield _try("lexicon", _check_lexicon)
    yield _try("rapidocr", _check_rapidocr)
    yield _try("paddleocr", _check_paddleocr)
    yield _try("torch", _check_torch)


def examine_ranks() -> Finding:
    """Checks a sum over all ranks that torchrun started, or over one rank without torchrun."""
    return _try("ranks", _check_ranks)


def _check_packages(extra: str, packages: tuple[str, ...]) -> Finding:
    found, missing = [], []
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(package)
    name = f"extra {extra}" if extra else "packages"
    if not missing:
        return Finding(name, "ok", ", ".join(found))
    install = how_to_install(extra) if extra else "pip install . in a checkout of ovocr"
    return Finding(name, "missing" if extra else "failed", f"{', '.join(missing)}: {install}")


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except MissingExtraError as error:
        return Finding(name, "missing", str(error))
    except (ImportError, OSError, OvocrError, RuntimeError) as error:
        return Finding(name, "failed", f"{type(error).__name__}: {str(error).splitlines()[0]}")


def _check_lexicon() -> str:
    from ovocr.vocab import Vocabulary

    vocabulary = Vocabulary.load("lexicon")
    return f"{counted(len(vocabulary), 'word')}, sha256 {vocabulary.sha256[:16]}…"


def _check_rapidocr() -> str:
    """Reads a generated image."""
    from ovocr.labelgen.engines.interface import EngineChoice

    plan = EngineChoice("rapidocr").plan()
    import cv2
    import numpy as np

    from ovocr.labelgen.engines.batching import read_lines

    image = np.full((80, 400, 3), 255, np.uint8)
    cv2.putText(image, "hello ovocr", (20, 55), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 3)
    text = " ".join(line.text for line in read_lines(plan.load(), [image])[0])
    if "hello" not in text.lower():
        raise RuntimeError(f"read {text!r} instead of 'hello ovocr'")
    return f"reads a test image: {text!r}"


def _check_paddleocr() -> str:
    """Returns the runtimes of its networks. Its models are downloaded and tried when a labelling run starts."""
    if find_spec("paddleocr") is None:
        raise MissingExtraError("--engine paddleocr", "paddle")
    found = f"{metadata.version('paddleocr')} on onnxruntime {metadata.version('onnxruntime')}"
    if find_spec("paddle") is None:
        return f"{found}; for Paddle models and GPUs, also pip install 'paddlepaddle<3.3' or its build for GPUs"
    from ovocr.labelgen.engines.paddle_engine import name_runtime
    from ovocr.labelgen.engines.paddle_trial import try_out

    trial = try_out(None)
    if trial.failure is not None:
        raise RuntimeError(f"PaddlePaddle does not start: {trial.failure}")
    return f"{found} and {name_runtime('paddlepaddle')}, {counted(trial.gpus, 'GPU') if trial.gpus else 'CPU only'}"


def _check_torch() -> str:
    if find_spec("torch") is None:
        raise MissingExtraError("training", "train")
    import torch

    if not torch.cuda.is_available():
        return f"{torch.__version__}, CPU only"
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    bf16 = "with" if torch.cuda.is_bf16_supported() else "without"
    return f"{torch.__version__}, CUDA {torch.version.cuda}, {', '.join(devices)}, {bf16} bf16"


def _check_ranks() -> str:
    if find_spec("torch") is None:
        raise MissingExtraError("training", "train")
    import torch

    from ovocr.trainer.ranks.distributed import choose_device, join_ranks

    device = choose_device("auto")
    with join_ranks(device, timeout_s=60.0) as ranks:
        began = time.monotonic()
        total = int(ranks.sum(torch.tensor([ranks.rank], device=device)).item())
        seconds = time.monotonic() - began
        expected = ranks.world * (ranks.world - 1) // 2
        if total != expected:
            raise RuntimeError(f"the sum of ranks 0 to {ranks.world - 1} is {total}, not {expected}")
        return f"{ranks.world} on {device.type}, one sum in {1000 * seconds:.0f} ms"

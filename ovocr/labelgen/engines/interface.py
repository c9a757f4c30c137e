"""What an OCR engine offers: detection and recognition on batches, and how one is chosen."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ovocr.base.errors import UsageError
from ovocr.dataset.boxes import Box

# uint8 [height, width, 3], blue-green-red.
Pixels = npt.NDArray[np.uint8]

# Each module has plan(choice: EngineChoice) -> EnginePlan.
_MODULES = {"rapidocr": "ovocr.labelgen.engines.rapidocr", "paddleocr": "ovocr.labelgen.engines.paddleocr"}


# How ONNX Runtime's messages begin; RapidOCR puts a traceback before that.
_ONNXRUNTIME_START = re.compile(r".*\[ONNXRuntimeError\] : \d+ : \w+ : ", re.DOTALL)
_ONNXRUNTIME_ADVICE = "Please fix either the inputs/outputs or the model."
_HALF_REASON = 120  # characters


class EngineError(Exception):
    """An engine could not process a picture."""

    @classmethod
    def at(cls, step: str, error: Exception) -> "EngineError":
        """What an engine's library raised in a step, in one line."""
        return cls(f"{step}: {type(error).__name__}: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """What a library says about its failure, in one line; of a long one the beginning and the end."""
    text = str(error).strip()
    if start := _ONNXRUNTIME_START.match(text):
        text = text[start.end() :].replace(_ONNXRUNTIME_ADVICE, "")
    else:
        text = (text.splitlines() or [""])[-1]
    line = " ".join(text.split())
    # ONNX Runtime names the node first and says last what is wrong with it; its own source code stands in between.
    return line if len(line) <= 2 * _HALF_REASON else f"{line[:_HALF_REASON]} … {line[-_HALF_REASON:]}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as a detector wants it. tensor: float32 [3, height, width]. source: what boxes and crops need."""

    tensor: npt.NDArray[np.float32]
    source: Any


@dataclass(frozen=True, eq=False)
class Region:
    """A place where a detector sees text. box: in pixels of the picture. crop: its pixels, reading left to right."""

    box: Box
    crop: Pixels


@dataclass(frozen=True)
class Reading:
    """What a recogniser reads in a crop. score: 0 to 1."""

    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How an engine is fed. Every shape that reaches a network depends on the picture or the crop alone.

    pictures: of one shape, that detection takes at most at once.
    crops: padded to one width, that recognition takes at most at once.
    crop_height: pixels; what recognition scales every crop to.
    width_step: a crop is padded to a width that is a multiple of this.
    full: every batch is filled up, for a device on which an item's result depends on the size of its batch.
    """

    pictures: int
    crops: int
    crop_height: int
    width_step: int
    full: bool = False


class Engine(Protocol):
    """Detection and recognition on batches. What they give for one item never depends on the others in its batch.

    All methods raise EngineError. min_score: a reading below it is no text.
    """

    min_score: float
    batching: Batching

    def prepare(self, picture: Pixels) -> Prepared | None:
        """A picture as detection wants it; None for one too narrow to hold text that could be seen."""

    def detect(self, pictures: Sequence[Prepared]) -> list[list[Region]]:
        """The regions of each picture, in reading order. pictures: of one shape."""

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        """The text of each crop. width: pixels that each is padded to."""


class EnginePlan(Protocol):
    """An engine that can be made here: packages and models are there. Can be pickled, to be loaded in each worker.

    notice: a line for the user on what was chosen and why; None where there was nothing to choose.
    images_at_once: how many pictures a worker should have at hand, for its engine's batches.
    workers: how many workers are of use, where that is not one for each core.
    gpus: how many it can use; 0 for an engine on processor cores.
    """

    notice: str | None
    images_at_once: int
    workers: int | None
    gpus: int

    def describe(self) -> dict[str, Any]:
        """All that the results depend on: settings, hashes of the model files, versions of the packages."""

    def load(self, worker: int = 0) -> Engine:
        """The engine, on one thread or one GPU. worker: the number of the worker that loads it, which spreads them.

        Raises OvocrError where it cannot be made from the models.
        """


@dataclass(frozen=True)
class EngineChoice:
    """An engine as the user names it.

    model_dir: folder with det/ and rec/; None for the models that come with the engine, or that it fetches by name.
    det_model, rec_model: names of published models, for an engine that fetches them.
    precision: of the networks' arithmetic, float32 or bfloat16.
    """

    name: str
    model_dir: Path | None = None
    det_model: str | None = None
    rec_model: str | None = None
    precision: str = "float32"

    def check(self) -> None:
        """Raises UsageError where the engine is not known, its models are named twice, or their folder is missing."""
        if self.name not in _MODULES:
            raise UsageError(f"--engine {self.name}: there is {', '.join(_MODULES)}")
        if self.model_dir is not None and (option := self.named_model()):
            raise UsageError(f"{option}: the models of --model-dir are used; give one or the other")
        if self.model_dir is not None:
            for folder in (self.model_dir, self.model_dir / "det", self.model_dir / "rec"):
                _check_model_folder(folder)

    def named_model(self) -> str | None:
        """The option that names a published model, if one does."""
        for option, name in (("--det-model", self.det_model), ("--rec-model", self.rec_model)):
            if name is not None:
                return f"{option} {name}"
        return None

    def plan(self) -> EnginePlan:
        """Look for packages and models. Raises UsageError (MissingExtraError for packages) where one is missing."""
        self.check()
        plan: EnginePlan = import_module(_MODULES[self.name]).plan(self)
        return plan


def _check_model_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "not a folder" if os.path.lexists(folder) else "no such folder"
        raise UsageError(f"--model-dir: {folder}: {what}; a folder with det/ and rec/, a model in each, is needed")

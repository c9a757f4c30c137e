"""The interface of OCR engines: choice, plan, and detection and recognition on batches."""

import math
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
from ovocr.dataset.lines import BOX_DECIMALS, Box

# uint8 [height, width, 3], blue-green-red.
Pixels = npt.NDArray[np.uint8]

# Each module has plan(choice: EngineChoice) -> EnginePlan.
_MODULES = {"rapidocr": "ovocr.labelgen.engines.rapidocr", "paddleocr": "ovocr.labelgen.engines.paddleocr"}

# The beginning of ONNX Runtime's messages. RapidOCR puts a traceback before it.
_ONNXRUNTIME_START = re.compile(r".*\[ONNXRuntimeError\] : \d+ : \w+ : ", re.DOTALL)
_ONNXRUNTIME_ADVICE = "Please fix either the inputs/outputs or the model."
_HALF_REASON = 120  # characters


class EngineError(Exception):
    """An engine cannot process an image."""

    @classmethod
    def at(cls, step: str, error: Exception) -> "EngineError":
        """Returns the error of an engine's library in a step such as "detection", in one line."""
        return cls(f"{step}: {type(error).__name__}: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """Returns a library's error message in one line. A long message is cut in the middle."""
    text = str(error).strip()
    if start := _ONNXRUNTIME_START.match(text):
        text = text[start.end() :].replace(_ONNXRUNTIME_ADVICE, "")
    else:
        text = (text.splitlines() or [""])[-1]
    line = " ".join(text.split())
    # ONNX Runtime names the node at the beginning and the problem at the end, with its source code in between.
    return line if len(line) <= 2 * _HALF_REASON else f"{line[:_HALF_REASON]} … {line[-_HALF_REASON:]}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A detector's input for an image. tensor: float32 [3, height, width]. source: data for boxes and crops."""

    tensor: npt.NDArray[np.float32]
    source: Any


@dataclass(frozen=True, eq=False)
class Region:
    """An area with text. box: its corners, in pixels of the image. crop: its pixels, with text from left to right."""

    box: Box
    crop: Pixels

    @classmethod
    def at(cls, corners: npt.NDArray[Any], crop: Pixels) -> "Region":
        """Returns the region at these corners, rounded. corners: [4, 2], x before y, in the order of a box."""
        return cls(box_at(corners), crop)


def box_at(corners: npt.NDArray[Any]) -> Box:
    """Returns the box at these corners, rounded. corners: [4, 2], x before y, in the order of a box."""
    return tuple(round(float(value), BOX_DECIMALS) for value in corners.reshape(-1))


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector finds in an image.

    regions: areas with text, in reading order. rejected: boxes of areas whose score is a little too low.
    scale: pixels of the detector's input per pixel of the image.
    """

    regions: list[Region]
    rejected: list[Box]
    scale: float


@dataclass(frozen=True)
class Reading:
    """The text that a recogniser reads in a crop.

    score: 0 to 1. centers: the center of each character, as a fraction of the crop's width; empty if unknown.
    """

    text: str
    score: float
    centers: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Batch sizes of an engine. The shape of a network's input depends only on the image or the crop.

    images: maximum number of images of one shape per detection.
    crops: maximum number of crops of one padded width per recognition.
    crop_height: height in pixels to which recognition scales every crop.
    width_step: the padded width of a crop is a multiple of this, in pixels.
    full: fill up every batch, for devices on which an item's result depends on the batch size.
    """

    images: int
    crops: int
    crop_height: int
    width_step: int
    full: bool = False

    def text_width(self, crop: Pixels) -> int:
        """Returns the width of a crop that is scaled to the recogniser's height, in pixels."""
        return math.ceil(self.crop_height * crop.shape[1] / crop.shape[0])


class Engine(Protocol):
    """Detection and recognition on batches. The result for an item never depends on the others in its batch.

    min_score: readings with a lower score are not text.

    All methods raise EngineError.
    """

    min_score: float
    batching: Batching

    def prepare(self, image: Pixels, look: int = 0) -> Prepared | None:
        """Returns the detector's input for an image.

        look: the larger, the higher its resolution (``engines/closer_look.py``).
        Returns None if the image is too narrow for visible text, or a look would not enlarge it.
        """

    def detect(self, images: Sequence[Prepared]) -> list[Detection]:
        """Returns the areas with text of each image. images: inputs of one shape."""

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        """Returns the text of each crop. width: the padded width of all crops, in pixels."""


class EnginePlan(Protocol):
    """An engine whose packages and models have been found. Plans can be pickled; each worker loads its own engine.

    notice: a line for the user about the chosen models and device; None if there was no choice.
    images_at_once: number of images that a worker should read together, to fill batches.
    workers: useful number of workers, or None for one per core.
    gpus: number of usable GPUs; 0 for an engine on the CPU.
    """

    notice: str | None
    images_at_once: int
    workers: int | None
    gpus: int

    def describe(self) -> dict[str, Any]:
        """Returns everything that results depend on: settings, hashes of model files and package versions."""

    def load(self, worker: int = 0) -> Engine:
        """Loads the engine on one thread or one GPU. worker: number of the worker, which selects the GPU.

        Raises OvocrError if the engine cannot be made from the models.
        """


@dataclass(frozen=True)
class EngineChoice:
    """The user's choice of an engine.

    model_dir: folder with det/ and rec/; None for models bundled with the engine or downloaded by name.
    det_model, rec_model: names of published models, for an engine that downloads them.
    precision: arithmetic of the networks, float32 or bfloat16.
    """

    name: str
    model_dir: Path | None = None
    det_model: str | None = None
    rec_model: str | None = None
    precision: str = "float32"

    def check(self) -> None:
        """Raises UsageError if the engine is unknown, the models are named twice or a model folder is missing."""
        if self.name not in _MODULES:
            raise UsageError(f"--engine {self.name}: not one of {', '.join(_MODULES)}")
        if self.model_dir is not None and (option := self.named_model()):
            raise UsageError(f"{option}: the models of --model-dir are used; give one or the other")
        if self.model_dir is not None:
            for folder in (self.model_dir, self.model_dir / "det", self.model_dir / "rec"):
                _check_model_folder(folder)

    def named_model(self) -> str | None:
        """Returns the option that names a published model, with its value, or None."""
        for option, name in (("--det-model", self.det_model), ("--rec-model", self.rec_model)):
            if name is not None:
                return f"{option} {name}"
        return None

    def plan(self) -> EnginePlan:
        """Finds packages and models. Raises UsageError (MissingExtraError for packages) if one is missing."""
        self.check()
        plan: EnginePlan = import_module(_MODULES[self.name]).plan(self)
        return plan


def _check_model_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "not a folder" if os.path.lexists(folder) else "no such folder"
        raise UsageError(f"--model-dir: {folder}: {what}; give a folder with det/ and rec/ and a model in each")

"""What an OCR engine offers, and how lines are read with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ovocr.errors import UsageError
from ovocr.labelgen.boxes import Box

# uint8 [height, width, 3], blue-green-red.
Pixels = npt.NDArray[np.uint8]

_MODULES = {"rapidocr": "ovocr.labelgen.rapidocr_engine"}


@dataclass(frozen=True)
class Line:
    """A line of text. score: 0 to 1, 4 decimals. box: in pixels of the picture, 2 decimals."""

    text: str
    score: float
    box: Box


@dataclass(frozen=True)
class Region:
    """A place where a detector sees text. box: in pixels of the picture. crop: its pixels, reading left to right."""

    box: Box
    crop: Pixels


@dataclass(frozen=True)
class Reading:
    """What a recogniser reads in a crop. score: 0 to 1."""

    text: str
    score: float


class EngineError(Exception):
    """An engine could not process a picture."""


class Engine(Protocol):
    """Detection and recognition on batches. What they give for one item never depends on the others in its batch.

    Both raise EngineError. min_score: a reading below it is no text.
    """

    min_score: float

    def detect(self, pictures: Sequence[Pixels]) -> list[list[Region]]:
        """The regions of each picture, in reading order."""

    def recognise(self, crops: Sequence[Pixels]) -> list[Reading]:
        """The text of each crop."""


def read_pictures(engine: Engine, pictures: Sequence[Pixels]) -> list[list[Line]]:
    """The lines of each picture in reading order; none where there is no text. Raises EngineError."""
    regions = engine.detect(pictures)
    readings = iter(engine.recognise([region.crop for found in regions for region in found]))
    return [
        [
            Line(reading.text, round(reading.score, 4), region.box)
            for region, reading in zip(found, readings, strict=False)  # each picture takes as many as it has
            if reading.text.strip() and reading.score >= engine.min_score
        ]
        for found in regions
    ]


@dataclass(frozen=True)
class EngineChoice:
    """An engine by name, with its models' folder or None for the models that come with it."""

    name: str
    model_dir: Path | None = None

    def check(self) -> None:
        """Raises UsageError where there is no engine of this name."""
        if self.name not in _MODULES:
            raise UsageError(f"--engine {self.name}: there is {', '.join(_MODULES)}")

    def describe(self) -> dict[str, Any]:
        """Name, settings, hashes of the model files and versions of the packages; nothing is loaded.

        Raises UsageError where engine, packages (MissingExtraError) or models are missing.
        """
        self.check()
        description = import_module(_MODULES[self.name]).describe(self.model_dir)
        return {"name": self.name, **description}

    def load(self) -> Engine:
        """The engine, on one thread. Raises OvocrError where it cannot be made from the models."""
        self.check()
        engine: Engine = import_module(_MODULES[self.name]).load(self.model_dir)
        return engine

"""Single pictures of an evaluation: what is in them, what the encoder answers, and a small JPEG to look at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ovocr.errors import OvocrError
from ovocr.trainer.data.pictures import GROUND_RGB
from ovocr.trainer.data.samples import Sample, Samples
from ovocr.trainer.recall import NOT_FOUND

PICTURE_SIZE = 384
"""Longest side of an example's picture, pixels."""
ANSWERS_SHOWN = 10
_JPEG_QUALITY = 80
_FRAMES_SHOWN = 4  # of a clip, two by two


class TrueTag(NamedTuple):
    """A tag of a picture; rank: its place among the encoder's answers, from 1, None beyond the greatest k."""

    word: str
    rank: int | None


class Answer(NamedTuple):
    """A word that the encoder answers: its cosine to the picture, and whether it is one of the picture's tags."""

    word: str
    cosine: float
    right: bool


@dataclass(frozen=True)
class Example:
    """One sample of the data. name: where it is from. jpeg: the picture. tags: those found first, by their rank."""

    name: str
    jpeg: bytes
    tags: tuple[TrueTag, ...]
    answers: tuple[Answer, ...]


def spread_evenly(total: int, count: int) -> list[int]:
    """At most count numbers from 0 to total - 1, the first and the last among them, at equal distances."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)).tolist()


def make_example(
    samples: Samples,
    index: int,
    word_of: Callable[[int], str],
    *,
    tags: NDArray[np.int64],
    ranks: NDArray[np.int64],
    answers: NDArray[np.int64],
    cosines: NDArray[np.float32],
) -> Example:
    """Of sample ``index``: its distinct tags [n] with their ranks from 0, the answers [K] with their cosines.

    samples: with pictures of the size to show. Raises OvocrError where the picture cannot be decoded.
    """
    order = np.lexsort((np.arange(len(tags)), ranks))
    return Example(
        name=samples.name(index),
        jpeg=to_jpeg(samples.load(index)),
        tags=tuple(TrueTag(word_of(int(tags[i])), None if ranks[i] == NOT_FOUND else int(ranks[i]) + 1) for i in order),
        answers=tuple(
            Answer(word_of(int(answer)), float(cosine), bool(answer in tags))
            for answer, cosine in zip(answers[:ANSWERS_SHOWN], cosines[:ANSWERS_SHOWN], strict=True)
        ),
    )


def to_jpeg(sample: Sample) -> bytes:
    """A sample as JPEG, without the ground that letterboxing put beside it; of a clip four frames, two by two."""
    pixels = sample.pixels if sample.pixels.ndim == 4 else sample.pixels[:, None]
    return small_jpeg(_tiled(_without_ground(pixels)))


def small_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture [H, W, 3] of any size as a JPEG of at most PICTURE_SIZE. Raises OvocrError."""
    scale = min(1.0, PICTURE_SIZE / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    small = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
    encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not encoded:
        raise OvocrError("a picture for the page cannot be encoded as JPEG")
    return data.tobytes()


def _tiled(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames of a clip [3, F, H, W], the first and the last among them, in rows of two: [H, W, 3]."""
    frames = [pixels[:, frame].transpose(1, 2, 0) for frame in spread_evenly(pixels.shape[1], _FRAMES_SHOWN)]
    if len(frames) == 1:
        return frames[0]
    ground = np.full_like(frames[0], GROUND_RGB)
    frames += [ground] * (len(frames) % 2)
    return np.vstack([np.hstack(frames[first : first + 2]) for first in range(0, len(frames), 2)])


def _without_ground(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut [3, F, S, S] down to the rows and columns that are not all of the ground's colour in every frame."""
    ink = (pixels != np.array(GROUND_RGB, np.uint8)[:, None, None, None]).any(axis=(0, 1))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return pixels
    return pixels[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

"""Single pictures of an evaluation: what is in them, what the encoder answers, and a small JPEG to look at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.samples import Samples
from ovocr.trainer.data.thumbnails import to_jpeg
from ovocr.trainer.evaluation.recall import NOT_FOUND

ANSWERS_SHOWN = 10


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

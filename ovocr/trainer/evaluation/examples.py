"""Example images of an evaluation: their tags, the encoder's answers and a thumbnail."""

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
    """A tag of an image. rank: its rank among the encoder's answers, from 1; None beyond the largest k."""

    word: str
    rank: int | None


class Answer(NamedTuple):
    """A word answered by the encoder, its score for the image, and whether it is one of the image's tags.

    score: the cosine, corrected if ``--correct-sampling`` is given.
    """

    word: str
    score: float
    right: bool


@dataclass(frozen=True)
class Example:
    """One sample of the data: its name, a JPEG thumbnail, its tags ordered by rank, and the answers."""

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
    scores: NDArray[np.float32],
) -> Example:
    """Creates the example of sample ``index`` from its distinct tags [n] with ranks from 0, and answers [K] with
    scores.

    samples: samples at the size to show. Raises OvocrError if the image cannot be decoded.
    """
    order = np.lexsort((np.arange(len(tags)), ranks))
    return Example(
        name=samples.name(index),
        jpeg=to_jpeg(samples.load(index)),
        tags=tuple(TrueTag(word_of(int(tags[i])), None if ranks[i] == NOT_FOUND else int(ranks[i]) + 1) for i in order),
        answers=tuple(
            Answer(word_of(int(answer)), float(score), bool(answer in tags))
            for answer, score in zip(answers[:ANSWERS_SHOWN], scores[:ANSWERS_SHOWN], strict=True)
        ),
    )

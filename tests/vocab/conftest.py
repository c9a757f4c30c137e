"""The built-in vocabulary and data sets of stored text."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Box, Line
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.text import ImageText
from ovocr.vocab import Segmentation, Vocabulary, segment_lines
from ovocr.vocab.counting import WordCounts
from ovocr.vocab.lexicon import LEXICON, build_lexicon, lexicon_settings
from tests.manifests import make_manifest

_Lines = list[str | tuple[str, float]]  # texts, or texts with scores


def _write_shard(root: Path, shard: int, images: list[_Lines], *, finished: bool = True) -> None:
    data_set = LabelledDataSet(root)
    root.mkdir(parents=True, exist_ok=True)
    make_manifest([], vocabulary=Vocabulary(["word"])).write(data_set.manifest_path)
    with ShardWriter(data_set, shard, ShardEntry(source="x.tar", kind="tar")) as writer:
        for number, lines in enumerate(images):
            writer.add(f"{number}.jpg", _outcome(lines))
    if not finished:
        data_set.stats_path(shard).unlink()


def _outcome(found: _Lines) -> Outcome:
    texts, scores = (
        zip(*(each if isinstance(each, tuple) else (each, 0.9) for each in found), strict=True) if found else ((), ())
    )
    boxes = [_box(8.0 * (1 + number % 3)) for number in range(len(texts))]
    return Outcome(
        status=Status.OK if texts else Status.DROPPED,
        reason=None if texts else Reason.NO_TEXT,
        jpeg=b"j",
        width=448,
        height=448,
        lines=[Line(*line) for line in zip(texts, scores, boxes, strict=True)],
        places=[Place(number, number, box) for number, box in enumerate(boxes)],
        slots=[0],
    )


def _box(height: float) -> Box:
    return (0.0, 0.0, 100.0, 0.0, 100.0, height, 0.0, height)


@pytest.fixture
def write_shard() -> Callable[..., None]:
    """write_shard(root, number, images, *, finished=True) writes a shard of images of 448 x 448 pixels.

    images: lines per image, as texts of score 0.9 or as texts with scores.
    Each line has a tag of its own. Text heights are 8, 16 and 24 pixels, in turn.
    """
    return _write_shard


def _count_words(images: Iterable[ImageText], segmentation: Segmentation) -> WordCounts:
    counts = WordCounts()
    for image in images:
        counts.add(image, segment_lines(image.lines, segmentation))
    return counts


@pytest.fixture
def count_words() -> Callable[[Iterable[ImageText], Segmentation], WordCounts]:
    """Returns count_words(images, segmentation), which counts the words of images."""
    return _count_words


@pytest.fixture(scope="session")
def lexicon() -> Vocabulary:
    return Vocabulary(build_lexicon(), lexicon_settings(), name=LEXICON)

"""The words of held-out images as humans read them, placed by OCR where it read the same word.

Human boxes are of lines, or tight around the letters of a word. A word's box as a share of its line is often beside
the word. OCR places words as in training, so that an evaluation shows them as training did.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab import Vocabulary, segment_lines

_MARGIN = 0.3  # by which a word of OCR may be outside its human line, as a share of the line's height

Line = dict[str, Any]  # text; box: 8 numbers, if known
Box = NDArray[np.float64]  # [4, 2], corners in pixels


@dataclass(frozen=True, eq=False)
class _Read:
    """A word that OCR read."""

    word: str
    box: Box


def place_words(labels: Path, human: dict[str, list[Line]]) -> tuple[dict[str, list[Line]], dict[str, int]]:
    """Returns the words of each image, a line each, and counts.

    labels: the images as OCR labelled them. human: their human text, by key.

    A word that OCR read too, inside the same human line, has the box of OCR. Every other word has its share of the
    human box. If an image's human text has no boxes, only the words that OCR read too are returned.
    """
    counts = {"words": 0, "placed by OCR": 0}
    placed: dict[str, list[Line]] = {}
    for key, read in _read_words(labels).items():
        if all("box" in line for line in human[key]):
            lines = [word for line in human[key] for word in _place_line(line, read, counts)]
        else:
            known = set(segment_lines([line["text"] for line in human[key]]))
            lines = [_line(each.word, each.box) for each in read if each.word in known]
            counts["placed by OCR"] += len(lines)
            counts["words"] += len(lines)
        if lines:
            placed[key] = lines
    return placed, counts


def _place_line(line: Line, read: list[_Read], counts: dict[str, int]) -> Iterator[Line]:
    """Yields the words of a human line, and removes those that OCR read from ``read``."""
    corners = np.array(line["box"], np.float64).reshape(4, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = _MARGIN * (high - low).min()
    text, end = line["text"], 0
    for token in text.split():
        start = text.index(token, end)
        end = start + len(token)
        box = _share(corners, start / len(text), end / len(text))
        words = segment_lines([token])
        counts["words"] += len(words)
        if len(words) == 1:
            centers = [(each, each.box.mean(axis=0)) for each in read if each.word == words[0]]
            inside = [pair for pair in centers if (low - margin <= pair[1]).all() and (pair[1] <= high + margin).all()]
            if inside:
                nearest, _ = min(inside, key=lambda pair: float(np.linalg.norm(pair[1] - box.mean(axis=0))))
                read.remove(nearest)
                counts["placed by OCR"] += 1
                box = nearest.box
        yield _line(token, box)


def _line(text: str, box: Box) -> Line:
    return {"text": text, "box": box.round(1).ravel().tolist()}


def _share(box: Box, start: float, end: float) -> Box:
    """Returns the part of a box between two shares of its reading direction."""
    top_left, top_right, bottom_right, bottom_left = box
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.stack(
        [top_left + start * top, top_left + end * top, bottom_left + end * bottom, bottom_left + start * bottom]
    )


def _read_words(labels: Path) -> dict[str, list[_Read]]:
    """Returns the words that OCR read in each image of a labelled data set, by key."""
    data_set = LabelledDataSet.open(labels)
    vocabulary = Vocabulary.load(data_set.vocabulary_path)
    return {
        row["key"]: [
            _Read(vocabulary.word(tag["id"]), np.array(tag["box"], np.float64).reshape(4, 2))
            for tag in row["tags"] or ()
        ]
        for shard in sorted(data_set.finished_shards())
        for row in pq.read_table(data_set.records_path(shard), columns=["key", "tags"]).to_pylist()
    }

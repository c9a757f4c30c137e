"""Cuts labelled documents into tiles: small images with the words that OCR read in them.

A document is scaled so that the median height of its lines is LINE_HEIGHT pixels, and cut into overlapping squares of
TILE pixels. A whole tile in a 64-pixel input has the text height that a whole receipt has in a 448-pixel input. Small
images are decoded in a millisecond, so that loading keeps up with training. Distorted copies of the document
(distortions.py) are cut in the same way.
"""

import io
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
from distortions import distort
from numpy.typing import NDArray

from ovocr.base.files import written_aside
from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import RecordReader
from ovocr.trainer.data.images import decode
from ovocr.vocab import Vocabulary

TILE, STRIDE = 192, 144  # pixels
LINE_HEIGHT = 32.0  # pixels
MAX_UPSCALE = 2.0
LEAST_VISIBLE = 0.8  # share of a word's width and height that a tile must contain
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)


class Word(NamedTuple):
    """A word of a document. box: float64 [4, 2], corners in pixels."""

    text: str
    box: NDArray[np.float64]


def cut_tiles(labels: Path, out: Path, distorted: int) -> dict[str, int]:
    """Writes the tiles of a labelled data set with at least one word to ``out``.tar, their words to ``out``.jsonl.

    distorted: number of distorted copies of each document. Returns the numbers of documents, tiles and words.
    """
    data_set = LabelledDataSet.open(labels)
    vocabulary = Vocabulary.load(data_set.vocabulary_path)
    counts = {"documents": 0, "tiles": 0, "words": 0}
    out.parent.mkdir(parents=True, exist_ok=True)
    archive_path, table_path = out.with_suffix(".tar"), out.with_suffix(".jsonl")
    with (
        written_aside(archive_path) as unfinished,
        tarfile.open(unfinished, "w") as archive,
        written_aside(table_path) as unfinished_table,
        open(unfinished_table, "w", encoding="utf-8") as table,
    ):
        for key, pixels, words, line_height in _documents(data_set, vocabulary):
            counts["documents"] += 1
            for number, (tile, inside) in enumerate(_tiles(key, pixels, words, line_height, distorted)):
                name = f"{Path(key).with_suffix('').as_posix().replace('/', '-')}-{number:03d}.jpg"
                _add(archive, name, tile)
                lines = [{"text": word.text, "box": word.box.round(1).ravel().tolist()} for word in inside]
                table.write(json.dumps({"key": name, "lines": lines}, ensure_ascii=False) + "\n")
                counts["tiles"] += 1
                counts["words"] += len(inside)
    return counts


def _documents(
    data_set: LabelledDataSet, vocabulary: Vocabulary
) -> Iterator[tuple[str, NDArray[np.uint8], list[Word], float]]:
    """Yields key, pixels, words and median line height of each labelled image."""
    for shard in sorted(data_set.finished_shards()):
        text: dict[str, list[dict[str, Any]]] = {
            row["key"]: row["lines"] for row in pq.read_table(data_set.ocr_path(shard)).to_pylist()
        }
        rows = pq.read_table(data_set.records_path(shard), columns=["key", "record_id", "tags"]).to_pylist()
        by_record = {row["record_id"]: row for row in rows if row["record_id"] is not None}
        for record in RecordReader(data_set.rec_prefix(shard)):
            row = by_record[record.id]
            heights = [_short_side(np.array(line["box"]).reshape(4, 2)) for line in text[row["key"]]]
            words = [Word(vocabulary.word(tag["id"]), np.array(tag["box"]).reshape(4, 2)) for tag in row["tags"]]
            yield row["key"], decode(record.image), words, float(np.median(heights))


def _short_side(box: NDArray[np.float64]) -> float:
    return float(min(np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[2] - box[1])))


def _tiles(
    key: str, pixels: NDArray[np.uint8], words: list[Word], line_height: float, distorted: int
) -> Iterator[tuple[NDArray[np.uint8], list[Word]]]:
    """Yields tiles and the words inside, with corners in pixels of the tile."""
    scale = min(MAX_UPSCALE, LINE_HEIGHT / max(1.0, line_height))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    page = np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation), np.uint8)
    boxes = np.array([word.box for word in words]).reshape(-1, 4, 2) * scale
    yield from _cut(page, boxes, words)
    for copy in range(distorted):
        yield from _cut(*distort(page, boxes, random.Random(f"{key} {copy}")), words)


def _cut(
    page: NDArray[np.uint8], boxes: NDArray[np.float64], words: list[Word]
) -> Iterator[tuple[NDArray[np.uint8], list[Word]]]:
    """Yields the tiles of a page. boxes: of the words, in pixels of the page."""
    height, width = page.shape[:2]
    firsts, lasts = boxes.min(axis=1), boxes.max(axis=1)
    for top in _starts(height):
        for left in _starts(width):
            low, high = np.array([left, top]), np.array([min(left + TILE, width), min(top + TILE, height)])
            shown = np.minimum(lasts, high) - np.maximum(firsts, low)
            is_inside = (shown >= LEAST_VISIBLE * (lasts - firsts)).all(axis=1)
            inside = [
                Word(words[index].text, (boxes[index] - low).clip(0, high - low)) for index in np.flatnonzero(is_inside)
            ]
            if inside:
                yield page[low[1] : high[1], low[0] : high[0]], inside


def _starts(length: int) -> list[int]:
    """Returns the starts of overlapping tiles on an axis; the last tile ends with the axis."""
    last = max(0, length - TILE)
    return [*range(0, last, STRIDE), last]


def _add(archive: tarfile.TarFile, name: str, tile: NDArray[np.uint8]) -> None:
    # Grey JPEGs are decoded faster.
    is_grey = (tile == tile[:, :, :1]).all()
    done, data = cv2.imencode(".jpg", tile[:, :, 0] if is_grey else cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise RuntimeError(f"{name}: cannot be encoded as JPEG")
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data.tobytes()))

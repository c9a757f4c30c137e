"""Cuts labelled images into blocks of four readable lines: makes a new data set.

A block shows four lines, each straightened to the same height, one below the other, on the background colour of a
letterbox. The paper of each line gets the same colour, and the ink the same darkness, so blocks differ only in their
text. Their tags are the words of these lines that are in the vocabulary, as OCR read them.

The task is meant to be easy: lines that are too long for a block or have more than MOST_WORDS words are left out, and
so are most lines without a word (prices, dates), which would take up half of the space.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.trainer.data.images import GROUND_RGB, decode
from ovocr.vocab import Vocabulary, segment

LINES = 4
TALLEST, LONGEST = 48, 256  # pixels of a line: height of its text, available width
MOST_WORDS = 2  # of a line
WORDLESS = 0.25  # share of the lines without any word that is kept
PITCH = LONGEST // LINES
SLOTS = 100
_MARGIN = 0.1  # margin around a line's box, in line heights
_PAPER_PERCENTILE, _INK_PERCENTILE = 70, 3  # quantiles of a line's brightness: its paper, and its ink
_DARKNESS, _FAINTEST = 90.0, 8.0  # ink is made this much darker than paper, if the line has this much contrast
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)
_BOX = pa.list_(pa.float32(), 8)
_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("record_id", pa.int64()),
        ("tags", pa.list_(pa.struct([("id", pa.int32()), ("box", _BOX)]))),
    ]
)


class Line(NamedTuple):
    """A line of text on the background colour, uint8 [PITCH, LONGEST, 3] RGB, its words, and the key of its image."""

    pixels: NDArray[np.uint8]
    words: list[str]
    image: str


def cut_blocks(labels: Path, out: Path, words: Vocabulary, *, classes: Vocabulary, shuffled: int = 0) -> Counter[str]:
    """Writes the blocks of the data set ``labels`` as the data set ``out``, with tags in the vocabulary ``words``.

    classes: vocabulary that numbers the tags; words that it does not contain are not tags. Images do not depend on it.
    shuffled: 0 for consecutive lines of an image, each in one block; else the number of blocks with each line, every
        time with other lines of its shard, so the blocks of a word share only its appearance.

    Blocks without any word are left out. Returns the numbers of images, lines, lines left out (by reason) and blocks.
    """
    data_set, made = LabelledDataSet.open(labels), LabelledDataSet(out)
    for folder in ("rec", "records", "stats"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    classes.save(made.vocabulary_path)
    counts: Counter[str] = Counter()
    shards = sorted(data_set.finished_shards())
    for shard in shards:
        lines = _lines_of_images(data_set, shard, words, counts)
        rows: list[dict[str, Any]] = []
        with RecordWriter(made.rec_prefix(shard)) as writer:
            for block in _shuffled(lines, shuffled) if shuffled else _consecutive(lines):
                found = dict.fromkeys(classes.id(word) for line in block for word in line.words)
                if tags := [tag for tag in found if tag is not None]:
                    writer.write(len(rows), np.resize(np.array(tags, np.float32), SLOTS), _encode(_compose(block)))
                    rows.append(_row(len(rows), tags, block))
        counts["blocks"] += len(rows)
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), made.records_path(shard))
        made.stats_path(shard).write_text(json.dumps({"input": len(rows), "ok": len(rows)}) + "\n")
    manifest = data_set.manifest()
    assert manifest.words is not None
    described = replace(manifest.words, size=len(classes), sha256=classes.sha256)
    kept = tuple(manifest.shards[shard] for shard in shards)
    replace(manifest, words=described, shards=kept).write(made.manifest_path)
    return counts


def _consecutive(lines: Iterator[list[Line]]) -> Iterator[list[Line]]:
    """Yields the lines of each image, LINES at a time; the remainder of an image is a smaller block."""
    for of_image in lines:
        for first in range(0, len(of_image), LINES):
            yield of_image[first : first + LINES]


def _shuffled(lines: Iterator[list[Line]], times: int) -> Iterator[list[Line]]:
    """Yields each line ``times`` times, every time with other lines of any image."""
    every = [line for of_image in lines for line in of_image]
    for turn in range(times):
        order = random.Random(turn).sample(every, len(every))
        for first in range(0, len(order), LINES):
            yield order[first : first + LINES]


def _compose(block: list[Line]) -> NDArray[np.uint8]:
    """Returns lines one below the other on the background colour, uint8 [LONGEST, LONGEST, 3]."""
    pixels = np.full((LONGEST, LONGEST, 3), GROUND_RGB, np.uint8)
    for index, line in enumerate(block):
        pixels[index * PITCH : (index + 1) * PITCH] = line.pixels
    return pixels


def _lines_of_images(
    data_set: LabelledDataSet, shard: int, vocabulary: Vocabulary, counts: Counter[str]
) -> Iterator[list[Line]]:
    """Yields the usable lines of each image of a shard, in the order in which OCR read them."""
    read = {row["key"]: row["lines"] for row in pq.read_table(data_set.ocr_path(shard)).to_pylist()}
    records = pq.read_table(data_set.records_path(shard), columns=["key", "record_id"]).to_pylist()
    keys = {row["record_id"]: row["key"] for row in records if row["record_id"] is not None}
    for record in RecordReader(data_set.rec_prefix(shard)):
        counts["images"] += 1
        key = keys[record.id]
        yield list(_lines(decode(record.image), key, read[key], vocabulary, counts))


def _lines(
    pixels: NDArray[np.uint8], image: str, lines: list[dict[str, Any]], vocabulary: Vocabulary, counts: Counter[str]
) -> Iterator[Line]:
    dice = random.Random(len(lines))
    for line in lines:
        corners = np.array(line["box"], np.float32).reshape(4, 2)
        width = (np.linalg.norm(corners[1] - corners[0]) + np.linalg.norm(corners[2] - corners[3])) / 2
        height = (np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2
        counts["lines"] += 1
        edge = round(_MARGIN * TALLEST)
        room = LONGEST - 2 * edge
        shown = round(TALLEST * width / max(height, 1))
        if not 4 <= shown <= room:
            counts["lines that are too long"] += 1
            continue
        words = [word for word in segment(line["text"]) if word in vocabulary]
        if len(words) > MOST_WORDS:
            counts["lines of too many words"] += 1
            continue
        if not words and dice.random() >= WORDLESS:
            counts["lines without a word left out"] += 1
            continue
        left, top = edge, (PITCH - TALLEST) // 2
        target = [(left, top), (left + shown, top), (left + shown, top + TALLEST), (left, top + TALLEST)]
        transform = cv2.getPerspectiveTransform(corners, np.array(target, np.float32))
        flat = cv2.warpPerspective(
            pixels, transform, (LONGEST, PITCH), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        strip = np.full((PITCH, LONGEST, 3), GROUND_RGB, np.uint8)
        rows, columns = slice(top - edge, top + TALLEST + edge), slice(0, shown + 2 * edge)
        strip[rows, columns] = _even_contrast(flat[rows, columns])
        yield Line(strip, words, image)


def _even_contrast(line: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a line in grey, uint8 [H, W, 3]: paper in the background colour, ink darker by _DARKNESS."""
    grey = line.mean(axis=2, dtype=np.float32)
    paper, ink = np.percentile(grey, (_PAPER_PERCENTILE, _INK_PERCENTILE))
    darker = (grey - paper) * (_DARKNESS / max(paper - ink, _FAINTEST))
    return (np.array(GROUND_RGB) + darker[:, :, None]).clip(0, 255).astype(np.uint8)


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise RuntimeError("a block cannot be encoded as JPEG")
    return data.tobytes()


def _row(number: int, tags: list[int], block: list[Line]) -> dict[str, Any]:
    """Returns a row of ``records``; its source is the image of a block's lines, or "blocks" if there are several."""
    whole = [0.0, 0.0, LONGEST, 0.0, LONGEST, LONGEST, 0.0, LONGEST]
    images = {line.image for line in block}
    source = images.pop() if len(images) == 1 else "blocks"
    placed = [{"id": tag, "box": whole} for tag in tags]
    return {"source": source, "key": str(number), "record_id": number, "tags": placed}

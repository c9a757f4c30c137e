"""Cuts labelled pictures into blocks of four lines that are large enough to be read: a data set made of another one.

A block shows four lines, each straightened to the same height and put below the last, on the ground colour of a
letterbox. The paper of a line becomes that colour too, and its ink equally dark: what is left to tell blocks apart is
their text. Its tags are the words of these lines that are in the vocabulary, as OCR read them.

It is to be easy: lines that are too long for a block or have more than MOST_WORDS words are left out, and most of those
that have none (prices, dates), which say nothing and would take up half of the place.
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
TALLEST, LONGEST = 48, 256  # pixels of a line: the height that its text gets, the width that there is for it
MOST_WORDS = 2  # of a line
WORDLESS = 0.25  # of the lines without any word that is shown
PITCH = LONGEST // LINES
SLOTS = 100
_MARGIN = 0.1  # of a line's height that is shown around its box
_PAPER_PERCENTILE, _INK_PERCENTILE = 70, 3  # of the brightness of a line: what counts as its paper, and as its ink
_DARKNESS, _FAINTEST = 90.0, 8.0  # the ink is made this much darker than its paper, if there was this much of it
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
    """A line of text on the ground colour, uint8 [PITCH, LONGEST, 3] RGB, and its words."""

    picture: NDArray[np.uint8]
    words: list[str]


def cut_blocks(labels: Path, out: Path, words: Vocabulary, *, classes: Vocabulary, shuffled: int = 0) -> Counter[str]:
    """Write the blocks of the data set ``labels`` as the data set ``out``, whose tags are in the vocabulary ``words``.

    classes: numbers the tags; words that it lacks are none. Pictures do not depend on it.
    shuffled: 0 for lines that follow one another in a picture, each in one block; else how many blocks each line is
    in, every time with other lines of its shard, so that what a word looks like is all that they have in common.

    Blocks without any word are left out. Returns how many pictures, lines, lines left out (by reason) and blocks there
    were.
    """
    data_set, made = LabelledDataSet.open(labels), LabelledDataSet(out)
    for folder in ("rec", "records", "stats"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    classes.save(made.vocabulary_path)
    counts: Counter[str] = Counter()
    shards = sorted(data_set.finished_shards())
    for shard in shards:
        lines = _lines_of_pictures(data_set, shard, words, counts)
        rows: list[dict[str, Any]] = []
        with RecordWriter(made.rec_prefix(shard)) as writer:
            for block in _shuffled(lines, shuffled) if shuffled else _consecutive(lines):
                found = dict.fromkeys(classes.id(word) for line in block for word in line.words)
                if tags := [tag for tag in found if tag is not None]:
                    writer.write(len(rows), np.resize(np.array(tags, np.float32), SLOTS), _encode(_compose(block)))
                    rows.append(_row(len(rows), tags))
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
    """The lines of each picture, LINES at a time; what is left at its end makes a smaller block."""
    for of_picture in lines:
        for first in range(0, len(of_picture), LINES):
            yield of_picture[first : first + LINES]


def _shuffled(lines: Iterator[list[Line]], times: int) -> Iterator[list[Line]]:
    """Each line ``times`` times, every time with others of any picture."""
    every = [line for of_picture in lines for line in of_picture]
    for turn in range(times):
        order = random.Random(turn).sample(every, len(every))
        for first in range(0, len(order), LINES):
            yield order[first : first + LINES]


def _compose(block: list[Line]) -> NDArray[np.uint8]:
    """Lines below each other on the ground colour, uint8 [LONGEST, LONGEST, 3]."""
    picture = np.full((LONGEST, LONGEST, 3), GROUND_RGB, np.uint8)
    for place, line in enumerate(block):
        picture[place * PITCH : (place + 1) * PITCH] = line.picture
    return picture


def _lines_of_pictures(
    data_set: LabelledDataSet, shard: int, vocabulary: Vocabulary, counts: Counter[str]
) -> Iterator[list[Line]]:
    """The lines of each picture of a shard that fit, from top to bottom as OCR read them."""
    read = {row["key"]: row["lines"] for row in pq.read_table(data_set.ocr_path(shard)).to_pylist()}
    records = pq.read_table(data_set.records_path(shard), columns=["key", "record_id"]).to_pylist()
    keys = {row["record_id"]: row["key"] for row in records if row["record_id"] is not None}
    for record in RecordReader(data_set.rec_prefix(shard)):
        counts["pictures"] += 1
        yield list(_lines(decode(record.image), read[keys[record.id]], vocabulary, counts))


def _lines(
    picture: NDArray[np.uint8], lines: list[dict[str, Any]], vocabulary: Vocabulary, counts: Counter[str]
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
            picture, transform, (LONGEST, PITCH), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        strip = np.full((PITCH, LONGEST, 3), GROUND_RGB, np.uint8)
        rows, columns = slice(top - edge, top + TALLEST + edge), slice(0, shown + 2 * edge)
        strip[rows, columns] = _even_contrast(flat[rows, columns])
        yield Line(strip, words)


def _even_contrast(line: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A line in grey, uint8 [H, W, 3], its paper the ground colour and its ink _DARKNESS below."""
    grey = line.mean(axis=2, dtype=np.float32)
    paper, ink = np.percentile(grey, (_PAPER_PERCENTILE, _INK_PERCENTILE))
    darker = (grey - paper) * (_DARKNESS / max(paper - ink, _FAINTEST))
    return (np.array(GROUND_RGB) + darker[:, :, None]).clip(0, 255).astype(np.uint8)


def _encode(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise RuntimeError("a block cannot be encoded as JPEG")
    return data.tobytes()


def _row(number: int, tags: list[int]) -> dict[str, Any]:
    whole = [0.0, 0.0, LONGEST, 0.0, LONGEST, LONGEST, 0.0, LONGEST]
    placed = [{"id": tag, "box": whole} for tag in tags]
    return {"source": "blocks", "key": str(number), "record_id": number, "tags": placed}

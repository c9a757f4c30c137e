"""Cuts labelled pictures into blocks of four lines that are large enough to be read: a data set made of another one.

A block shows lines that follow one another in a picture, each straightened to the same height and put below the last,
on the ground colour of a letterbox. Its tags are the words of these lines that are in the vocabulary, as OCR read them.
Lines longer than eight times their height are left out: of a receipt about an eighth.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ovocr.dataset import LabelledDataSet
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.trainer.data.pictures import GROUND_RGB, decode
from ovocr.vocab import Vocabulary, segment

LINES = 4
TALLEST, LONGEST = 32, 256  # pixels of a line: the height that its text gets, the width that there is for it
PITCH = LONGEST // LINES
SLOTS = 100
_MARGIN = 0.15  # of a line's height that is shown around its box
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
    """A line of text on the ground colour, uint8 [PITCH, LONGEST, 3] RGB, and the classes of its words."""

    picture: NDArray[np.uint8]
    tags: list[int]


def cut_blocks(labels: Path, out: Path, *, stride: int) -> Counter[str]:
    """Write the blocks of the data set ``labels`` as the data set ``out``: one begins at every ``stride``-th line.

    Blocks without any word are left out. Returns how many pictures, lines, lines left out and blocks there were.
    """
    data_set, made = LabelledDataSet.open(labels), LabelledDataSet(out)
    vocabulary = Vocabulary.load(data_set.vocabulary_path)
    for folder in ("rec", "records", "stats"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for file in data_set.word_files():
        if file.exists():
            shutil.copy(file, out / file.name)
    counts: Counter[str] = Counter()
    shards = sorted(data_set.finished_shards())
    for shard in shards:
        blocks = _blocks(data_set, shard, vocabulary, stride, counts)
        rows = []
        with RecordWriter(made.rec_prefix(shard)) as writer:
            for number, (name, picture, tags) in enumerate(blocks):
                writer.write(number, np.resize(np.array(tags, np.float32), SLOTS), _encode(picture))
                rows.append(_row(name, number, tags))
                counts["blocks"] += 1
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), made.records_path(shard))
        made.stats_path(shard).write_text(json.dumps({"input": len(rows), "ok": len(rows)}) + "\n")
    manifest = data_set.manifest()
    manifest["shards"] = [manifest["shards"][shard] for shard in shards]
    made.manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")
    return counts


def _blocks(
    data_set: LabelledDataSet, shard: int, vocabulary: Vocabulary, stride: int, counts: Counter[str]
) -> Iterator[tuple[str, NDArray[np.uint8], list[int]]]:
    """Name, picture [LONGEST, LONGEST, 3] and distinct tags of each block."""
    read = {row["key"]: row["lines"] for row in pq.read_table(data_set.ocr_path(shard)).to_pylist()}
    records = pq.read_table(data_set.records_path(shard), columns=["key", "record_id"]).to_pylist()
    keys = {row["record_id"]: row["key"] for row in records if row["record_id"] is not None}
    for record in RecordReader(data_set.rec_prefix(shard)):
        key = keys[record.id]
        lines = list(_lines(decode(record.image), read[key], vocabulary, counts))
        counts["pictures"] += 1
        for first in range(0, max(1, len(lines) - LINES + 1), stride):
            block = lines[first : first + LINES]
            tags = list(dict.fromkeys(tag for line in block for tag in line.tags))
            if tags:
                picture = np.full((LONGEST, LONGEST, 3), GROUND_RGB, np.uint8)
                for place, line in enumerate(block):
                    picture[place * PITCH : (place + 1) * PITCH] = line.picture
                yield f"{key} from line {first}", picture, tags


def _lines(
    picture: NDArray[np.uint8], lines: list[dict[str, Any]], vocabulary: Vocabulary, counts: Counter[str]
) -> Iterator[Line]:
    for line in lines:
        corners = np.array(line["box"], np.float32).reshape(4, 2)
        width = (np.linalg.norm(corners[1] - corners[0]) + np.linalg.norm(corners[2] - corners[3])) / 2
        height = (np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2
        counts["lines"] += 1
        shown = round(TALLEST * width / max(height, 1))
        if not 4 <= shown <= LONGEST - 8:
            counts["lines left out"] += 1
            continue
        edge = round(_MARGIN * TALLEST)
        left, top = edge, (PITCH - TALLEST) // 2
        target = [(left, top), (left + shown, top), (left + shown, top + TALLEST), (left, top + TALLEST)]
        transform = cv2.getPerspectiveTransform(corners, np.array(target, np.float32))
        flat = cv2.warpPerspective(
            picture, transform, (LONGEST, PITCH), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
        )
        strip = np.full((PITCH, LONGEST, 3), GROUND_RGB, np.uint8)
        rows, columns = slice(top - edge, top + TALLEST + edge), slice(0, min(LONGEST, shown + 2 * edge))
        strip[rows, columns] = flat[rows, columns]
        ids = [vocabulary.id(word) for word in segment(line["text"])]
        yield Line(strip, [number for number in ids if number is not None])


def _encode(picture: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise RuntimeError("a block cannot be encoded as JPEG")
    return data.tobytes()


def _row(name: str, number: int, tags: list[int]) -> dict[str, Any]:
    whole = [0.0, 0.0, LONGEST, 0.0, LONGEST, LONGEST, 0.0, LONGEST]
    return {"source": "blocks", "key": name, "record_id": number, "tags": [{"id": tag, "box": whole} for tag in tags]}

"""Data sets whose images have words in known boxes. Each word is a rectangle of its own colour."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import RecordWriter
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

SIDE = 240
WORDS = [f"word{number}" for number in range(9)]
# Colour and box of each word. The last box is rotated.
COLOURS = [(220, 30, 30), (30, 160, 30), (30, 30, 220), (200, 150, 0), (160, 0, 160)]
BOXES = [
    [(10, 10), (90, 10), (90, 40), (10, 40)],
    [(140, 20), (230, 20), (230, 50), (140, 50)],
    [(20, 180), (110, 180), (110, 220), (20, 220)],
    [(150, 190), (225, 190), (225, 215), (150, 215)],
    [(100, 90), (150, 80), (156, 110), (106, 120)],
]


def painted() -> NDArray[np.uint8]:
    image = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for colour, box in zip(COLOURS, BOXES, strict=True):
        cv2.fillConvexPoly(image, np.array(box, np.int32), colour)
    return image


def encoded(image: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def write_placed(
    root: Path,
    records: Sequence[tuple[bytes, list[int], list[list[float]] | None]],
    words: Sequence[str] = WORDS,
    *,
    again: Sequence[tuple[int, list[float]]] = (),
) -> Path:
    """Writes a data set of one shard.

    records: encoded image, slots, and a box for each distinct tag in order. again: tags and boxes of more places, in
    every record.
    """
    data_set = LabelledDataSet(root)
    rows = [{"record_id": None, "tags": []}]  # the first row is a dropped image, so row and record numbers differ
    with RecordWriter(data_set.rec_prefix(0)) as writer:
        for number, (image, slots, boxes) in enumerate(records):
            writer.write(number, np.array(slots, np.float32), image)
            distinct = list(dict.fromkeys(slots))
            places = boxes or [None] * len(distinct)
            tags = [{"id": tag, "box": box} for tag, box in zip(distinct, places, strict=True)]
            tags += [{"id": tag, "box": box} for tag, box in again]
            rows.append({"record_id": number, "tags": tags})
    kind = pa.struct([("id", pa.int32()), ("box", pa.list_(pa.float32()))])
    schema = pa.schema([("record_id", pa.int64()), ("tags", pa.list_(kind))])
    data_set.records_path(0).parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema), data_set.records_path(0))
    data_set.stats_path(0).parent.mkdir()
    data_set.stats_path(0).write_text("{}")
    data_set.vocabulary_path.write_text("".join(f"{word}\n" for word in words))
    make_manifest(["source.tar"], vocabulary=Vocabulary(words)).write(data_set.manifest_path)
    return root


def flat(box: list[tuple[int, int]]) -> list[float]:
    return [float(value) for corner in box for value in corner]

"""Data sets whose images have words in known boxes. Each word is a rectangle of its own colour."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
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
    records: Sequence[tuple[bytes, list[int], list[list[float]]]],
    words: Sequence[str] = WORDS,
    *,
    again: Sequence[tuple[int, list[float]]] = (),
    line_boxes: Sequence[list[float]] | None = None,
    size: tuple[int, int] = (SIDE, SIDE),
    edges: Sequence[float] = (0.0, 1.0),
) -> Path:
    """Writes a data set of one shard.

    records: encoded image, slots, and a box for each distinct tag in order. again: tags and boxes of more places, in
    every record. line_boxes: box of the line of each place; by default the box of its word. size: width and height of
    the images. edges: edges of every line.
    """
    data_set = LabelledDataSet(root)
    entry = ShardEntry(source="source.tar", kind="tar")
    with ShardWriter(data_set, 0, entry) as writer:
        # The first image is dropped, so row and record numbers differ.
        writer.add("none.png", Outcome(status=Status.DROPPED, reason=Reason.NO_TEXT, width=size[0], height=size[1]))
        for number, (image, slots, boxes) in enumerate(records):
            placed = [*zip(dict.fromkeys(slots), boxes, strict=True), *again]
            of_lines = line_boxes or [box for _, box in placed]
            outcome = Outcome(
                status=Status.OK,
                jpeg=image,
                width=size[0],
                height=size[1],
                lines=[Line("word", 0.9, tuple(box), tuple(edges)) for box in of_lines],
                places=[Place(tag, line, tuple(box)) for line, (tag, box) in enumerate(placed)],
                slots=slots,
            )
            writer.add(f"{number}.png", outcome)
    data_set.vocabulary_path.write_text("".join(f"{word}\n" for word in words))
    make_manifest(["source.tar"], vocabulary=Vocabulary(words)).write(data_set.manifest_path)
    return root


def flat(box: list[tuple[int, int]]) -> list[float]:
    return [float(value) for corner in box for value in corner]

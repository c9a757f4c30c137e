"""The images of a shard are read back as they were written."""

import random
from pathlib import Path

from ovocr.dataset.labelled_images import LabelledImage, read_labelled_images
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.text import StoredText


def make_lines(draw: random.Random) -> list[Line]:
    """Returns up to three lines. The second one has no edges."""
    return [
        Line(
            f"line {number}",
            round(draw.random(), 4),
            tuple(round(draw.uniform(-50, 32_767), 2) for _ in range(8)),
            () if number == 1 else tuple(sorted(round(draw.random(), 4) for _ in range(7))),
        )
        for number in range(draw.randrange(4))
    ]


def test_lines_are_read_back_with_exact_numbers(tmp_path: Path):
    draw = random.Random(0)
    images = [make_lines(draw) for _ in range(600)]
    failure = quarantined(Reason.TRUNCATED, "cut")
    data_set = LabelledDataSet(tmp_path)
    with ShardWriter(data_set, 3, ShardEntry(source="x.tar", kind="tar")) as writer:
        for number, lines in enumerate(images):
            ok = {"status": Status.OK, "jpeg": b"j", "places": [Place(4, 0, (0.0,) * 8)], "slots": [4, 4]}
            dropped = {"status": Status.DROPPED, "reason": Reason.NO_TEXT}
            outcome = Outcome(**(ok if lines else dropped), width=number, height=9, lines=lines)
            writer.add(f"{number}.jpg", outcome)
            if number == 1:
                writer.add("cut.jpg", failure)
    read = list(read_labelled_images(data_set, 3))
    assert read[2] == LabelledImage(position=2, key="cut.jpg", record_id=None, read=failure)
    del read[2]
    assert [image.read for image in read] == [
        StoredText(width=number, height=9, lines=lines) for number, lines in enumerate(images)
    ]
    assert [(image.position, image.key) for image in read[:4]] == [
        (0, "0.jpg"),
        (1, "1.jpg"),
        (3, "2.jpg"),
        (4, "3.jpg"),
    ]
    ids = [image.record_id for image in read]
    assert [id for id in ids if id is not None] == list(range(sum(map(bool, images))))
    assert [id is None for id in ids] == [not lines for lines in images]

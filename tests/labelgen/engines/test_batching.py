"""The schedule of detection and recognition, around an engine that notes how it is called."""

from collections.abc import Sequence

import numpy as np
import pytest

from ovocr.labelgen.engines.batching import MAX_BATCH_WIDTH, padded_width, read_lines
from ovocr.labelgen.engines.interface import Batching, Pixels, Prepared, Reading, Region


class Shapes:
    """An engine that finds in a picture of w x h pixels w // 100 regions, w pixels wide and 48 high, and reads sizes.

    It reads in each crop the width it was given, and the place of the crop's picture, a pixel's value.
    """

    min_score = 0.5

    def __init__(self, pictures: int = 2, crops: int = 3, full: bool = False) -> None:
        self.batching = Batching(pictures=pictures, crops=crops, crop_height=48, width_step=8, full=full)
        self.detected: list[tuple[int, ...]] = []
        self.recognised: list[tuple[int, int]] = []

    def prepare(self, picture: Pixels) -> Prepared:
        return Prepared(np.zeros((3, *picture.shape[:2]), np.float32), picture)

    def detect(self, pictures: Sequence[Prepared]) -> list[list[Region]]:
        (shape,) = {picture.tensor.shape for picture in pictures}
        self.detected.append((len(pictures), *shape[1:]))
        return [
            [Region((float(n),) * 8, picture.source[:48]) for n in range(picture.source.shape[1] // 100)]
            for picture in pictures
        ]

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        self.recognised.append((len(crops), width))
        return [Reading(f"{width} {crop[0, 0, 0]}", 0.9) for crop in crops]


def picture(width: int, height: int, value: int) -> Pixels:
    return np.full((height, width, 3), value, np.uint8)


PICTURES = [picture(201, 60, 1), picture(100, 60, 2), picture(201, 60, 3), picture(99, 50, 4), picture(201, 60, 5)]
# Steps of 8: 201 -> 208, 100 -> 104.
LINES = [["208 1", "208 1"], ["104 2"], ["208 3", "208 3"], [], ["208 5", "208 5"]]


def texts(engine: Shapes, pictures: list[Pixels]) -> list[list[str]]:
    return [[line.text for line in lines] for lines in read_lines(engine, pictures)]


def test_pictures_of_one_shape_and_crops_of_one_width_go_together():
    engine = Shapes()
    assert texts(engine, PICTURES) == LINES
    assert engine.detected == [(1, 50, 99), (1, 60, 100), (2, 60, 201), (1, 60, 201)]
    assert engine.recognised == [(1, 104), (3, 208), (3, 208)]


def test_full_batches_for_a_device_whose_results_depend_on_their_size():
    engine = Shapes(full=True)
    assert texts(engine, PICTURES) == LINES
    assert {size for size, *_ in engine.detected} == {2}
    assert {size for size, _ in engine.recognised} == {3}


@pytest.mark.parametrize("full", [False, True])
def test_each_picture_alone_gives_the_same(full: bool):
    assert [texts(Shapes(full=full), [one])[0] for one in PICTURES] == LINES


def test_batches_of_long_lines_are_smaller():
    engine = Shapes(crops=10_000)
    read_lines(engine, [picture(200, 60, 1)] * 400)
    assert engine.recognised == [(MAX_BATCH_WIDTH // 200, 200)] * 4 + [(800 - 4 * (MAX_BATCH_WIDTH // 200), 200)]


def test_no_pictures():
    assert read_lines(Shapes(), []) == []


@pytest.mark.parametrize(("width", "height", "padded"), [(48, 48, 48), (10, 48, 32), (481, 48, 488), (1000, 20, 2400)])
def test_the_width_a_crop_is_padded_to_is_its_own(width: int, height: int, padded: int):
    # 48 pixels high, whole steps of 8, 32 at least: 481 -> 488; 1000 across at a height of 20 -> 2400.
    assert padded_width(picture(width, height, 0), Shapes().batching) == padded


class Says(Shapes):
    """An engine that reads one text with one score in all regions."""

    def __init__(self, text: str, score: float) -> None:
        super().__init__()
        self._reading = Reading(text, score)

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        return [self._reading] * len(crops)


@pytest.mark.parametrize(
    ("text", "score", "lines"), [("fox", 0.5, 2), ("fox", 0.4999, 0), ("  \u3000", 0.9, 0), ("fox", float("nan"), 0)]
)
def test_unsure_and_blank_readings_are_no_text(text: str, score: float, lines: int):
    assert [len(found) for found in read_lines(Says(text, score), [picture(200, 60, 0)] * 3)] == [lines] * 3


def test_scores_have_four_decimals():
    ((line, _),) = read_lines(Says("fox", 0.123456 + 0.5), [picture(200, 60, 0)])
    assert line.score == 0.6235

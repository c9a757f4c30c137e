"""Batching of detection and recognition, with an engine that records its calls."""

from collections.abc import Sequence

import numpy as np
import pytest

from ovocr.labelgen.engines.batching import MAX_BATCH_WIDTH, padded_width, read_lines
from ovocr.labelgen.engines.interface import Batching, Detection, Pixels, Prepared, Reading, Region


class RecordingEngine:
    """An engine that records the shapes of its batches.

    It finds w // 100 regions, w pixels wide and 48 high, in an image of w x h pixels. It reads in each crop the padded
    width and the value of a pixel, which identifies the image. Regions are so thin that images with three of them get
    closer looks, each with one pixel more on each side.
    """

    min_score = 0.5

    def __init__(self, images: int = 2, crops: int = 3, full: bool = False) -> None:
        self.batching = Batching(images=images, crops=crops, crop_height=48, width_step=8, full=full)
        self.detected: list[tuple[int, ...]] = []
        self.recognised: list[tuple[int, int]] = []

    def prepare(self, image: Pixels, look: int = 0) -> Prepared:
        height, width = image.shape[:2]
        return Prepared(np.zeros((3, height + look, width + look), np.float32), image)

    def detect(self, images: Sequence[Prepared]) -> list[Detection]:
        (shape,) = {image.tensor.shape for image in images}
        self.detected.append((len(images), *shape[1:]))
        return [
            Detection(
                [Region((float(n),) * 8, image.source[:48]) for n in range(image.source.shape[1] // 100)], [], 1.0
            )
            for image in images
        ]

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        self.recognised.append((len(crops), width))
        return [Reading(f"{width} {crop[0, 0, 0]}", 0.9) for crop in crops]


def image(width: int, height: int, value: int) -> Pixels:
    return np.full((height, width, 3), value, np.uint8)


IMAGES = [image(201, 60, 1), image(100, 60, 2), image(201, 60, 3), image(99, 50, 4), image(201, 60, 5)]
# Widths are padded to multiples of 8: 201 -> 208, 100 -> 104.
LINES = [["208 1", "208 1"], ["104 2"], ["208 3", "208 3"], [], ["208 5", "208 5"]]


def texts(engine: RecordingEngine, images: list[Pixels]) -> list[list[str]]:
    return [[line.text for line in lines] for lines in read_lines(engine, images)]


def test_batches_have_images_of_one_shape_and_crops_of_one_width():
    engine = RecordingEngine()
    assert texts(engine, IMAGES) == LINES
    assert engine.detected == [(1, 50, 99), (1, 60, 100), (2, 60, 201), (1, 60, 201)]
    assert engine.recognised == [(1, 104), (3, 208), (3, 208)]


def test_images_that_need_it_are_detected_again():
    engine = RecordingEngine()
    images = [image(300, 60, 1), image(100, 60, 2), image(300, 60, 3)]
    assert texts(engine, images) == [["304 1"] * 3, ["104 2"], ["304 3"] * 3]
    assert engine.detected == [(1, 60, 100), (2, 60, 300), (2, 61, 301), (2, 62, 302)]


def test_full_batches_have_a_constant_size():
    engine = RecordingEngine(full=True)
    assert texts(engine, IMAGES) == LINES
    assert {size for size, *_ in engine.detected} == {2}
    assert {size for size, _ in engine.recognised} == {3}


@pytest.mark.parametrize("full", [False, True])
def test_lines_do_not_depend_on_the_batch(full: bool):
    assert [texts(RecordingEngine(full=full), [one])[0] for one in IMAGES] == LINES


def test_batches_of_long_lines_are_smaller():
    engine = RecordingEngine(crops=10_000)
    read_lines(engine, [image(200, 60, 1)] * 400)
    assert engine.recognised == [(MAX_BATCH_WIDTH // 200, 200)] * 4 + [(800 - 4 * (MAX_BATCH_WIDTH // 200), 200)]


def test_no_images_give_no_lines():
    assert read_lines(RecordingEngine(), []) == []


@pytest.mark.parametrize(("width", "height", "padded"), [(48, 48, 48), (10, 48, 32), (481, 48, 488), (1000, 20, 2400)])
def test_padded_width_depends_on_the_crop_alone(width: int, height: int, padded: int):
    # Scaled to a height of 48, rounded up to multiples of 8, at least 32: 481 -> 488; 1000 x 20 -> 2400.
    assert padded_width(image(width, height, 0), RecordingEngine().batching) == padded


class ConstantEngine(RecordingEngine):
    """An engine that reads the same text with the same score in all regions."""

    def __init__(self, text: str, score: float) -> None:
        super().__init__()
        self._reading = Reading(text, score)

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        return [self._reading] * len(crops)


@pytest.mark.parametrize(
    ("text", "score", "lines"), [("fox", 0.5, 2), ("fox", 0.4999, 0), ("  \u3000", 0.9, 0), ("fox", float("nan"), 0)]
)
def test_readings_with_low_score_or_without_text_give_no_lines(text: str, score: float, lines: int):
    assert [len(found) for found in read_lines(ConstantEngine(text, score), [image(200, 60, 0)] * 3)] == [lines] * 3


def test_scores_have_four_decimals():
    ((line, _),) = read_lines(ConstantEngine("fox", 0.123456 + 0.5), [image(200, 60, 0)])
    assert line.score == 0.6235

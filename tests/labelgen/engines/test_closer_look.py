"""The closer look: when an image needs it, and what a real engine then reads."""

import difflib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovocr.dataset.lines import Box
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.closer_look import FIRST_SIDE, LOOKS, detector_side, needs_closer_look
from ovocr.labelgen.engines.interface import Detection, Engine, EngineChoice, Pixels, Region


def box(thickness: float, length: float = 300.0) -> Box:
    return (0.0, 0.0, length, 0.0, length, thickness, 0.0, thickness)


def turned(thickness: float) -> Box:
    return (0.0, 0.0, thickness, 0.0, thickness, 300.0, 0.0, 300.0)


def found(lines: list[Box], rejected: list[Box] | None = None, scale: float = 1.0) -> Detection:
    crop = np.zeros((1, 1, 3), np.uint8)
    return Detection([Region(line, crop) for line in lines], rejected or [], scale)


@pytest.mark.parametrize(
    ("detection", "needed"),
    [
        (found([box(20)] * 8), False),
        (found([box(10)] * 8), True),
        (found([box(10)] * 8, scale=2.0), False),  # 20 pixels of the detector's input
        (found([box(20)] * 8, scale=0.5), True),
        (found([turned(10)] * 8), True),
        (found([turned(20)] * 8), False),
        (found([box(20)] * 6 + [box(10)] * 2), False),  # fewer than a quarter
        (found([box(20)] * 5 + [box(10)] * 3), True),
        (found([box(10)] * 2), False),  # too few lines
        (found([]), False),
        (found([box(20)] * 8, [box(60)]), True),  # three lines in one area
        (found([box(20)] * 8, [box(25)]), False),  # one line
        (found([box(20)] * 8, [box(60, 150)]), False),  # no larger than lines
        (found([box(20)] * 8, [box(60)], scale=0.7), True),
        (found([box(400)], [box(20, 30)] * 10, scale=0.5), True),  # the lines of a page in one area
        (found([], [box(20, 30)] * 10, scale=0.5), True),
        (found([], [box(20, 30)] * 9, scale=0.5), False),
        (found([], [box(20, 30)] * 10), False),  # the image has no more detail than the input
        (found([box(40)] * 11, [box(20, 30)] * 10, scale=0.5), False),
    ],
)
def test_small_text_and_merged_lines_need_a_closer_look(detection: Detection, needed: bool) -> None:
    assert needs_closer_look(detection) is needed


@pytest.mark.parametrize(
    ("longer", "sides"),
    [
        (6000, [960, 1440, 2000]),
        (2000, [960, 1440, 2000]),
        (1500, [960, 1440, 1500]),
        (1400, [960, 1440, None]),  # enlarged at the second look
        (600, [600, 900, None]),
        (1, [1, 2, None]),
        (0, [0, None, None]),
    ],
)
def test_sides_grow_from_look_to_look(longer: int, sides: list[int | None]) -> None:
    assert [detector_side(longer, look) for look in range(LOOKS)] == sides


@pytest.fixture(scope="module")
def engine() -> Engine:
    return EngineChoice("rapidocr").plan().load()


@pytest.mark.parametrize("size", [(300, 2400), (2400, 300), (400, 500), (3000, 2900), (1200, 1000)])
def test_inputs_have_these_sides(engine: Engine, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    longer = min(max(size), 2000)
    for look in (*range(LOOKS), 0):  # a closer look leaves no trace
        prepared, side = engine.prepare(image, look), detector_side(longer, look)
        assert (prepared is None) == (side is None)
        if prepared is not None:
            assert max(prepared.tensor.shape) == pytest.approx(side, abs=32)
    assert FIRST_SIDE % 32 == 0


def small_print(size: float) -> tuple[Pixels, list[str]]:
    """Returns a page of small print in two columns, and its lines."""
    generator = np.random.default_rng(5)
    words = ["quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "while", "seven", "wizards", "quietly", "make"]
    image = np.full((2000, 2000, 3), 255, np.uint8)
    lines = []
    for top in range(40, 400, 12):
        for left in (30, 1020):
            text = ""
            while cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] < 870:
                text = f"{text} {generator.choice(words)}".strip()
            cv2.putText(image, text, (left, top), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
            lines.append(text)
    return image, lines


def lines_read(engine: Engine, image: Pixels, lines: list[str]) -> int:
    """Returns how many of the lines are read, up to small errors."""
    read = [line.text.lower() for line in read_lines(engine, [image])[0]]
    return sum(bool(difflib.get_close_matches(line, read, 1, 0.8)) for line in lines)


@pytest.mark.parametrize("size", [0.4, 0.35])
def test_small_print_is_read(engine: Engine, monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    """Some lines run into each other at the first look, or all lines become one area."""
    image, lines = small_print(size)
    assert lines_read(engine, image, lines) >= 0.75 * len(lines)
    monkeypatch.setattr("ovocr.labelgen.engines.batching.needs_closer_look", lambda detection: False)
    assert lines_read(engine, image, lines) < 0.1 * len(lines)


def test_the_closer_look_depends_on_the_image_alone(engine: Engine) -> None:
    image, _ = small_print(0.4)
    page = np.full((700, 900, 3), 255, np.uint8)
    for row in range(5):
        cv2.putText(page, f"large words {row}", (60, 100 + 120 * row), cv2.FONT_HERSHEY_DUPLEX, 2, (0, 0, 0), 3)
    small = image[:400, :760].copy()
    together = read_lines(engine, [page, small, page])
    assert together == [read_lines(engine, [one])[0] for one in (page, small, page)]


def test_a_dense_newspaper_page_is_read(engine: Engine, shared_data: Path) -> None:
    """Half of the lines of this page are about 10 pixels thick in the detector's usual input."""
    image = cv2.imread(str(shared_data / "chinese" / "066.jpg"))
    truth = (shared_data / "chinese" / "066.txt").read_text(encoding="utf-8").split()
    read = [line.text for line in read_lines(engine, [image])[0]]
    lines = [line for line in truth if len(line) > 5]
    found = sum(bool(difflib.get_close_matches(line, read, 1, 0.7)) for line in lines)
    assert found > 0.9 * len(lines)

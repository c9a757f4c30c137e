"""Edges of characters: from columns of a recogniser and the ink of a crop, and of words that a real engine reads."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from ovocr.dataset.lines import Line
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.character_edges import centers_in_crop, character_edges
from ovocr.labelgen.engines.interface import EngineChoice
from ovocr.labelgen.engines.lost_spaces import READING_LAG, LostSpaces
from ovocr.labelgen.engines.rapidocr import BATCHING, BOX_MARGIN
from ovocr.labelgen.tagging.word_boxes import LineBoxes
from ovocr.vocab import locate_words


def crop_of(
    inked: Sequence[tuple[int, int]], width: int, height: int = 40, light: bool = False
) -> npt.NDArray[np.uint8]:
    """Returns a crop with ink in columns [start, end), dark on light unless ``light``."""
    crop = np.full((height, width, 3), 30 if light else 230, np.uint8)
    for start, end in inked:
        crop[height // 4 : 3 * height // 4, start:end] = 240 if light else 20
    return crop


@pytest.mark.parametrize("light", [False, True])
def test_edges_at_a_space_are_those_of_the_ink(light: bool) -> None:
    crop = crop_of([(10, 30), (32, 50), (70, 90), (92, 110)], 120, light=light)
    edges = character_edges("ab cd", (20 / 120, 40 / 120, 60 / 120, 80 / 120, 100 / 120), crop)
    assert np.allclose(np.array(edges) * 120, [10, 30, 50, 70, 90, 110], atol=0.01)


def test_neighbouring_letters_meet_halfway() -> None:
    edges = character_edges("abc", (0.1, 0.3, 0.9), crop_of([(5, 95)], 100))
    assert edges == (0.05, 0.2, 0.6, 0.95)


def test_punctuation_ends_at_the_gap_before_it() -> None:
    crop = crop_of([(10, 40), (50, 54)], 100)
    start, end, last = character_edges("a:", (0.25, 0.52), crop)
    assert (start, end, last) == (0.1, 0.45, 0.54)


def test_several_spaces_share_the_gap() -> None:
    crop = crop_of([(0, 20), (80, 100)], 100)
    assert character_edges("a  b", (0.1, 0.4, 0.6, 0.9), crop) == (0.0, 0.2, 0.5, 0.8, 1.0)


def test_ink_far_from_the_text_is_not_part_of_it() -> None:
    crop = crop_of([(0, 4), (40, 80), (140, 150)], 150)
    assert character_edges("ab", (50 / 150, 70 / 150), crop) == (round(40 / 150, 4), 0.4, round(80 / 150, 4))


def test_noise_beside_the_text_is_cut_off() -> None:
    """A character extends at most 0.6 heights of the crop from its center."""
    assert character_edges("ab", (0.45, 0.55), crop_of([(0, 200)], 200)) == (0.33, 0.5, 0.67)


def test_a_space_without_a_gap_keeps_the_middles() -> None:
    assert character_edges("a b", (0.2, 0.5, 0.8), crop_of([(0, 100)], 100)) == (0.0, 0.35, 0.65, 1.0)


def test_a_crop_of_one_color_has_edges() -> None:
    edges = character_edges("a b", (0.2, 0.5, 0.8), np.full((20, 100, 3), 128, np.uint8))
    assert len(edges) == 4
    assert list(edges) == sorted(edges)


@pytest.mark.parametrize(("text", "centers"), [("ab", (0.5,)), ("ab", ()), ("", ())])
def test_unknown_centers_give_no_edges(text: str, centers: tuple[float, ...]) -> None:
    assert character_edges(text, centers, crop_of([(0, 10)], 10)) == ()


def test_random_lines_have_ascending_edges() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        count = int(generator.integers(1, 20))
        text = "".join(generator.choice(list("ab .,中"), count))
        centers = tuple(np.sort(generator.random(count)).tolist())
        crop = generator.integers(
            0, 256, (int(generator.integers(1, 60)), int(generator.integers(1, 200)), 3), np.uint8
        )
        edges = character_edges(text, centers, crop)
        assert len(edges) == count + 1
        assert list(edges) == sorted(edges)
        assert 0 <= edges[0] <= edges[-1] <= 1


def test_positions_are_the_middles_of_runs_of_columns() -> None:
    spaces = LostSpaces(["blank", "a", "fi", " "])
    positions = spaces.positions(np.array([0, 1, 1, 0, 1, 3, 2, 2, 2, 0]))
    middles = np.array([1.5, 4, 5, 7, 7])  # both letters of "fi" have the place of the ligature
    assert np.allclose(positions, (middles + 0.5 - READING_LAG) / 10)
    assert len(spaces.positions(np.zeros(5, np.intp))) == 0


def test_centers_are_fractions_of_the_crop_without_padding() -> None:
    crop = np.zeros((24, 100, 3), np.uint8)  # 200 of 208 columns of the input
    assert np.allclose(centers_in_crop(np.array([0.25, 1.0]), crop, 208, BATCHING), [0.26, 1.0])


def draw_words(
    words: Sequence[tuple[str, int]], size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], list[list[int]]]:
    """Draws words, each beginning in its column. Returns the image and left, top, right, bottom of each word's ink."""
    image = np.full((*size, 3), 255, np.uint8)
    boxes = []
    for text, left in words:
        before = image.copy()
        cv2.putText(image, text, (left, size[0] // 2 + 10), cv2.FONT_HERSHEY_DUPLEX, 1.0, (0, 0, 0), 2, cv2.LINE_AA)
        rows, columns = np.nonzero((image != before).any(axis=2))
        boxes.append([int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1])
    return image, boxes


WORDS = [("illicit", 20), ("WOMEN", 160), ("still", 330), ("mammoth", 480)]


@pytest.fixture(scope="module")
def lines() -> tuple[list[Line], list[list[int]], tuple[int, int]]:
    engine = EngineChoice("rapidocr").plan().load()
    image, boxes = draw_words(WORDS, (90, 700))
    return read_lines(engine, [image])[0], boxes, (700, 90)


def overlap(box: Sequence[float], true: Sequence[int]) -> float:
    """Returns the intersection over union of the horizontal ranges."""
    left, right = min(box[::2]), max(box[::2])
    shared = min(right, true[2]) - max(left, true[0])
    return max(0.0, shared) / (max(right, true[2]) - min(left, true[0]))


def test_a_real_engine_places_words_of_proportional_type(
    lines: tuple[list[Line], list[list[int]], tuple[int, int]],
) -> None:
    """Narrow and wide letters: interpolation along the line misses the words by their width."""
    read, boxes, size = lines
    text = [line.text for line in read]
    places = LineBoxes(read, *size, BOX_MARGIN)
    plain = LineBoxes([Line(line.text, line.score, line.box) for line in read], *size, BOX_MARGIN)
    found = locate_words(text)
    assert [word.text for word in found] == [word.lower() for word, _ in WORDS]
    known = [overlap(places.word(word.line, word.start, word.end), box) for word, box in zip(found, boxes, strict=True)]
    assert min(known) > 0.85, known
    guessed = [
        overlap(plain.word(word.line, word.start, word.end), box) for word, box in zip(found, boxes, strict=True)
    ]
    assert min(known) > min(guessed)


def test_word_boxes_leave_out_the_margin_of_the_detector(
    lines: tuple[list[Line], list[list[int]], tuple[int, int]],
) -> None:
    read, boxes, size = lines
    places = LineBoxes(read, *size, BOX_MARGIN)
    for word, true in zip(locate_words([line.text for line in read]), boxes, strict=True):
        box, line = places.word(word.line, word.start, word.end), read[word.line].box
        assert min(line[1::2]) < min(box[1::2]) <= true[1] + 3
        assert max(line[1::2]) > max(box[1::2]) >= true[3] - 3


def test_a_real_engine_places_words_of_a_vertical_line() -> None:
    engine = EngineChoice("rapidocr").plan().load()
    image, boxes = draw_words(WORDS, (90, 700))
    turned = np.ascontiguousarray(np.rot90(image, -1))  # reads from top to bottom
    read = read_lines(engine, [turned])[0]
    places = LineBoxes(read, 90, 700, BOX_MARGIN)
    found = locate_words([line.text for line in read])
    assert [word.text for word in found] == [word.lower() for word, _ in WORDS]
    for word, (left, _, right, _) in zip(found, boxes, strict=True):
        box = places.word(word.line, word.start, word.end)
        top, bottom = min(box[1::2]), max(box[1::2])  # x of the level image is y of the turned one
        shared = min(bottom, right) - max(top, left)
        assert shared / (max(bottom, right) - min(top, left)) > 0.8

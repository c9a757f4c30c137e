"""Boxes of words in level, slanted and vertical lines, with and without edges of characters."""

import pytest

from ovocr.dataset.lines import Box, Line, runs_down, whole_image
from ovocr.labelgen.tagging.word_boxes import BoxOrigin, LineBoxes, cut_box, display_edges, runs_left

LEVEL = (0.0, 0.0, 200.0, 0.0, 200.0, 40.0, 0.0, 40.0)
COLUMN = (10.0, 0.0, 50.0, 0.0, 50.0, 200.0, 10.0, 200.0)
EDGES = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)  # of "ab cd"


def boxes(text: str, box: Box, edges: tuple[float, ...] = ()) -> LineBoxes:
    """Returns the boxes of an image of 400 x 300 pixels with one line, whose detector has a margin of an eighth."""
    return LineBoxes([Line(text, 0.9, box, edges)], 400, 300, 0.125)


def test_cut_of_a_level_line():
    assert cut_box((10, 20, 110, 20, 110, 40, 10, 40), 0.25, 0.5) == (35, 20, 60, 20, 60, 40, 35, 40)
    assert cut_box((10, 20, 110, 20, 110, 40, 10, 40), 0.25, 0.5, 0.1, 0.75) == (35, 22, 60, 22, 60, 35, 35, 35)


def test_cut_of_the_whole_line():
    line = (10, 20, 110, 22, 109, 42, 9, 40)
    assert cut_box(line, 0.0, 1.0) == line


def test_cut_of_a_slanted_line_follows_all_its_sides():
    # Top side from (0, 0) to (100, 50), bottom side from (0, 20) to (100, 70).
    line = (0, 0, 100, 50, 100, 70, 0, 20)
    assert cut_box(line, 0.5, 0.6) == (50, 25, 60, 30, 60, 50, 50, 45)
    assert cut_box(line, 0.5, 0.6, 0.25, 0.5) == (50, 30, 60, 35, 60, 40, 50, 35)


def test_cut_of_a_vertical_line_is_from_top_to_bottom_and_across_from_the_right():
    assert runs_down(COLUMN)
    assert cut_box(COLUMN, 0.25, 0.5) == (10, 50, 50, 50, 50, 100, 10, 100)
    assert cut_box(COLUMN, 0.25, 0.5, 0.1, 0.75) == (20, 50, 46, 50, 46, 100, 20, 100)


@pytest.mark.parametrize(("height", "down"), [(29, False), (30, True)])
def test_line_runs_down_from_an_aspect_of_three_halves(height: int, down: bool):
    assert runs_down((0, 0, 20, 0, 20, height, 0, height)) is down


def test_corners_are_rounded_to_hundredths():
    assert cut_box((0, 0, 100, 0, 100, 10, 0, 10), 1 / 3, 2 / 3) == (33.33, 0, 66.67, 0, 66.67, 10, 33.33, 10)


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("abcd", [0, 0.25, 0.5, 0.75, 1]),
        ("不a", [0, 2 / 3, 1]),  # a wide character has two columns
        ("e\u0301a", [0, 0.5, 0.5, 1]),  # a combining character has none
        ("\u0301\u0301", [0, 1, 1]),
        ("", [0]),
    ],
)
def test_characters_share_a_line_by_their_display_columns(text: str, edges: list[float]):
    assert display_edges(text) == edges


def test_word_of_a_line_without_edges_is_interpolated():
    found = boxes("不 abc", LEVEL)  # 6 columns
    assert found.origin(0) is BoxOrigin.INTERPOLATED
    assert found.share(0, 2, 5) == (0.5, 1.0)
    assert found.word(0, 2, 5) == (100, 0, 200, 0, 200, 40, 100, 40)
    assert found.word(0, 0, 1) == (0, 0, 66.67, 0, 66.67, 40, 0, 40)


def test_word_of_a_line_with_edges_is_cut_at_them_without_the_margin_of_the_detector():
    found = boxes("ab cd", LEVEL, EDGES)
    assert found.origin(0) is BoxOrigin.COLUMNS
    assert found.share(0, 3, 5) == (0.4, 0.8)
    # An eighth of the height less above and below; 0.07 of the height more before and after.
    assert found.word(0, 3, 5) == (77.2, 5, 162.8, 5, 162.8, 35, 77.2, 35)
    assert found.word(0, 0, 2) == (17.2, 5, 62.8, 5, 62.8, 35, 17.2, 35)


def test_word_does_not_leave_its_line():
    found = boxes("ab", LEVEL, (0.0, 0.5, 1.0))
    assert found.word(0, 0, 2) == (0, 5, 200, 5, 200, 35, 0, 35)


def test_offset_inside_a_character_is_between_its_edges():
    found = boxes("ab cd", LEVEL, EDGES)
    assert found.share(0, 3.5, 5) == (0.5, 0.8)
    assert boxes("½½", LEVEL).share(0, 0.5, 1) == (0.25, 0.5)


def test_word_of_a_vertical_line_with_edges():
    found = boxes("ab cd", COLUMN, EDGES)
    assert found.word(0, 3, 5) == (15, 77.2, 45, 77.2, 45, 162.8, 15, 162.8)


def test_word_of_a_slanted_line_with_edges_stays_between_its_sides():
    line = (0.0, 0.0, 300.0, 150.0, 300.0, 190.0, 0.0, 40.0)
    x1, y1, x2, y2, x3, y3, x4, y4 = boxes("ab cd", line, EDGES).word(0, 3, 5)
    for x, y in ((x1, y1), (x2, y2)):
        assert y == pytest.approx(x / 2 + 5, abs=0.01)  # an eighth below the top side
    for x, y in ((x3, y3), (x4, y4)):
        assert y == pytest.approx(x / 2 + 35, abs=0.01)
    assert 0.38 * 300 < x1 == x4 < 0.4 * 300
    assert 0.8 * 300 < x2 == x3 < 0.82 * 300


def test_every_word_of_a_line_that_is_the_whole_image_has_the_whole_image():
    found = boxes("ab cd", whole_image(400, 300))
    assert found.origin(0) is BoxOrigin.WHOLE_IMAGE
    assert found.share(0, 0, 2) is None
    assert found.word(0, 0, 2) == found.word(0, 3, 5) == (0, 0, 400, 0, 400, 300, 0, 300)


def test_edges_of_a_line_that_is_the_whole_image_are_used():
    found = boxes("ab cd", whole_image(400, 300), EDGES)
    assert found.origin(0) is BoxOrigin.COLUMNS
    assert found.share(0, 3, 5) == (0.4, 0.8)


def test_line_without_area_has_boxes_without_area():
    point = (7.0, 8.0) * 4
    assert boxes("ab cd", point).word(0, 0, 2) == boxes("ab cd", point, EDGES).word(0, 0, 2) == point


@pytest.mark.parametrize(
    ("text", "left"),
    [("שלום abc", True), ("123 مرحبا", True), ("abc שלום", False), ("12:30", False), ("", False), ("中文", False)],
)
def test_direction_of_a_text_is_that_of_its_first_letter(text: str, left: bool):
    assert runs_left(text) is left


def test_words_of_a_line_without_edges_that_runs_left_begin_at_the_right():
    found = boxes("שלום ab", LEVEL)
    assert found.share(0, 0, 4) == pytest.approx((3 / 7, 1.0))
    assert found.share(0, 5, 7) == pytest.approx((0.0, 2 / 7))
    with_edges = boxes("שלום", LEVEL, (0.0, 0.25, 0.5, 0.75, 1.0))  # an engine reads from left to right
    assert with_edges.share(0, 0, 1) == (0.0, 0.25)

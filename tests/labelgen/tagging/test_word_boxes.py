"""Boxes of words in level, slanted and vertical lines."""

import pytest

from ovocr.dataset.lines import runs_down
from ovocr.labelgen.tagging.word_boxes import word_box


def test_word_box_in_a_level_line():
    assert word_box((10, 20, 110, 20, 110, 40, 10, 40), 0.25, 0.5) == (35, 20, 60, 20, 60, 40, 35, 40)


def test_word_box_of_the_whole_line():
    line = (10, 20, 110, 22, 109, 42, 9, 40)
    assert word_box(line, 0.0, 1.0) == line


def test_word_box_in_a_slanted_line_follows_both_edges():
    # Top edge from (0, 0) to (100, 50), bottom edge from (0, 20) to (100, 70).
    assert word_box((0, 0, 100, 50, 100, 70, 0, 20), 0.5, 0.6) == (50, 25, 60, 30, 60, 50, 50, 45)


def test_word_box_in_a_vertical_line_is_cut_from_top_to_bottom():
    column = (10, 0, 30, 0, 30, 200, 10, 200)
    assert runs_down(column)
    assert word_box(column, 0.25, 0.5) == (10, 50, 30, 50, 30, 100, 10, 100)


@pytest.mark.parametrize(("height", "down"), [(29, False), (30, True)])
def test_line_runs_down_from_an_aspect_of_three_halves(height: int, down: bool):
    assert runs_down((0, 0, 20, 0, 20, height, 0, height)) is down


def test_corners_are_rounded_to_hundredths():
    assert word_box((0, 0, 100, 0, 100, 10, 0, 10), 1 / 3, 2 / 3) == (33.33, 0, 66.67, 0, 66.67, 10, 33.33, 10)

"""The costs of words, how runs are cut by them, and words broken at line ends."""

import hashlib

import pytest

from ovocr.vocab.segmentation.latin_runs import LatinRuns
from ovocr.vocab.segmentation.resplitting import LONGEST_RUN, LatinSplitter
from ovocr.vocab.segmentation.word_costs import SHA256, load_word_costs, make_word_costs


@pytest.fixture(scope="module")
def splitter() -> LatinSplitter:
    return LatinSplitter()


def test_the_costs_are_made_to_the_byte_and_follow_frequency() -> None:
    assert hashlib.sha256(make_word_costs().encode("utf-8")).hexdigest() == SHA256
    costs = load_word_costs()
    assert costs["the"] < costs["about"] < costs["jalan"] < costs["cardno"]
    assert "thankyou" not in costs


def test_an_unlisted_word_costs_by_its_letters(splitter: LatinSplitter) -> None:
    assert splitter.cost("qqqq") == 20 + 2 * 4
    assert splitter.cost("qqqqqqqqqq") == 20 + 2 * 8 + 3 * 2
    assert splitter.cost("linter's") == splitter.cost("linter") + 5


def test_a_line_with_spaces_asks_for_more(splitter: LatinSplitter) -> None:
    assert splitter.split("regno", spaced=True) == ("regno",)
    assert splitter.split("theshottype", spaced=True) == ("the", "shot", "type")
    assert splitter.split("regdate", spaced=False) == ("reg", "date")
    assert splitter.split("regdate", spaced=True) == ("regdate",)


def test_parts_join_to_the_run(splitter: LatinSplitter) -> None:
    for run in ("howareyou", "domino'spizza", "x'y'z", "a'b", "qzqzqzqzqzqzqzqz", "thethethethethe"):
        assert "".join(splitter.split(run, spaced=False)) == run


def test_a_run_beyond_reason_is_left_whole(splitter: LatinSplitter) -> None:
    run = "the" * (LONGEST_RUN // 3 + 1)
    assert splitter.split(run, spaced=False) == (run,)


@pytest.mark.parametrize(
    ("parts", "numbers"),
    [
        (["inter", "national"], [2]),
        (["inter", "na", "tional"], [3]),
        (["well", "known"], [1, 1]),
        (["state", "of"], [1, 1]),
        (["pre", "sent"], [2]),
        (["only"], [1]),
        ([], []),
    ],
)
def test_parts_of_broken_words(parts: list[str], numbers: list[int]) -> None:
    assert LatinRuns().joined(parts) == numbers

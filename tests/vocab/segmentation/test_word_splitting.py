"""Costs of words, splitting of runs by cost, and words broken at line ends."""

import hashlib

import pytest

from ovocr.vocab.segmentation.latin_words import LatinWords
from ovocr.vocab.segmentation.word_costs import SHA256, load_word_costs, make_word_costs
from ovocr.vocab.segmentation.word_splitting import LONGEST_RUN, LatinSplitter


@pytest.fixture(scope="module")
def splitter() -> LatinSplitter:
    return LatinSplitter()


def test_costs_have_the_expected_sha256_and_follow_frequency() -> None:
    assert hashlib.sha256(make_word_costs().encode("utf-8")).hexdigest() == SHA256
    costs = load_word_costs()
    assert costs["the"] < costs["about"] < costs["jalan"] < costs["cardno"]
    assert "thankyou" not in costs


def test_cost_of_an_unlisted_word_depends_on_its_length(splitter: LatinSplitter) -> None:
    assert splitter.cost("qqqq") == 20 + 2 * 4
    assert splitter.cost("qqqqqqqqqq") == 20 + 2 * 8 + 3 * 2
    assert splitter.cost("linter's") == splitter.cost("linter") + 5


def test_lines_with_spaces_need_a_larger_margin(splitter: LatinSplitter) -> None:
    assert splitter.split("regno", spaced=True) == ("regno",)
    assert splitter.split("theshottype", spaced=True) == ("the", "shot", "type")
    assert splitter.split("regdate", spaced=False) == ("reg", "date")
    assert splitter.split("regdate", spaced=True) == ("regdate",)


def test_joined_parts_are_the_run(splitter: LatinSplitter) -> None:
    for run in ("howareyou", "domino'spizza", "x'y'z", "a'b", "qzqzqzqzqzqzqzqz", "thethethethethe"):
        assert "".join(splitter.split(run, spaced=False)) == run


def test_runs_above_the_longest_are_not_split(splitter: LatinSplitter) -> None:
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
def test_group_parts_of_broken_words(parts: list[str], numbers: list[int]) -> None:
    assert LatinWords().group_parts(parts) == numbers

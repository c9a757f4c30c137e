"""Lines become places, tags and slots."""

from dataclasses import replace

import pytest

from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.labelgen.tagging.tag_slots import tag_slots
from ovocr.vocab import Vocabulary

WORDS = ["fox", "international", "river", "the"]
POLICY = TagPolicy(tags=8, seed=3)


def lines(*texts: str) -> list[Line]:
    """Returns lines one below the other; each character is 10 pixels wide."""
    return [
        Line(text, 0.9, (0.0, top, 10.0 * len(text), top, 10.0 * len(text), top + 8, 0.0, top + 8))
        for top, text in ((20.0 * number, text) for number, text in enumerate(texts))
    ]


def label(found: list[Line], policy: TagPolicy = POLICY, words: list[str] = WORDS) -> Outcome:
    return LineLabeller(Vocabulary(words), policy)("key", 1000, 500, found)


def scored(*texts: tuple[str, float]) -> list[Line]:
    """Returns lines with scores."""
    return [replace(line, score=score) for line, (_, score) in zip(lines(*(t for t, _ in texts)), texts, strict=True)]


def test_every_occurrence_of_a_word_is_a_place_in_reading_order():
    outcome = label(lines("the fox the dog", "a river", "fox fox"))
    assert [(place.id, place.line) for place in outcome.places] == [(3, 0), (0, 0), (3, 0), (2, 1), (0, 2), (0, 2)]
    assert [place.box[:3:2] for place in outcome.places if place.box] == [
        *((0, 30), (40, 70), (80, 110)),
        (20, 70),
        *((0, 30), (40, 70)),
    ]
    assert (outcome.words_found, outcome.words_in_vocabulary) == (8, 6)
    assert outcome.tags == [3, 0, 2]
    assert outcome.slots == [3, 0, 2, 3, 0, 2, 3, 0]


def test_word_across_two_lines_has_one_place_at_its_first_part():
    outcome = label(lines("the inter-", "national river"))
    assert [(place.id, place.line) for place in outcome.places] == [(3, 0), (1, 0), (2, 1)]
    assert outcome.places[1].box == (40, 0, 90, 0, 90, 8, 40, 8)
    assert outcome.words_in_vocabulary == 3


@pytest.mark.parametrize("repeats", [False, True])
def test_slots_do_not_depend_on_edges(repeats: bool):
    policy = replace(POLICY, tags=3, repeats=repeats)
    plain = lines("the fox the fox", "river the")
    edged = [
        replace(line, edges=tuple(number / len(line.text) for number in range(len(line.text) + 1))) for line in plain
    ]
    without, with_edges = label(plain, policy), label(edged, policy)
    assert without.slots == with_edges.slots
    assert [place.box for place in without.places] != [place.box for place in with_edges.places]
    ids = [3, 0, 3, 0, 2, 3] if repeats else [3, 0, 2]
    assert policy.competing(without.places) == ids
    assert without.slots == tag_slots(ids, 3, 3, "key")


@pytest.mark.parametrize(
    ("texts", "reason", "words"),
    [
        (["a dog"], Reason.NO_WORD_IN_VOCABULARY, 2),
        (["...", "12.50"], Reason.NO_WORD, 0),
        ([], Reason.NO_TEXT, 0),
    ],
)
def test_image_without_a_place_is_dropped(texts: list[str], reason: Reason, words: int):
    outcome = label(lines(*texts))
    assert (outcome.status, outcome.reason, outcome.words_found) == (Status.DROPPED, reason, words)
    assert (outcome.places, outcome.tags, outcome.slots) == ([], [], [])


def test_words_in_lines_of_a_low_score_are_left_out():
    found = scored(("the fox", 0.49), ("the river dog", 0.5))
    outcome = label(found, replace(POLICY, min_score=0.5))
    assert [(place.id, place.line) for place in outcome.places] == [(3, 1), (2, 1)]
    # The counts are those of the text. They do not depend on the policy.
    assert (outcome.words_found, outcome.words_in_vocabulary) == (5, 4)
    assert (outcome.tags, outcome.slots) == ([3, 2], [3, 2] * 4)
    assert (outcome.reason, outcome.detail) == (None, "")


@pytest.mark.parametrize(("first", "second"), [(0.4, 0.9), (0.9, 0.4)])
def test_hyphenated_word_is_left_out_if_one_of_its_lines_has_a_low_score(first: float, second: float):
    outcome = label(scored(("the inter-", first), ("national river", second)), replace(POLICY, min_score=0.5))
    assert outcome.tags == ([2] if first < 0.5 else [3])
    outcome = label(scored(("the inter-", first), ("national river", second)), replace(POLICY, min_score=0.4))
    assert outcome.tags == [3, 1, 2]


LETTERS = ["a", "я", "ok", "3d", "年", "물", "を", "है", "fox", "h&m", "α", "c++", "ש"]


def test_words_of_few_letters_are_left_out_in_alphabets_only():
    """Digits, marks and symbols are no letters. One character of Han, kana, Hangul or Devanagari is a word."""
    found = lines("a fox я ok 3d 年", "물 を है h&m α c++ ש")
    kept = [[LETTERS[id] for id in label(found, replace(POLICY, min_letters=n), LETTERS).tags] for n in (1, 2, 3)]
    assert sorted(kept[0]) == sorted(LETTERS)
    assert kept[1] == ["fox", "ok", "年", "물", "を", "है", "h&m"]
    assert kept[2] == ["fox", "年", "물", "を", "है"]


@pytest.mark.parametrize(
    ("texts", "reason", "detail"),
    [
        ([("the fox", 0.42), ("river", 0.3)], "below-min-score", "the: score 0.42 below --min-score 0.5"),
        ([("a ok", 0.9), ("the", 0.3)], "below-min-letters", "ok: 2 letters, below --min-letters 3"),
        # Only words of the vocabulary could be tags.
        ([("dog", 0.9), ("the", 0.3)], "below-min-score", "the: score 0.3 below --min-score 0.5"),
        ([("dog", 0.3)], "no-word-in-vocabulary", ""),
        ([("12.50", 0.3)], "no-word", ""),
    ],
)
def test_image_whose_words_are_all_left_out_has_the_reason_of_the_limit(
    texts: list[tuple[str, float]], reason: str, detail: str
):
    outcome = label(scored(*texts), replace(POLICY, min_score=0.5, min_letters=3), [*WORDS, "a", "ok"])
    assert (outcome.status, outcome.reason, outcome.detail) == (Status.DROPPED, reason, detail)
    assert (outcome.places, outcome.tags, outcome.slots) == ([], [], [])

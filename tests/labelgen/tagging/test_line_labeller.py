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


def label(found: list[Line], policy: TagPolicy = POLICY) -> Outcome:
    return LineLabeller(Vocabulary(WORDS), policy)("key", 1000, 500, found)


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
    ("texts", "reason", "words"), [(["a dog"], Reason.NO_WORD_IN_VOCABULARY, 2), (["..."], Reason.NO_TEXT, 0)]
)
def test_image_without_a_place_is_dropped(texts: list[str], reason: Reason, words: int):
    outcome = label(lines(*texts))
    assert (outcome.status, outcome.reason, outcome.words_found) == (Status.DROPPED, reason, words)
    assert (outcome.places, outcome.tags, outcome.slots) == ([], [], [])

"""GivenTextLabeller: boxes of given lines in the stored image, and the outcome of each kind of image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line, whole_image
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Status
from ovocr.dataset.reasons import QuarantinedError, Reason
from ovocr.labelgen.tables.line_batch import GivenLine
from ovocr.labelgen.workers.given_text_labeller import GivenTextLabeller, place_lines
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

WIDTH, HEIGHT = 100, 50


def box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    return tuple(map(float, (left, top, right, top, right, bottom, left, bottom)))


def given(text: str, at: tuple[float, ...] | None = None, score: float = 1.0, edges: Any = ()) -> GivenLine:
    return GivenLine(text, score, at, edges)


@pytest.fixture
def label(tmp_path: Path) -> GivenTextLabeller:
    vocabulary = Vocabulary(["quick", "brown", "fox", "river"])
    vocabulary.save(tmp_path / "vocab.txt")
    make_manifest([], vocabulary=vocabulary).write(tmp_path / "manifest.json")
    return GivenTextLabeller(LabelledDataSet(tmp_path), TagPolicy(tags=3, seed=0), max_pixels=10**6)


@pytest.fixture
def jpeg(encoded: Callable[..., bytes]) -> bytes:
    return encoded(Image.new("RGB", (WIDTH, HEIGHT), "white"), quality=90)


@pytest.mark.parametrize(
    ("at", "placed"),
    [
        (None, whole_image(WIDTH, HEIGHT)),
        (box(10, 20, 90, 30), box(10, 20, 90, 30)),
        (box(-30, -5, 60, 20.25), box(0, 0, 60, 20.25)),
        (box(60, 30, 140, 70), box(60, 30, 100, 50)),
        (box(0, 0, 200, 100), box(0, 0, 100, 50)),  # the center is a corner of the image
        ((-10, 10, 50, -10, 60, 20, 0, 40), (0.0, 10.0, 50.0, 0.0, 60.0, 20.0, 0.0, 40.0)),
    ],
)
def test_boxes_are_clipped_to_the_image(at: Any, placed: Any):
    assert place_lines([given("fox", at, 0.5)], WIDTH, HEIGHT) == [Line("fox", 0.5, placed)]


def test_edges_of_a_clipped_box_are_dropped():
    edges = (0.0, 0.5, 1.0)
    inside, outside = box(10, 20, 90, 30), box(-10, 20, 90, 30)
    lines = place_lines([given("ab", inside, edges=edges), given("ab", outside, edges=edges)], WIDTH, HEIGHT)
    assert [line.edges for line in lines] == [edges, ()]


@pytest.mark.parametrize("at", [box(80, 10, 121, 20), box(-41, 10, 40, 20), box(10, 45, 20, 56), box(0, -9, 9, 8)])
def test_a_box_whose_center_is_outside_is_an_error_with_line_box_and_size(at: Any):
    with pytest.raises(QuarantinedError) as error:
        place_lines([given("the river"), given("fox " * 20, at)], WIDTH, HEIGHT)
    assert error.value.reason is Reason.WRONG_BOXES
    assert error.value.detail == (
        f"line 1 ('{'fox ' * 10}…'): the center of its box {list(at)} is outside the image of 100x50 pixels; "
        "its boxes may be for another size of the image"
    )


@pytest.mark.parametrize(
    "at",
    [
        (10, 20, 90, 20, 10, 30, 90, 30),  # TL, TR, BL, BR
        (10, 20, 90, 30, 90, 20, 10, 30),  # TL, BR, TR, BL
        (10, 20, 10, 30, 90, 20, 90, 30),
        (10, 20, 90, 24, 12, 30, 90, 33),
    ],
)
def test_a_box_whose_corners_cross_is_an_error(at: Any):
    with pytest.raises(QuarantinedError) as error:
        place_lines([given("fox", at)], WIDTH, HEIGHT)
    assert error.value.reason is Reason.WRONG_BOXES
    assert error.value.detail == (
        f"line 0 ('fox'): the corners of its box {list(at)} cross; list them clockwise from the top left"
    )


def test_a_triangle_and_a_turned_box_do_not_cross():
    boxes = [(10, 20, 90, 20, 90, 20, 10, 30), (50, 10, 60, 20, 50, 30, 40, 20), (90, 30, 10, 30, 10, 20, 90, 20)]
    assert [line.box for line in place_lines([given("fox", at) for at in boxes], WIDTH, HEIGHT)] == boxes


@pytest.mark.parametrize("at", [(5,) * 8, box(10, 20, 10, 30), box(10, 20, 90, 20)])
def test_a_box_without_area_is_an_error(at: Any):
    with pytest.raises(QuarantinedError, match=r"wrong-boxes: line 0 \('fox'\): its box .* has no area in the image"):
        place_lines([given("fox", at)], WIDTH, HEIGHT)


def test_outcomes_of_every_kind_do_not_depend_on_the_batch(label: GivenTextLabeller, jpeg: bytes):
    images = [
        ("a.jpg", [given("quick fox"), given("fox river")], jpeg),
        ("b.jpg", [], jpeg),
        ("c.jpg", [given("violin")], jpeg),
        ("d.jpg", None, jpeg),
        ("e.jpg", [given("fox", box(150, 10, 190, 20))], jpeg),
        ("f.jpg", [given("fox")], b"no image"),
        ("g.jpg", None, b""),
        ("h.jpg", [given("brown")], jpeg),
    ]
    outcomes = label(images)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [
        (Status.OK, None),
        (Status.DROPPED, Reason.NO_TEXT),
        (Status.DROPPED, Reason.NO_WORD_IN_VOCABULARY),
        (Status.DROPPED, Reason.NO_LINES_GIVEN),
        (Status.QUARANTINED, Reason.WRONG_BOXES),
        (Status.QUARANTINED, Reason.NOT_AN_IMAGE),
        (Status.QUARANTINED, Reason.EMPTY),
        (Status.OK, None),
    ]
    assert outcomes == [outcome for image in images for outcome in label([image])]
    first = outcomes[0]
    assert (first.jpeg, first.width, first.height) == (jpeg, WIDTH, HEIGHT)
    assert [(place.id, place.line, place.box) for place in first.places] == [
        *((id, line, whole_image(WIDTH, HEIGHT)) for id, line in ((0, 0), (2, 0), (2, 1), (3, 1)))
    ]
    assert first.slots == [0, 2, 3]
    assert [(outcome.width, outcome.height, len(outcome.lines)) for outcome in outcomes[1:4:2]] == [
        (WIDTH, HEIGHT, 0)
    ] * 2


def test_words_have_their_part_of_a_given_box(label: GivenTextLabeller, jpeg: bytes):
    (outcome,) = label([("a.jpg", [given("fox river", box(0, 0, 90, 10))], jpeg)])
    assert [place.box for place in outcome.places] == [box(0, 0, 30, 10), box(40, 0, 90, 10)]

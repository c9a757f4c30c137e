"""The page of the words read in images, with hostile words and names."""

import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from ovocr.trainer.data.thumbnails import small_jpeg
from ovocr.trainer.evaluation.reading.image_words import FoundWord, Reading
from ovocr.trainer.evaluation.reading.page import reading_page, tile_labels
from ovocr.trainer.evaluation.reading.tiles import Tiling
from tests.conftest import Browser
from tests.html_page import Page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><style>@import url(http://evil.example)</style>",
    "</foreignObject></svg><b>",
    "&lt;b&gt;&amp;",
    "<!--",
    "\u202egnp.exe",
    "\x00\x1b[31m",
    "\udcff",
]
ALLOWED = set(
    re.findall(
        r"\w+",
        "html head meta title style body header h1 h2 h3 p bdi main article div img svg g rect foreignobject span ol "
        "li footer dl dt dd",
    )
)
JPEG = small_jpeg(np.full((300, 400, 3), 200, np.uint8))
TILING = Tiling(400, 300, 200)


def reading(words: list[str], name: str = "scan.png") -> Reading:
    """Returns a reading in tiles: the n-th word is in the n-th tile, up to the last one. Scores fall from 0.5."""
    tiles = TILING.tiles()
    found = [FoundWord(word, 0.5 - n / 100, tiles[min(n, len(tiles) - 1)]) for n, word in enumerate(words)]
    return Reading(Path(name), found, TILING, JPEG)


def page_of(*readings: Reading, tile: int | None = 200, correct_sampling: bool = False) -> str:
    return reading_page(Path("runs/a"), readings, tile=tile, correct_sampling=correct_sampling)


def test_words_are_at_the_centers_of_their_tiles() -> None:
    found = reading(["hotel", *"bcdefg", "taxi"])
    labels = tile_labels(found)
    assert [[word.word for word in label.words] for label in labels] == [
        ["f", "g", "taxi"],
        *(["e"], ["d"], ["c"], ["b"], ["hotel"]),
    ]
    page = Page(page_of(found))
    positions = [(each["x"], each["y"]) for tag, each in page.elements if tag == "svg" and "x" in each]
    assert positions[-2:] == [("50.000%", "33.333%"), ("25.000%", "33.333%")]
    rectangles = [each for tag, each in page.elements if tag == "rect" and str(each.get("x")).endswith("%")]
    assert rectangles[0] == {"x": "50.000%", "y": "33.333%", "width": "50.000%", "height": "66.667%"}
    stacks = [each for tag, each in page.elements if tag == "foreignobject"]
    assert [each["height"] for each in stacks] == ["48", *["16"] * 5]
    assert [each["y"] for each in stacks] == ["-24", *["-8"] * 5]
    bars = [
        float(str(each["width"])) for tag, each in page.elements if tag == "rect" and each.get("class") == "of-word"
    ]
    assert bars[0] == 100
    assert all(before > after > 80 for before, after in pairwise(bars))


def test_page_without_tiles_has_the_image_and_the_list() -> None:
    found = Reading(Path("a.jpg"), [FoundWord("hotel", -0.25), FoundWord("taxi", -0.5)], None, JPEG)
    page = Page(page_of(found, tile=None, correct_sampling=True))
    text = " ".join(page.text.split())
    assert "1 image, as runs/a reads it, each shown whole" in text
    assert "hotel -0.250" in text.replace("hotel-", "hotel -")
    assert "corrected for the sampling of negatives" in text
    assert "Tiles" not in text
    assert {tag for tag, _ in page.elements} & {"img", "foreignobject"} == {"img"}
    assert {each["width"] for _, each in page.elements if each.get("class") == "of-word"} == {"0.00"}


def test_hostile_words_and_names_are_escaped() -> None:
    source = page_of(*(reading(HOSTILE, name) for name in HOSTILE))
    source.encode("utf-8")  # invalid bytes of a file name are escaped
    page = Page(source)
    assert page.open == []
    assert {tag for tag, _ in page.elements} <= ALLOWED
    assert not page.scripts
    assert page.comments == 0
    for name in HOSTILE[:6]:
        # The label and the entry of each image, and a heading. A path has single slashes.
        assert page.text.count(name) == 2 * len(HOSTILE) + (str(Path(name)) == name)
    for character in "\u202e\x00\x1b\udcff":
        assert character not in source
    attributes = [(tag, name) for tag, each in page.elements for name in each]
    assert not [name for _, name in attributes if name.startswith("on") or name == "style"]
    assert {each["src"].partition(",")[0] for tag, each in page.elements if tag == "img"} == {"data:image/jpeg;base64"}
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', source)
    assert policy.startswith("default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-")
    assert "script" not in policy


def test_page_without_images() -> None:
    assert "No image could be read." in Page(page_of()).text


def test_labels_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """Labels are centered in their tiles on wide and narrow screens, in both colour schemes, and nothing is wider."""
    path = tmp_path / "page.html"
    path.write_text(page_of(reading(["hotel", *"bcdefg", "taxi"]), reading(["w" * 80])), encoding="utf-8")
    try:
        for width, dark in ((1200, False), (380, True)):
            browser.screen(width, 800, dark=dark)
            browser.open(path.as_uri())
            centers = browser.value(
                "(() => { const middle = box => [box.x + box.width / 2, box.y + box.height / 2];"
                "return [...document.querySelectorAll('.labels g')].map(g => [g.querySelector('.at-center'), "
                "g.querySelector('rect')].map(each => middle(each.getBoundingClientRect()))) })()"
            )
            assert len(centers) == 7
            assert np.abs(np.diff(np.array(centers), axis=1)).max() < 1
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.console_messages() == []
            assert browser.requests() == [path.as_uri()]
    finally:
        browser.reset_screen()


def test_image_of_the_page_is_small() -> None:
    decoded = cv2.imdecode(np.frombuffer(small_jpeg(np.zeros((2000, 1000, 3), np.uint8), 900), np.uint8), 1)
    assert decoded.shape == (900, 450, 3)

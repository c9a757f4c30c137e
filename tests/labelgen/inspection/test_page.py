"""The page of an inspection: its contents, and escaping of untrusted text."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.inspection.inspecting import inspect_labels
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.page import inspection_page
from ovocr.labelgen.shards.totals import Totals
from tests.html_page import Page

CELLS = {"th", "td", "li", "small", "span", "h3", "button"}
ALLOWED = set(
    re.findall(
        r"\w+",
        "html head meta title style body header main footer script h1 h2 h3 h4 p div span bdi b em strong small ul ol "
        "li article img svg g rect polygon table thead tbody tr th td dl dt dd button label input select option "
        "fieldset legend noscript kbd code",
    )
)


class PageOfCells(Page):
    """A page whose text has a space before each element in CELLS, as on a screen."""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attributes)
        self.text += " " if tag in CELLS and ("class", "w") not in attributes else ""


def page_of(root: Path, **options: object) -> str:
    return inspection_page(inspect_labels(InspectOptions(source=root, **options), progress=False))


def words_of(page: str) -> str:
    return " ".join(PageOfCells(page).text.split())


def test_page_shows_the_data_set_and_each_image(built: tuple[LabelledDataSet, Totals]) -> None:
    page = page_of(built[0].root)
    text = words_of(page)
    assert "8 images in 2 shards; " in text
    assert "status reason images share ok 4 50.0%" in text
    for row in ("no-text 1 12.5%", "no-word-in-vocabulary 1 12.5%", "truncated 1 12.5%", "empty 1 12.5%"):
        assert row in text
    assert "All 8 images." in text
    assert "1 a/fox.jpg full size ok" in text
    assert "Tags 4 in 5 slots the 0 ×2 2 places quick 1 brown 2 fox 3 2 places" in text
    assert "image 3 420 × 90 pixels 2 words read, 0 in the vocabulary no-word-in-vocabulary" in text
    assert '<em class="w out" data-left-out="0" data-of="0">violin</em>' in page
    assert "The image could not be read." in text
    assert "No lines were recognised." in text
    assert page_of(built[0].root) == page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"limit": 4}, "4 of 24 images, spread evenly over 3 shards, drawn with seed 0."),
        ({"limit": 4, "shard": 1, "seed": 7}, "4 of 8 images in shard 1, drawn with seed 7."),
        ({"word": "River", "status": "ok"}, "All 24 images with status ok, the tag River."),
        ({"keys": ("1-2.jpg",)}, "The only image with the key 1-2.jpg."),
        (
            {"keys": ("1-2.jpg", "0-1.jpg"), "limit": 1},
            "1 of 2 images with the key 1-2.jpg or 0-1.jpg, spread evenly over 2",
        ),
    ],
)
def test_page_states_how_images_were_selected(
    options: dict[str, object], sentence: str, make_data_set: Callable[..., Path]
) -> None:
    assert sentence in words_of(page_of(make_data_set([8, 8, 8]), **options))


def test_tag_has_a_box_at_each_of_its_places(make_lines: Callable[..., Path]) -> None:
    page = page_of(make_lines(["river stone", "a river", "by the river stone"]))
    boxes = re.findall(r'<polygon points="[^"]+" data-tag="([0-9]+)" data-of="([0-9]+)"/>', page)
    assert boxes == [("0", "0"), ("0", "1"), ("0", "2"), ("1", "0"), ("1", "2")]
    points = re.findall(r'<polygon points="([^"]+)" data-tag="0"', page)
    assert len(set(points)) == 3
    assert re.findall(r'<button [^>]*class="tag"[^>]*\sdata-tag="([0-9]+)" data-of="([0-9 ]+)"', page) == [
        ("0", "0 1 2"),
        ("1", "0 2"),
    ]
    assert re.findall(r'<span class="w" data-tag="([0-9]+)">', page) == ["0", "1", "0", "0", "1"]
    assert "river 5 ×2 3 places stone 6 ×2 2 places" in words_of(page)


def test_page_of_a_packed_data_set_has_class_ids_but_no_boxes(make_data_set: Callable[..., Path]) -> None:
    page = page_of(make_data_set([2], packed=True))
    text = words_of(page)
    assert "class ids from a table" in text
    assert "2.0 distinct classes per ok image." in text
    assert "Classes 2 in 4 slots 7 ×2 2 ×2" in text
    assert "<polygon" not in page
    assert 'id="score"' not in page


def test_hostile_text_stays_text(hostile: Path) -> None:
    text = page_of(hostile)
    page = PageOfCells(text)
    assert page.open == []
    assert page.comments == 0
    assert {tag for tag, _ in page.elements} <= ALLOWED
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"style", "href", "srcset", "action", "background", "xlink:href"} & set(attributes)
        assert tag == "img" or "src" not in attributes
        assert tag not in ("script", "style") or attributes == {}
    sources = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(sources) == 13
    assert all(source is not None and source.startswith("data:image/jpeg;base64,/9j/") for source in sources)
    assert not set(text) & {"\u202e", "\u2028", "\u2029", "\x1b", "\x00", "\x07"}
    assert page.text.count("<script>document.title='taken'</script>") > 12  # of keys, lines and details
    for shown in (r"\u202egnp.exe", r"\x1b[31m\x00\x07", r"&lt;b&gt;&amp;\u2028\u2029"):
        assert page.text.count(shown) > 12


def test_policy_allows_only_the_page_s_own_style_script_and_images(hostile: Path) -> None:
    page = PageOfCells(page_of(hostile))
    (source,) = page.scripts
    style, script = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (page.style, source))
    policy = page.elements[3][1]["content"]
    assert policy is not None
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{style}'",
        f"script-src 'sha256-{script}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not re.search(r"url\(|@import|https?:", page.style)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval|https?:|fetch|import", source)

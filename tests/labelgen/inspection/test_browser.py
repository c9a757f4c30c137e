"""The page of an inspection in a real browser: positions of boxes, filters, keys, and untrusted text."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.inspection.inspecting import inspect_labels
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.page import inspection_page
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.totals import Totals

DOWN, RIGHT, ESCAPE, SLASH, TAB, J, K, B = 40, 39, 27, 191, 9, 74, 75, 66


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Returns show(root), which opens the page of a data set.

    At the end, the console must be empty and the page must not have sent a request.
    """
    path = tmp_path / "page.html"
    browser.screen(1360, 900)

    def open_page(root: Path, **options: object) -> Any:
        inspection = inspect_labels(InspectOptions(source=root, **options), progress=False)
        path.write_text(inspection_page(inspection), encoding="utf-8")
        browser.open(path.as_uri())
        return browser

    yield open_page
    assert browser.console_messages() == []
    assert browser.requests() == [path.as_uri()]
    browser.reset_screen()


def keys(browser: Any) -> list[str]:
    """Returns the keys of the visible images."""
    return browser.value(
        "[...document.querySelectorAll('article')].filter((a) => !a.hidden)"
        ".map((a) => a.querySelector('h3').textContent)"
    )


def fill(browser: Any, id: str, value: str) -> None:
    browser.value(f"document.getElementById('{id}').value = '{value}'")
    browser.value(f"document.getElementById('{id}').dispatchEvent(new Event('input'))")


def middle(browser: Any, selector: str) -> tuple[float, float]:
    """Scrolls to an element and returns its middle."""
    browser.value(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    found = browser.value(
        f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
        f"(document.querySelector('{selector}').getBoundingClientRect())"
    )
    return found[0], found[1]


def laid_out(browser: Any, selector: str) -> tuple[float, float, float, float]:
    """Scrolls to an element and returns its position and size, once the browser has laid it out."""
    deadline = time.monotonic() + 10
    while True:
        browser.value(f"document.querySelector('{selector}').scrollIntoView({{block: 'nearest'}})")
        x, y, width, height = browser.value(
            "(({x, y, width, height}) => [x, y, width, height])"
            f"(document.querySelector('{selector}').getBoundingClientRect())"
        )
        if height or time.monotonic() > deadline:
            return x, y, width, height
        time.sleep(0.05)


def lit(browser: Any) -> list[str]:
    """Returns the tag name and numbers of each highlighted element."""
    return browser.value(
        "[...document.querySelectorAll('.lit')].map((e) => [e.tagName.toLowerCase(), e.dataset.tag ?? '', "
        "e.dataset.line ?? ''].join(' '))"
    )


@pytest.mark.parametrize("width", [1360, 390])
def test_boxes_sit_on_their_words(
    width: int, tmp_path: Path, vocabulary: Path, show: Callable[..., Any], browser: Any
) -> None:
    """The image is larger than on the page. The real engine reads its words, whose positions are known."""
    font = ImageFont.load_default(110)
    positions = {"river": (300, 250), "stone": (900, 900), "window": (1500, 1500)}
    image = Image.new("RGB", (2400, 1800), "white")
    draw = ImageDraw.Draw(image)
    for word, position in positions.items():
        draw.text(position, word, fill="black", font=font)
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images" / "words.jpg", quality=95)
    out = tmp_path / "out"
    options = BuildOptions(sources=(str(tmp_path / "images"),), out=out, vocab=str(vocabulary), workers=1)
    build_labels(options, progress=False)
    browser.screen(width, 900)
    show(out)
    x, y, shown_width, shown_height = laid_out(browser, "img")
    assert browser.value("document.querySelector('img').naturalWidth") == 1200
    assert shown_width / shown_height == pytest.approx(4 / 3, rel=0.01)
    scale = shown_width / image.width
    for word, position in positions.items():
        left, top, right, bottom = browser.value(
            "((box) => [box.left, box.top, box.right, box.bottom])(document.querySelector('.tag-boxes [data-tag=\"' + "
            f"[...document.querySelectorAll('.tag b')].findIndex((b) => b.textContent === '{word}')"
            " + '\"]').getBoundingClientRect())"
        )
        drawn = [a + scale * b for a, b in zip((x, y, x, y), draw.textbbox(position, word, font=font), strict=True)]
        slack = 45 * scale + 3  # the detector's margin around letters, and the stroke
        for found, true in zip((left, top, right, bottom), drawn, strict=True):
            assert found == pytest.approx(true, abs=slack), word


def test_boxes_and_list_items_of_a_word_are_highlighted_together(
    built: tuple[LabelledDataSet, Totals], show: Callable[..., Any]
) -> None:
    browser = show(built[0].root, keys=("b/many.PNG",))  # river stone garden / window lazy dog
    browser.point(*middle(browser, ".tags li:nth-child(2) button"))
    assert lit(browser) == ["polygon  0", "polygon 1 ", "button 1 ", "li  0", "span 1 "]
    browser.point(*middle(browser, '.tag-boxes [data-tag="3"]'))
    assert lit(browser) == ["polygon  1", "polygon 3 ", "button 3 ", "li  1", "span 3 "]
    browser.point(*middle(browser, ".lines li:nth-child(1) .score"))
    assert lit(browser) == ["polygon  0", "li  0"]
    assert browser.value("[...document.querySelectorAll('.near b')].map((b) => b.textContent).join()") == (
        "river,stone,garden"
    )
    browser.point(1, 1)
    assert lit(browser) == []


def test_every_box_and_word_of_a_tag_is_highlighted(make_lines: Callable[..., Path], show: Callable[..., Any]) -> None:
    browser = show(make_lines(["river stone", "a river", "by the title", "river stone river"]))
    boxes = ["polygon 0 "] * 4  # of the tag
    listed = ["button 0 ", "li  0", "span 0 ", "li  1", "span 0 ", "li  3", "span 0 ", "span 0 "]
    all_of_river = ["polygon  0", "polygon  1", "polygon  3", *boxes, *listed]
    browser.point(*middle(browser, ".tags li:nth-child(1) button"))
    assert lit(browser) == all_of_river
    browser.point(1, 1)
    browser.value("document.querySelector('.tags button').focus()")
    assert lit(browser) == all_of_river
    # A box or a word is in one line, so only this line is highlighted.
    in_one_line = [*boxes, "button 0 ", "span 0 ", "li  1", "span 0 ", "span 0 ", "span 0 "]
    browser.point(*middle(browser, '.tag-boxes [data-tag="0"][data-of="1"]'))
    assert lit(browser) == ["polygon  1", *in_one_line]
    browser.point(*middle(browser, '.lines li:nth-child(2) .w[data-tag="0"]'))
    assert lit(browser) == ["polygon  1", *in_one_line]
    browser.point(*middle(browser, ".lines li:nth-child(2) .score"))
    assert browser.value("[...document.querySelectorAll('.near b')].map((b) => b.textContent).join()") == "river"
    fill(browser, "query", "stone")
    assert browser.value("document.querySelectorAll('polygon[data-tag].hit').length") == 2


def test_filters_and_search(built: tuple[LabelledDataSet, Totals], show: Callable[..., Any]) -> None:
    browser = show(built[0].root)
    assert len(keys(browser)) == 8
    fill(browser, "status", "dropped")
    assert keys(browser) == ["a/blank.png", "b/unknown.png"]
    assert browser.value("document.getElementById('count').textContent") == "2 of 8 images"
    fill(browser, "reason", "no-text")
    assert keys(browser) == ["a/blank.png"]
    fill(browser, "status", "")
    fill(browser, "reason", "")
    for typed, found in (
        ("VIOLIN", ["b/unknown.png"]),  # a word that the vocabulary lacks
        ("garden", ["b/many.PNG"]),
        ("b/cut", ["b/cut.jpg"]),
        ("stone garden", ["b/many.PNG"]),
        ("zebra", []),
    ):
        fill(browser, "query", typed)
        assert keys(browser) == found, typed
    assert browser.value("document.getElementById('nothing').hidden") is False
    fill(browser, "query", "garden")
    assert browser.value("[...document.querySelectorAll('.hit')].map((e) => e.tagName).join()") == (
        "polygon,polygon,BUTTON,LI"
    )
    browser.value("document.getElementById('reset').click()")
    assert len(keys(browser)) == 8
    assert browser.value("document.querySelectorAll('.hit').length") == 0


def test_filter_by_line_score(hostile: Path, show: Callable[..., Any]) -> None:
    browser = show(hostile)
    fill(browser, "score", "0.75")
    assert keys(browser) == []
    fill(browser, "score", "0.9")
    assert keys(browser) == ["two scripts.jpg"]
    assert browser.value("document.querySelectorAll('.lines li.low').length") == 2
    fill(browser, "score", "0.91")
    assert len(keys(browser)) == 14


def test_filter_by_script(hostile: Path, show: Callable[..., Any]) -> None:
    browser = show(hostile)
    fill(browser, "script", "Han")
    assert keys(browser) == ["two scripts.jpg"]
    fill(browser, "script", "Latin")
    assert len(keys(browser)) == 14


def test_keyboard_navigation(built: tuple[LabelledDataSet, Totals], show: Callable[..., Any]) -> None:
    browser = show(built[0].root)
    focused = "document.activeElement.id"
    for key, code, number in (("j", J, 1), ("j", J, 2), ("ArrowRight", RIGHT, 3), ("k", K, 2)):
        browser.press(key, code)
        assert browser.value(focused) == f"image-{number}"
    top = browser.value("document.activeElement.getBoundingClientRect().top")
    assert browser.value("document.querySelector('.toolbar').getBoundingClientRect().bottom") <= top
    browser.press("/", SLASH)
    assert browser.value(focused) == "query"
    browser.type("jk/")  # a text field receives letters
    assert browser.value("document.getElementById('query').value") == "jk/"
    browser.press("Escape", ESCAPE)
    assert len(keys(browser)) == 8
    browser.press("Escape", ESCAPE)
    assert browser.value("document.activeElement === document.body")
    checked = "[...document.querySelectorAll('.boxes input')].map((box) => box.checked).join()"
    states = []
    for _ in range(2):
        browser.press("b", B)
        states.append((browser.value(checked), browser.value("document.documentElement.className")))
    assert states == [("false,false,false", ""), ("true,false,false", "show-tags")]


def test_arrow_keys_move_inside_a_list(built: tuple[LabelledDataSet, Totals], show: Callable[..., Any]) -> None:
    browser = show(built[0].root, keys=("b/many.PNG",))
    browser.press("j", J)
    browser.press("Tab", TAB)
    words = []
    for _ in range(3):
        words.append(browser.value("document.activeElement.querySelector('b')?.textContent"))
        browser.press("ArrowDown", DOWN)
    assert words == ["river", "stone", "garden"]
    assert "polygon 3 " in lit(browser)
    browser.press("Tab", TAB)
    assert browser.value("document.activeElement.dataset.line") == "0"


def test_hostile_text_runs_nothing(hostile: Path, show: Callable[..., Any]) -> None:
    browser = show(hostile)
    assert browser.value("document.title") == r"Labelled images: <img src=x onerror=document.title=1>"
    assert browser.value("document.querySelectorAll('article').length") == 27
    assert browser.value("document.querySelectorAll('script, iframe, object, embed, link').length") == 1  # its own
    assert browser.value("[...document.images].every((i) => i.src.startsWith('data:image/jpeg'))")
    assert keys(browser)[:2] == [
        "<script>document.title='taken'</script>",
        "</script><script>document.title='taken'</script>",
    ]
    for selector in (".lines li", ".tags button", ".frame polygon", "h3"):
        browser.point(*middle(browser, selector))
    fill(browser, "query", "<script>")
    assert len(keys(browser)) == 12 + 3  # by their lines, by their keys


@pytest.mark.parametrize("width", [320, 390, 760, 1024])
def test_page_is_not_wider_than_the_screen(
    width: int, hostile: Path, built: tuple[LabelledDataSet, Totals], show: Callable[..., Any], browser: Any
) -> None:
    browser.screen(width, 800, dark=True)
    for root in (hostile, built[0].root):
        show(root)
        assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

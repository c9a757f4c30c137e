"""The page of an evaluation, with hostile words and names."""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ovocr.trainer.data.images import letterbox
from ovocr.trainer.data.samples import Sample
from ovocr.trainer.data.thumbnails import spread_evenly, to_jpeg
from ovocr.trainer.evaluation.evaluate import Evaluation, HeadEvaluation
from ovocr.trainer.evaluation.examples import Answer, Example, TrueTag
from ovocr.trainer.evaluation.head_reading import DataSetReading, HeadReading, WordReading
from ovocr.trainer.evaluation.head_recall import HeadRecall
from ovocr.trainer.evaluation.page import evaluation_page, text_height_plot
from ovocr.trainer.evaluation.recall import GroupRecall
from ovocr.trainer.evaluation.training_prior import TrainedOn
from ovocr.trainer.prior.image_sketch import Overlap
from tests.conftest import Browser
from tests.html_page import Page
from tests.trainer.evaluation.figures import NO_FIGURES, figures, word_measures

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>@import url(http://evil.example)</style>",
    "javascript:alert(1)",
    "&lt;b&gt;&amp;",
    "<!--",
    "\u202egnp.exe",
    "\x00\x1b[31m",
    "\udcff",
]
ALLOWED = set(
    re.findall(
        r"\w+",
        "html head meta title style body header h1 h2 h3 h4 p bdi main section div strong svg rect table thead tbody "
        "tr th td article img ol ul li span small footer dl dt dd line polyline path circle g text",
    )
)


def group(images: int = 3) -> GroupRecall:
    return GroupRecall(images, 30, {1: 0.5, 10: 0.75, 100: 1.0}, {1: 0.0, 10: 0.125, 100: 0.25})


READING = DataSetReading(word_measures(images=3), None)


def recall(**changes: Any) -> HeadRecall:
    values = {
        "images": 3,
        "classes": 365187,
        "training_images": 1000,
        "embedding_dim": 192,
        "effective_rank": 12.5,
        "every": group(),
        "scripts": {"Latin": group(2)},
        "bands": {"1,000+": group(1)},
    }
    return HeadRecall(**{**values, **changes})


def page_of(heads: dict[str, HeadEvaluation], groups: Path | None = None) -> str:
    return evaluation_page(
        Evaluation(
            run=Path(HOSTILE[1]),
            data=(Path(HOSTILE[0]),),
            step=400,
            checkpoint="0",
            top_k=(1, 10, 100),
            crops=0,
            groups=groups,
            min_text_height=8.0,
            replicates=1000,
            seed=0,
            heads=heads,
        )
    )


def evaluation_with_examples(reading: HeadReading | None = None, groups: Path | None = None) -> str:
    jpeg = to_jpeg(Sample(np.zeros((3, 8, 8), np.uint8), np.zeros(1, np.int64)))
    example = Example(
        name=f"a.rec id 0 ({HOSTILE[1]} of {HOSTILE[0]})",
        jpeg=jpeg,
        tags=tuple(TrueTag(word, rank) for word, rank in zip(HOSTILE, [1, 10, 11, *[None] * 7], strict=True)),
        answers=tuple(Answer(word, 0.5, n % 2 == 0) for n, word in enumerate(HOSTILE)),
    )
    head = HeadEvaluation(128, recall(examples=(example,) * 2), reading or HeadReading(READING, {}), TrainedOn(()))
    return page_of({"ocr": head}, groups)


def hostile_data_sets() -> str:
    """Returns the page of data sets with hostile names, and a hostile name of the table of groups."""
    named = {name: DataSetReading(word_measures(images=n + 1), n) for n, name in enumerate(HOSTILE)}
    return evaluation_with_examples(HeadReading(DataSetReading(word_measures(images=55), 9), named), Path(HOSTILE[3]))


def test_hostile_words_stay_text() -> None:
    text = hostile_data_sets()
    text.encode("utf-8")  # invalid bytes of a file name are escaped
    page = Page(text)
    assert page.open == []
    assert page.comments == 0
    assert {tag for tag, _ in page.elements} == ALLOWED
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in ("style", "href", "srcset", "action", "background")
            if name == "src":
                assert tag == "img"
                assert re.fullmatch(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", value or "")
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text.replace("http://evil.example", ""))
    # An answer and a tag on two cards; in the table of data sets, the legend, two dots of the plot, and three tables.
    for word in HOSTILE[:7]:
        assert page.text.count(word) >= 4 + 7
    for shown in (r"\u202egnp.exe", r"\x00\x1b[31m", r"\udcff"):
        assert page.text.count(shown) == 4 + 7
    assert not set(page.text) & {"\u202e", "\x00", "\x1b"}


def test_policy_allows_only_the_style() -> None:
    page = Page(evaluation_with_examples())
    (policy,) = (
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy is not None
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not re.search(r"url\(|@import|https?:", page.style)
    assert "prefers-color-scheme: dark" in page.style
    names = [attributes.get("http-equiv") or attributes.get("charset") for tag, attributes in page.elements[:5]]
    assert names.index("Content-Security-Policy") < [tag for tag, _ in page.elements].index("style")


def test_page_shows_the_figures() -> None:
    page = Page(evaluation_with_examples())
    assert "after 400 steps" in page.text
    assert "all 365,187 class centers: recall@10, mean over 3 images" in " ".join(page.text.split())
    labels = [attributes["aria-label"] for tag, attributes in page.elements if "aria-label" in attributes]
    assert labels.count("encoder 0.750, prior 0.125") == 4  # headline, k = 10, script, band
    assert labels.count("encoder 0.500, prior 0.000") == 1
    widths = [attributes["width"] for tag, attributes in page.elements if tag == "rect"]
    assert widths[:3] == ["100", "75.00", "12.50"]
    assert labels.count("Word AUC by text height") == 1
    states = [attributes["class"] for tag, attributes in page.elements if tag == "li"]
    assert states[:20] == [*["right", "wrong"] * 5, "found", "found", "late", *["missed"] * 7]
    assert "Tags: 2 of 10 among the first 10 answers" in page.text


def rows_of(page: str) -> list[str]:
    """Returns the text of each table row."""
    page = page.replace("</td>", "</td> ").replace("</th>", "</th> ")
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    return [" ".join(Page(f"<tr>{row}</tr>").text.split()) for row in rows]


def test_page_shows_the_measures_of_reading() -> None:
    html = evaluation_with_examples()
    text = " ".join(Page(html).text.split())
    assert "0.812 0.790 to 0.833 word AUC: how often" in text
    assert "Mean over 31 classes, on 3 images." in text
    assert "0.231 0.210 to 0.255 word mAP" in text
    assert "a constant answer has 0.043" in text
    assert (
        "95% intervals by a bootstrap over 3 images. Words count in text of at least 8 pixels, or of unknown height."
        in text
    )
    rows = rows_of(html)
    assert "6–8 px 5 0.600 0.500 to 0.700 0.231 0.210 to 0.255 0.043" in rows
    assert "unknown 7 0.900 – 0.231 0.210 to 0.255 0.043" in rows
    assert "Latin 31 0.812 0.790 to 0.833 0.231 0.210 to 0.255 0.043" in rows
    assert "never 2 0.812 0.790 to 0.833 0.231 0.210 to 0.255 0.043" in rows
    assert not [row for row in rows if row.startswith("24–48")]  # no eligible class


def test_plot_has_a_dot_and_an_interval_for_each_band() -> None:
    elements = Page(evaluation_with_examples()).elements
    intervals = [attributes["d"] for tag, attributes in elements if attributes.get("class") == "interval d1"]
    dots = [attributes for tag, attributes in elements if tag == "circle" and attributes["class"] == "d1"]
    assert (len(intervals), len(dots)) == (2, 2)
    plot = text_height_plot(HeadReading(READING, {}))
    assert plot is not None
    chance, line = plot.lines
    (low, value, high), y_of = (
        (line.intervals[0][1], line.points[0][1], line.intervals[0][2]),
        dict((name, y) for y, name in plot.y_ticks),
    )
    assert (low, value, high) == pytest.approx((y_of["0.5"], y_of["0.6"], y_of["0.7"]))
    assert chance.points[0][1] == pytest.approx(y_of["0.5"])
    assert [name for _, name in plot.x_ticks] == ["<6", "6–8", "8–12", "12–16", "16–24", "24–48", "48+"]
    assert line.points[0][0] == pytest.approx(plot.x_ticks[1][0])
    assert line.points[0][2] == "6–8 pixels: 0.600 (0.500 to 0.700), 5 classes"


def test_each_data_set_has_a_line_a_row_and_a_legend() -> None:
    data_sets = {f"set{n}": DataSetReading(word_measures(images=n + 1), n) for n in range(7)}
    html = evaluation_with_examples(HeadReading(READING, data_sets), Path("groups.csv"))
    plot = text_height_plot(HeadReading(READING, data_sets))
    assert plot is not None
    assert [line.kind for line in plot.lines] == ["chance", "d1", "d2", "d3", "d4", "d5", "d6", "d1 dashed"]
    starts = [line.points[0][0] for line in plot.lines[1:]]
    assert starts == sorted(starts)
    assert len(set(starts)) == 7  # beside each other
    assert plot.lines[2].points[0][2].startswith("set1, 6–8 pixels: ")
    rows = rows_of(html)
    assert "set2 3 31 0.812 0.790 to 0.833 0.231 0.210 to 0.255 0.043" in rows
    assert "all, mixed 3 31 0.812 0.790 to 0.833 0.231 0.210 to 0.255 0.043" in rows
    assert sum(row.startswith("6–8 px") for row in rows) == 7
    legend = html[html.index('<ul class="legend">') : html.index("</ul>", html.index('<ul class="legend">'))]
    assert [f"set{n}" in legend for n in range(7)] == [True] * 7


def test_page_without_scripts_examples_and_text_heights() -> None:
    words = word_measures(images=3)
    heights = {band: NO_FIGURES for band in words.by_text_height} | {"unknown": figures()}
    packed = DataSetReading(dataclasses.replace(words, by_text_height=heights, by_script={}), None)
    head = HeadEvaluation(32, recall(scripts={}, effective_rank=0.0), HeadReading(packed, {}), TrainedOn(()))
    page = Page(page_of({"a": head, "b": head}))
    body = page.text.partition("How to read")[0]
    assert "by script" not in body
    assert "Examples" not in body
    assert "What size of text" not in body
    assert body.count("The text heights of these images are unknown.") == 2
    assert page.text.count("Head ") == 2
    assert text_height_plot(HeadReading(packed, {})) is None


def test_words_read_best_and_worst_are_listed() -> None:
    words = tuple(WordReading(f"word{n}", n + 5, 1 - n / 100, 0.25) for n in range(40))
    html = evaluation_with_examples(HeadReading(dataclasses.replace(READING, by_word=words), {}))
    rows = [row for row in rows_of(html) if row.startswith("word") and row[4].isdigit()]
    assert rows[:2] == ["word0 5 1.000 0.250", "word1 6 0.990 0.250"]
    assert [row.split()[0] for row in rows] == [f"word{n}" for n in [*range(15), *range(39, 24, -1)]]


def test_few_words_are_listed_once() -> None:
    words = tuple(WordReading(f"word{n}", 9, 1 - n / 100, 0.25) for n in range(5))
    html = evaluation_with_examples(
        HeadReading(
            dataclasses.replace(READING, by_word=words),
            {"a": READING, "b": dataclasses.replace(READING, by_word=words)},
        )
    )
    rows = [row.split()[0] for row in rows_of(html) if row.startswith("word") and row[4].isdigit()]
    assert rows == ["word0", "word1", "word4", "word3"]


def test_page_without_eligible_classes() -> None:
    words = word_measures(images=3, every=NO_FIGURES)
    empty = dataclasses.replace(words, by_text_height=dict.fromkeys(words.by_text_height, NO_FIGURES), by_script={})
    reading = DataSetReading(
        dataclasses.replace(empty, by_frequency=dict.fromkeys(words.by_frequency, NO_FIGURES)), None
    )
    for head in (HeadReading(reading, {}), HeadReading(reading, {"a": reading, "b": reading})):
        body = Page(page_of({"ocr": HeadEvaluation(32, recall(), head, TrainedOn(()))})).text.partition("How to read")[
            0
        ]
        assert "Reading by" not in body
        assert "What size of text" not in body
        assert "recall@10" in body
        assert (
            "No word AUC: no word has 5 images with it in text of at least 8 pixels and 5 without; lower "
            "--min-text-height, or take more images." in " ".join(body.split())
        ) != bool(head.data_sets)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_page_fits_the_window(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    (tmp_path / "page.html").write_text(hostile_data_sets())
    browser.screen(width, 900, dark=dark)
    try:
        browser.open((tmp_path / "page.html").as_uri())
        assert browser.value("document.documentElement.scrollWidth") <= width
        assert browser.value("document.querySelectorAll('.plot circle.d2:not(.reach)').length") == 4
        colours = browser.value(
            "['.line.d1', '.line.d2'].map((name) => getComputedStyle(document.querySelector(name)).stroke)"
        )
        assert len(set(colours)) == 2
        assert browser.console_messages() == []
        assert browser.requests() == [(tmp_path / "page.html").as_uri()]
    finally:
        browser.reset_screen()


@pytest.mark.parametrize(("total", "count", "chosen"), [(5, 3, [0, 2, 4]), (2, 24, [0, 1]), (100, 1, [0]), (1, 1, [0])])
def test_examples_are_spread_evenly(total: int, count: int, chosen: list[int]) -> None:
    assert spread_evenly(total, count) == chosen


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (letterbox(np.full((100, 200, 3), 9, np.uint8), 384), (192, 384)),  # without the ground
        (letterbox(np.full((30, 10, 3), 9, np.uint8), 768), (384, 128)),
        (letterbox(np.full((4, 4, 3), (123, 117, 104), np.uint8), 64), (64, 64)),  # all of it may be ground
        (np.zeros((3, 8, 100, 100), np.uint8), (200, 200)),  # four frames of a clip
        (np.zeros((3, 3, 384, 384), np.uint8), (384, 384)),
        (np.zeros((3, 1, 50, 50), np.uint8), (50, 50)),
    ],
)
def test_example_images_are_small(pixels: np.ndarray, shape: tuple[int, int]) -> None:
    jpeg = to_jpeg(Sample(pixels, np.zeros(1, np.int64)))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2] == shape


def test_images_that_were_trained_on_are_named_at_the_top() -> None:
    named = HeadReading(READING, {str(n): READING for n in range(2)})
    trained_on = TrainedOn((Overlap(2_000, 20, 3), Overlap(9_000, 90, 9)))
    page = page_of({"ocr": HeadEvaluation(32, recall(), named, trained_on)})
    top = Page(page).text.partition("Head ocr was trained on ")[2]
    assert top.startswith("about 1,200 of 11,000 images (estimated from 110).")
    assert "about 300 of 2,000 images (estimated from 20)" in top
    assert page.index('class="panel warning" role="note"') < page.index("<main>")
    assert "was trained on" not in page_of({"ocr": HeadEvaluation(32, recall(), named, TrainedOn((Overlap(9, 9, 0),)))})

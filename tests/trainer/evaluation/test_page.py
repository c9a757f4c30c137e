"""The page of an evaluation, with hostile words and names."""

import base64
import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovocr.trainer.data.images import letterbox
from ovocr.trainer.data.samples import Sample
from ovocr.trainer.data.thumbnails import spread_evenly, to_jpeg
from ovocr.trainer.evaluation.evaluate import Evaluation, HeadRecall
from ovocr.trainer.evaluation.examples import Answer, Example, TrueTag
from ovocr.trainer.evaluation.page import evaluation_page
from ovocr.trainer.evaluation.recall import GroupRecall
from tests.html_page import Page

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
        "tr th td article img ol ul li span small footer dl dt dd",
    )
)


def group(images: int = 3) -> GroupRecall:
    return GroupRecall(images, 30, {1: 0.5, 10: 0.75, 100: 1.0}, {1: 0.0, 10: 0.125, 100: 0.25})


def evaluation() -> Evaluation:
    jpeg = to_jpeg(Sample(np.zeros((3, 8, 8), np.uint8), np.zeros(1, np.int64)))
    example = Example(
        name=f"a.rec id 0 ({HOSTILE[1]} of {HOSTILE[0]})",
        jpeg=jpeg,
        tags=tuple(TrueTag(word, rank) for word, rank in zip(HOSTILE, [1, 10, 11, *[None] * 7], strict=True)),
        answers=tuple(Answer(word, 0.5, n % 2 == 0) for n, word in enumerate(HOSTILE)),
    )
    head = HeadRecall(
        3, 365187, 1000, 128, 192, 12.5, group(), {"Latin": group(2)}, {"1,000+": group(1)}, (example,) * 2
    )
    return Evaluation(Path(HOSTILE[1]), (Path(HOSTILE[0]),), 400, (1, 10, 100), {"ocr": head})


def test_hostile_words_stay_text() -> None:
    text = evaluation_page(evaluation())
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
    for word in HOSTILE[:7]:
        assert page.text.count(word) >= 4  # an answer and a tag on two cards
    for shown in (r"\u202egnp.exe", r"\x00\x1b[31m", r"\udcff"):
        assert page.text.count(shown) == 4
    assert not set(page.text) & {"\u202e", "\x00", "\x1b"}


def test_policy_allows_only_the_style() -> None:
    page = Page(evaluation_page(evaluation()))
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
    page = Page(evaluation_page(evaluation()))
    assert "after 400 steps" in page.text
    assert "all 365,187 class centers: recall@10, mean over 3 images" in " ".join(page.text.split())
    labels = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert labels.count("encoder 0.750, prior 0.125") == 4  # headline, k = 10, script, band
    assert labels.count("encoder 0.500, prior 0.000") == 1
    widths = [attributes["width"] for tag, attributes in page.elements if tag == "rect"]
    assert widths[:3] == ["100", "75.00", "12.50"]
    states = [attributes["class"] for tag, attributes in page.elements if tag == "li"]
    assert states[:20] == [*["right", "wrong"] * 5, "found", "found", "late", *["missed"] * 7]
    assert "Tags: 2 of 10 among the first 10 answers" in page.text


def test_page_without_scripts_and_examples() -> None:
    plain = evaluation()
    head = HeadRecall(3, 5, 9, 32, 16, 0.0, group(), {}, {"never": group()}, ())
    page = Page(evaluation_page(Evaluation(plain.run, plain.data, 1, (1, 10, 100), {"a": head, "b": head})))
    assert "By script" not in page.text
    assert "Examples" not in page.text.partition("How to read")[0]
    assert page.text.count("Head ") == 2


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

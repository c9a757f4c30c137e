"""The page of a coverage report: its contents, escaping of untrusted words, and its search in a browser."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.plural import counted
from ovocr.views.crop_legibility import CropCounts
from ovocr.views.legibility import Legibility
from ovocr.vocab import Vocabulary
from ovocr.vocab.coverage import NamedVocabulary, Report, measure
from ovocr.vocab.coverage.page import coverage_page
from ovocr.vocab.coverage.page_search import _number_keys
from tests.html_page import Page
from tests.manifests import make_manifest

HOSTILE = [
    "<script>document.title='taken'</script>",
    "</script><script>document.title='taken'</script>",
    "\"><img src=http://127.0.0.1:9/x onerror=document.title='taken'>",
    "</style><style>@import url(http://127.0.0.1:9/y)</style>",
    "<!--<script>",
    "&lt;b&gt;&amp;\u2028",
    "\u202egnp.exe",
    "\x1b[31m",
    "javascript:document.title='taken'",
]
SHAPES = {"svg", "rect", "line", "polyline", "circle", "g", "text", "title"}
ALLOWED = SHAPES | set(
    re.findall(
        r"\w+",
        "html head meta style body header h1 h2 h3 h4 main footer script div strong p ul li span bdi label input "
        "noscript details summary table thead tbody tr th td dl dt dd code br",
    )
)


@pytest.fixture
def report(tmp_path: Path, write_shard: Callable[..., None]) -> Report:
    """Returns a report of two vocabularies and two data sets."""
    write_shard(tmp_path / "a", 0, [["Hello hello wide", "世界 c++ o'clock"], [], ["$5.00"], ["zzz zzz zzz"]])
    write_shard(tmp_path / "a", 1, [["hello yellow mellow"]])
    write_shard(tmp_path / "b", 0, [["hellish 世界"] + [f"w{n}" for n in range(120)]])
    named = [
        NamedVocabulary(name="some/lexicon.txt", vocabulary=Vocabulary(["hello", "世界", "c++", "wide", "unseen"])),
        NamedVocabulary(name="other/second.txt", vocabulary=Vocabulary(["yellow", "hello", "zzz"])),
    ]
    return measure([tmp_path / "a", tmp_path / "b"], named, workers=1, look_up=1000)


def with_hostile_names(report: Report) -> Report:
    """Replaces every word, key, data set, source and vocabulary name by one of HOSTILE."""

    def hostile(number: int) -> str:
        return HOSTILE[number % len(HOSTILE)]

    def listed(words: Any) -> Any:
        return tuple(
            replace(word, word=hostile(n), example=hostile(n + 1), data_set=hostile(n + 2))
            for n, word in enumerate(words)
        )

    coverages = tuple(
        replace(
            coverage,
            vocabulary=hostile(number),
            left_out=listed(coverage.left_out),
            covered=listed(coverage.covered),
            data_sets=tuple(
                replace(each, name=hostile(n), parts=(replace(each, name=hostile(n + 3), parts=()),) * 2)
                for n, each in enumerate(coverage.data_sets)
            ),
        )
        for number, coverage in enumerate(report.coverages)
    )
    assert report.comparison is not None
    differences = tuple(
        replace(difference, vocabulary=hostile(n), listed=listed(difference.listed))
        for n, difference in enumerate(report.comparison.differences)
    )
    (frequent,) = report.frequent
    return replace(
        report,
        warnings=[hostile(0)],
        legibility={Path(hostile(n)): found for n, found in enumerate(report.legibility.values())},
        coverages=coverages,
        comparison=replace(report.comparison, differences=differences),
        frequent=(
            replace(
                frequent,
                vocabularies=tuple(replace(each, name=hostile(n)) for n, each in enumerate(frequent.vocabularies)),
                words=[
                    found._replace(word=hostile(n), example=hostile(n + 1)) for n, found in enumerate(frequent.words)
                ],
            ),
        ),
    )


def data_of(page: Page) -> dict[str, Any]:
    data = json.loads(page.scripts[0])
    (only,) = data["lists"]
    assert isinstance(only, dict)
    return only


def test_page_shows_the_figures(report: Report) -> None:
    page = Page(coverage_page(report))
    text = " ".join(page.text.split())
    first, second = report.coverages
    assert f"{first.token_coverage:.1%}{second.token_coverage:.1%}of all words read" in text
    assert "some/lexicon.txt: 5 words, sha256" in text  # in full once
    assert "Most frequent words not in lexicon.txt" in text
    assert "1 word in both vocabularies." in text
    assert "Only in second.txt" in text
    titles = [coverage.words_per_image.histogram["2-4"] for coverage in report.coverages]
    assert f"{counted(titles[0], 'image')} with 2-4 words of lexicon.txt" in page.text
    assert f"the 2 most frequent words of the corpus: {first.by_size[1].best:.1%}" in page.text
    settings = "segmented with the settings of lexicon.txt and second.txt"
    assert f"The search knows all 129 distinct words of the corpus, {settings}." in text
    assert coverage_page(report) == coverage_page(report)


def test_a_page_of_one_vocabulary(report: Report) -> None:
    (frequent,) = report.frequent
    alone = replace(
        report,
        coverages=report.coverages[:1],
        comparison=None,
        frequent=(replace(frequent, vocabularies=frequent.vocabularies[:1]),),
    )
    page = Page(coverage_page(alone))
    assert page.open == []
    assert "Two vocabularies" not in page.text
    assert "v2" not in {kind for _, attributes in page.elements for kind in (attributes.get("class") or "").split()}


def test_page_shows_what_limits_keep(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    words = [f"w{'x' * n}" for n in range(12)]  # more than the ten slots
    write_shard(tmp_path, 0, [[(" ".join(words), 0.95)], [("w 3d ok ok", 0.75), ("年 w", 0.85)], [("ok", 0.6)], ["7"]])
    named = NamedVocabulary(name="v.txt", vocabulary=Vocabulary([*words, "年"]))
    report = measure([tmp_path], [named], workers=1)
    text = coverage_page(report)
    cells = re.findall(r"<t[hd][^>]*>(?:<bdi>)?([^<]*)", text[text.index("<h3>Line scores</h3>") :])
    at = cells.index("0.8")
    assert cells[at : at + 4] == ["0.8", "73.7%", "100.0%", "2 "]
    at = cells.index("0.95–0.98")
    assert cells[at : at + 4] == ["0.95–0.98", "12", "63.2%", "100.0%"]
    at = cells.index("letters")
    assert cells[at : at + 15] == [
        *("letters", "words", "share of words", "in the vocabulary", "distinct words"),
        *("1", "4", "21.1%", "75.0%", "2"),
        *("2", "4", "21.1%", "25.0%", "2"),
    ]
    page = Page(text)
    shown = " ".join(page.text.split())
    assert "1 image (25.0%) has more of these words than slots (10). 2 words (14.3%) get no slot." in shown
    assert shown.count("not reached: 78.9% at most") == 3
    assert "--min-score 0.8: 73.7% of words kept" in shown
    assert "Most frequent words in the vocabulary 13 distinct words of the vocabulary, read 15 times in total." in shown
    assert "Warning:" not in shown
    assert "held-out" not in shown
    held_out = replace(report, holdout=0.25, warnings=["v.txt was built from <x>"])
    shown = " ".join(Page(coverage_page(held_out)).text.split())
    assert "only the held-out images, a share of 0.25 chosen by their keys" in shown
    assert "Warning: v.txt was built from <x>." in shown


def test_page_says_that_given_text_has_no_scores(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    named = NamedVocabulary(name="v.txt", vocabulary=Vocabulary(["one"]))
    for name, score in (("a", 1.0), ("b", 0.8)):
        write_shard(tmp_path / name, 0, [[("one two", score)]])
        make_manifest([], vocabulary=Vocabulary(["word"]), engine="given").write(tmp_path / name / "manifest.json")
    shown = " ".join(Page(coverage_page(measure([tmp_path / "a"], [named], workers=1))).text.split())
    assert "The text was given without scores, so --min-score leaves nothing out." in shown
    assert "What --min-score keeps" not in shown
    both = measure([tmp_path / "a", tmp_path / "b"], [named], workers=1)
    shown = " ".join(Page(coverage_page(both)).text.split())
    assert "2 words of text that was given without scores are not included." in shown


def test_page_shows_the_tags_by_text_height(report: Report) -> None:
    """The 5 and 121 lines have 8, 16 and 24 pixels of 448 in turn, in each image."""
    text = coverage_page(report)
    section = text[text.index("<h3>Legible tags</h3>") : text.index("<h3>Classes by frequency</h3>")]
    assert "126 tags of 5 images, as the data sets store them" in " ".join(section.split())
    cells = re.findall(r"<t[hd][^>]*>(?:<bdi>)?([^<]*)", section)
    high, low = f"{81 / 126:.1%}", f"{40 / 126:.1%}"
    at = cells.index("448 px")
    assert cells[at : at + 7] == ["448 px", "", "16.0 px", "100.0%", high, high, f"{81 / 5:.1f}"]
    assert cells[cells.index("224 px") :][1:6] == ["", "8.0 px", high, low, low]
    assert f'<rect width="{100 * 81 / 126:.2f}" height="10"/>' in section
    assert "Measured on 5 images." in section
    crops = report.legibility_of_all.by_size[2].crops
    assert (crops.images, crops.shown) == (5, 126)  # the lines lie over each other
    at = cells.index("448 px", at + 1)
    assert cells[at : at + 4] == ["448 px", "", f"{126 / 5:.1f}", f"{crops.shares[8]:.1%}"]
    assert cells[at + 4 : at + 7] == [
        f"{crops.shares[10]:.1%}",
        f"{crops.shares[12]:.1%}",
        f"{crops.per_image[10]:.1f}",
    ]
    first, second = (cells.index(str(root)) for root in report.legibility)
    assert cells[first + 1 : first + 7] == ["5", "0.0%", "20.0%", "20.0%", "100.0%", "100.0%"]
    assert cells[second + 1 : second + 5] == ["121", f"{40 / 121:.1%}", f"{80 / 121:.1%}", f"{80 / 121:.1%}"]
    of_first = [f"{row.crops.shares[10]:.1%}" for row in next(iter(report.legibility.values())).by_size]
    assert cells[first + 7 : first + 14] == ["in crops chosen by their text", "", *of_first]
    no_tags = replace(report, legibility={root: Legibility() for root in report.legibility})
    assert "Legible tags" not in coverage_page(no_tags)


def test_page_counts_tags_of_unknown_height(report: Report) -> None:
    (root, found), *_ = report.legibility.items()
    text = " ".join(Page(coverage_page(replace(report, legibility={root: found}))).text.split())
    assert "unknown text height" not in text
    changed = replace(report, legibility={root: replace(found, tags_of_unknown_height=2)})
    text = " ".join(Page(coverage_page(changed)).text.split())
    assert "2 tags of unknown text height, given without boxes, are left out." in text


def test_page_says_on_how_many_images_crops_were_measured(report: Report) -> None:
    (root, found), *_ = report.legibility.items()
    some = replace(found, images=1_000_000, crops=replace(found.crops, images=12_345))
    text = " ".join(Page(coverage_page(replace(report, legibility={root: some}))).text.split())
    assert "Measured on 12,345 images, evenly spread over each shard." in text
    none = replace(found, crops=CropCounts(images=100))  # whose text heights are all unknown
    assert "Measured on" not in coverage_page(replace(report, legibility={root: none}))
    both = coverage_page(replace(report, legibility={root: none, Path("other"): found}))
    cells = re.findall(r"<t[hd][^>]*>([^<]*)", both)
    at = cells.index("in crops chosen by their text")
    assert cells[at + 1 : at + 7] == ["", *["–"] * 5]


def test_search_has_all_words(report: Report) -> None:
    words = data_of(Page(coverage_page(report)))
    columns = ("words", "ranks", "times", "images", "script", "dataSet", "key")
    assert {len(words[name]) for name in columns} | {len(ids) for ids in words["ids"]} == {129}
    index = words["words"].index("世界")
    assert words["times"][index] == 2
    assert words["images"][index] == 2
    assert [ids[index] for ids in words["ids"]] == [1, -1]
    assert words["scripts"][words["script"][index]] == "Han"
    assert words["keys"][words["key"][index]] == "0.jpg"
    assert words["ranks"] == list(range(1, 130))
    assert words["vocabularies"] == ["lexicon.txt", "second.txt"]


def test_page_describes_the_words_that_the_search_lacks(report: Report) -> None:
    (frequent,) = report.frequent
    cut = replace(
        report, frequent=(replace(frequent, words=frequent.words[:4], ranks=[1, 2, 3, None], distinct_words=129),)
    )
    text = " ".join(Page(coverage_page(cut)).text.split())
    times = [found.tokens for found in frequent.words[:3]]
    settings = "segmented with the settings of lexicon.txt and second.txt"
    assert f"The search knows the 3 most frequent of 129 distinct words, {settings} (" in text
    assert f"({sum(times) / frequent.tokens:.1%} of all words read)" in text
    assert f"It lacks words that were read {times[-1]} times or less." in text
    assert not data_of(Page(coverage_page(cut)))["complete"]


def test_total_length_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovocr.vocab.coverage.page_search.KEY_CHARACTERS", 7)
    assert _number_keys(["abc", "abc", "defg", "h", "abc"]) == (["abc", "defg"], [0, 0, 1, -1, 0])


def test_hostile_words_stay_text(report: Report) -> None:
    text = coverage_page(with_hostile_names(report))
    page = Page(text)
    assert page.open == []
    assert page.comments == 0
    assert {tag for tag, _ in page.elements} <= ALLOWED
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}
        assert not {"style", "href", "src", "srcset", "action", "background", "xlink:href"} & set(attributes)
        assert tag != "script" or attributes in ({}, {"type": "application/json", "id": "words"})
    assert len(page.scripts) == 2
    assert "<" not in page.scripts[0]
    words = data_of(page)["words"]
    assert words[:5] == HOSTILE[:5]
    assert words[5:8] == [r"&lt;b&gt;&amp;\u2028", r"\u202egnp.exe", r"\x1b[31m"]
    assert not set(text) & {"\u202e", "\u2028", "\x1b"}
    assert page.text.count(HOSTILE[0]) >= 3


def test_policy_allows_only_the_style_and_the_script(report: Report) -> None:
    page = Page(coverage_page(report))
    policy = page.elements[3][1]["content"]
    style, script = (
        base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in (page.style, page.scripts[1])
    )
    assert policy is not None
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{style}'",
        f"script-src 'sha256-{script}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not re.search(r"url\(|@import|https?:", page.style)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval|https?:|fetch|import", page.scripts[1])


def rows(browser: Any) -> list[list[str]]:
    """Returns the cells of the search results."""
    answer = browser.value(
        "[...document.querySelectorAll('#results tbody tr')].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert isinstance(answer, list)
    return answer


def test_search_in_a_browser(report: Report, tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "page.html"
    path.write_text(coverage_page(report), encoding="utf-8")
    browser.open(f"{path.as_uri()}#search=HELLO")
    assert browser.value("document.getElementById('query').value") == "HELLO"
    data_set = str(tmp_path / "a")
    assert rows(browser) == [["hello", "0", "1", "3", "2", "1", "Latin", f"0.jpg in {data_set}"]]
    assert browser.value("document.querySelectorAll('tr.exact').length") == 1
    # Tab reaches the search box first.
    browser.open(path.as_uri())
    browser.press("Tab", 9)
    assert browser.value("document.activeElement.id") == "query"
    browser.type("ell")
    assert sorted(row[0] for row in rows(browser)) == ["hellish", "hello", "mellow", "yellow"]
    assert (
        browser.value("document.getElementById('found').textContent") == "“ell” was never read. These words contain it:"
    )
    browser.type("z")
    assert rows(browser) == []
    for word, ids in (("o’clock", ["none", "none"]), ("zzz", ["none", "2"]), ("Ｃ++", ["2", "none"])):
        browser.value("document.getElementById('query').select()")
        browser.type(word)
        assert rows(browser)[0][1:3] == ids, word
    browser.press("Enter", 13)
    assert browser.console_messages() == []
    assert browser.requests() == [path.as_uri()]


def test_hostile_words_in_a_browser(report: Report, tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "page.html"
    path.write_text(coverage_page(with_hostile_names(report)), encoding="utf-8")
    for word in (*HOSTILE[:4], "%E0%A4%A"):
        browser.open(f"{path.as_uri()}#search={word}")
        assert browser.value("document.title").startswith("Vocabulary coverage of ")
        assert browser.console_messages() == []
        assert browser.requests() == [path.as_uri()]
    browser.open(f"{path.as_uri()}#search={HOSTILE[1].replace('<', '%3C').replace('/', '%2F')}")
    assert rows(browser)[0][0] == HOSTILE[1]
    assert browser.value("document.querySelectorAll('img, iframe, script:not([id])').length") == 1  # the page's own


@pytest.mark.parametrize("change", [lambda report: report, with_hostile_names], ids=["plain", "hostile"])
def test_page_is_not_wider_than_a_phone(
    report: Report, change: Callable[[Report], Report], tmp_path: Path, browser: Any
) -> None:
    path = tmp_path / "page.html"
    path.write_text(coverage_page(change(report)), encoding="utf-8")
    browser.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    try:
        browser.open(f"{path.as_uri()}#search=hello")
        assert browser.value("document.documentElement.scrollWidth") == 360
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")

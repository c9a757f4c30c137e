"""The built site: no warning, nothing from elsewhere, all blocks of the documents, and a search, in a browser."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.conftest import Browser

pytest.importorskip("mkdocs", reason="the extra docs is not installed")

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")
LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
ELSEWHERE = re.compile(r"(https?:)?//")


def build(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "-f", "website/mkdocs.yml", "-d", str(folder), *options]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder, "--strict")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Tags(HTMLParser):
    """Counts the elements of the article of a page, and collects the addresses from which the page loads something."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.counts: Counter[str] = Counter()
        self._in_article = False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._in_article |= tag == "article"
        if self._in_article:
            self.counts[tag] += 1
        if values.get(LOADING.get(tag, "")) and values.get("rel") != "canonical":
            self.addresses.append(values[LOADING[tag]] or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_article &= tag != "article"


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        addresses = Tags(page).addresses
        assert addresses
        assert not [address for address in addresses if ELSEWHERE.match(address)], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_page_has_the_structure_of_its_document(name: str, site: Path) -> None:
    # MkDocs and the viewers of repositories read Markdown differently: lists in lists, blocks without empty lines.
    tokens = MarkdownIt().enable("table").parse((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    expected = Counter(token.type for token in tokens)
    counts = Tags(site / f"{name}.html").counts
    assert counts["pre"] == expected["fence"] + expected["code_block"]
    assert counts["li"] == expected["list_item_open"]
    assert counts["tr"] == expected["tr_open"]


def test_linked_files_of_the_checkout_are_pages(site: Path) -> None:
    reading = (site / "reading.html").read_text(encoding="utf-8")
    assert 'href="files/configs/reading.toml.html"' in reading
    assert "crop_text_height_start" in (site / "files" / "configs" / "reading.toml.html").read_text(encoding="utf-8")
    assert 'href="benchmarks/results/reading_cpu_2026-11-30.html"' in reading


def test_every_record_is_a_page_and_in_the_list(site: Path) -> None:
    listed = (site / "benchmarks" / "results" / "index.html").read_text(encoding="utf-8")
    records = list((ROOT / "benchmarks" / "results").glob("*.md"))
    assert records
    for record in records:
        assert (site / "benchmarks" / "results" / f"{record.stem}.html").is_file()
        assert f'href="{record.stem}.html"' in listed


def test_every_section_of_the_readme_is_on_a_page(site: Path) -> None:
    pages = "".join((site / f"{name}.html").read_text(encoding="utf-8") for name in ("index", "install", "overview"))
    headings = re.findall(r"^##+ (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) > 8
    for heading in headings:
        assert re.search(rf"<h[123][^>]*>{re.escape(heading)}<", pages), heading


def test_the_reference_has_signatures_and_notes(site: Path) -> None:
    page = (site / "api" / "trainer.html").read_text(encoding="utf-8")
    assert re.search(r"<li>\s*(<p>)?<code>sample_rate</code>: share of the classes", page)
    assert 'id="ovocr.trainer.Backbone.from_pretrained"' in page
    assert "ovocr-build-labels-vocab" in (site / "commands.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Yields the address of a server of the site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def requested(browser: Browser) -> list[str]:
    sent = (event for event in browser.events if event.get("method") == "Network.requestWillBeSent")
    return [event["params"]["request"]["url"] for event in sent]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [500, 1400])
@pytest.mark.parametrize("name", ["index", "training", "commands", "api/trainer"])
def test_a_page_fits_and_requests_nothing_from_elsewhere(
    browser: Browser, address: str, name: str, width: int, dark: bool
) -> None:
    browser.screen(width, 900, dark=dark)
    browser.open(f"{address}/{name}.html")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.body.getAttribute('data-md-color-scheme')") == ("slate" if dark else "default")
    addresses = [url for url in requested(browser) if not url.startswith(("data:", "about:"))]
    assert addresses
    assert not [url for url in addresses if not url.startswith(address)]
    failed = [event for event in browser.events if event.get("method") == "Network.loadingFailed"]
    assert failed == []


def test_the_search_finds_a_setting(browser: Browser, address: str) -> None:
    browser.screen(1400, 900)
    browser.open(f"{address}/index.html")
    browser.value("document.querySelector('.md-search__input').focus()")
    browser.type("crop_text_height")
    deadline = time.monotonic() + 60
    found = "[...document.querySelectorAll('.md-search-result__link')].map(link => link.getAttribute('href'))"
    while not browser.value(found):
        assert time.monotonic() < deadline, "the search finds nothing"
        time.sleep(0.1)
    assert any("training.html" in link for link in browser.value(found))
    assert not [url for url in requested(browser) if not url.startswith((address, "data:", "about:", "blob:"))]

"""A coverage report as one HTML page that needs nothing beside it: no network, no font, no file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from ovocr.pages.document import document, text
from ovocr.vocab.coverage.figures import Coverage
from ovocr.vocab.coverage.page_lists import by_source, differences, left_out
from ovocr.vocab.coverage.page_script import SCRIPT
from ovocr.vocab.coverage.page_search import search_section
from ovocr.vocab.coverage.page_sections import (
    by_frequency,
    by_rank,
    by_script,
    by_size,
    headline,
    image_fates,
    images_by_words,
)
from ovocr.vocab.coverage.page_style import STYLE
from ovocr.vocab.coverage.report import Report

WORDS_TO_LOOK_UP = 200_000


def coverage_page(report: Report) -> str:
    """The whole page. The same report gives the same bytes."""
    names = _short_names([coverage.vocabulary for coverage in report.coverages])
    coverages = [replace(coverage, vocabulary=names[coverage.vocabulary]) for coverage in report.coverages]
    sections = [
        headline(coverages),
        search_section(report, names),
        _pair(by_size(coverages), by_rank(coverages)),
        _pair(images_by_words(coverages), image_fates(coverages)),
        by_frequency(coverages),
        by_script(coverages),
        by_source(coverages),
        left_out(coverages),
        differences(report.comparison, coverages) if report.comparison else "",
    ]
    return document(
        title=f"Vocabulary coverage of {' and '.join(names)}",
        header=_header(report.coverages),
        main="\n".join(section for section in sections if section),
        footer=f"<h2>How to read this page</h2>\n{_DEFINITIONS}",
        style=STYLE,
        script=SCRIPT,
    )


def _pair(first: str, second: str) -> str:
    return f'<div class="pair">\n{first}\n{second}\n</div>'


def _header(coverages: Sequence[Coverage]) -> str:
    vocabularies = "".join(
        f"<dd>{text(coverage.vocabulary)}: {coverage.vocabulary_size:,} words, sha256 "
        f"{coverage.vocabulary_sha256[:12]}; {coverage.tokens:,} words read, {coverage.distinct_words:,} distinct</dd>"
        for coverage in coverages
    )
    data_sets = "".join(
        f"<dd>{text(data_set.name)}: {data_set.images:,} images in {data_set.shards:,} shards</dd>"
        for data_set in coverages[0].data_sets
    )
    return f"<h1>Vocabulary coverage</h1>\n<dl><dt>Vocabulary</dt>{vocabularies}<dt>Corpus</dt>{data_sets}</dl>"


def _short_names(vocabularies: Sequence[str]) -> dict[str, str]:
    """Of each vocabulary the name of its file without folders, unless that makes two alike."""
    short = {name: PurePath(name).name or name for name in vocabularies}
    return short if len(set(short.values())) == len(short) else {name: name for name in short}


_DEFINITIONS = """<dl>
<dt>Words</dt><dd>What the vocabulary's own settings make of the lines that were read, repeats counted; distinct words
are counted once. OCR errors are words, too: most distinct words that a vocabulary lacks may be such.</dd>
<dt>Images</dt><dd>All that were read. Those that could not be read are not among them.</dd>
<dt>Coverage by size</dt><dd>The words of a vocabulary in the order of their class ids. The dashed line is the most that
any vocabulary of this size could cover here. Where the two are far apart, a vocabulary in another order, or made from
this corpus, would do with fewer classes.</dd>
<dt>Classes</dt><dd>The words of the vocabulary. By times: how often the word was read; by images: in how many images
it was, which is what training sees.</dd>
<dt>Script</dt><dd>That of a word's letters; “mixed” where they are of several, “other” where there are none, or none of
the scripts that are told apart.</dd>
<dt>First image</dt><dd>The key of the first image that has the word, in the order of the data sets and their
shards.</dd>
</dl>"""

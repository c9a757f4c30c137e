"""Sections of a coverage page that are lists: data sets, words left out, words that one vocabulary alone has."""

from collections.abc import Sequence

from ovocr.pages.document import panel, table, text
from ovocr.vocab.coverage.figures import Comparison, Coverage, SourceCoverage
from ovocr.vocab.coverage.page_parts import bar_cell, cells, details, each_head, head, percent, row, tall, word_table

PARTS_SHOWN = 200


def by_source(coverages: Sequence[Coverage]) -> str:
    """Coverage of each data set, and of what it was made from."""
    of_data_sets = list(zip(*(coverage.data_sets for coverage in coverages), strict=True))
    content = _source_table(of_data_sets, coverages, "data set")
    for of_each in of_data_sets:
        if of_each[0].parts:
            content += details(
                f"{len(of_each[0].parts):,} sources or shards of {text(of_each[0].name)}", _parts(of_each, coverages)
            )
    return panel("By source", "Each data set, and what it was made from.", f'<div class="sources">{content}</div>')


def _parts(of_each: Sequence[SourceCoverage], coverages: Sequence[Coverage]) -> str:
    parts = list(zip(*(data_set.parts for data_set in of_each), strict=True))
    if len(parts) <= PARTS_SHOWN:
        return _source_table(parts, coverages, "source")
    least = sorted(parts, key=lambda part: part[0].token_coverage)[:PARTS_SHOWN]
    note = f"<p>The {PARTS_SHOWN:,} with the least coverage of {len(parts):,}; <code>--json</code> has all of them.</p>"
    return note + _source_table(least, coverages, "source")


def _source_table(sources: Sequence[Sequence[SourceCoverage]], coverages: Sequence[Coverage], name: str) -> str:
    rows = (
        row(
            text(of_each[0].name),
            bar_cell([each.token_coverage for each in of_each], ", ".join(f"{e.token_coverage:.1%}" for e in of_each))
            + cells(f"{each.token_coverage:.1%}" for each in of_each)
            + cells((f"{of_each[0].tokens:,}", f"{of_each[0].images:,}"))
            + cells(percent(each.images_without_words, each.images) for each in of_each),
        )
        for of_each in sources
    )
    columns = each_head(coverages, "words covered") + head("words") + head("images")
    columns += each_head(coverages, "images without a word")
    return table(head(name) + head("words covered", "bars") + columns, rows)


def left_out(coverages: Sequence[Coverage]) -> str:
    """The most frequent words that a vocabulary lacks."""
    return "\n".join(_left_out(coverage, two=len(coverages) > 1) for coverage in coverages)


def _left_out(coverage: Coverage, *, two: bool) -> str:
    words = coverage.distinct_words - coverage.distinct_in_vocabulary
    tokens = coverage.tokens - coverage.tokens_in_vocabulary
    title = "Most frequent words left out" + (f" by {text(coverage.vocabulary)}" if two else "")
    if not words:
        return panel(title, "None: the vocabulary has every word that was read.", "")
    note = f"The vocabulary lacks {words:,} distinct words that were read {tokens:,} times" + (
        f"; these are the {len(coverage.left_out):,} most frequent." if words > len(coverage.left_out) else "."
    )
    several = len(coverage.data_sets) > 1
    return panel(title, note, tall(word_table(coverage.left_out, several_data_sets=several), "words left out"))


def differences(comparison: Comparison, coverages: Sequence[Coverage]) -> str:
    """What each of two vocabularies has and the other lacks."""
    several = len(coverages[0].data_sets) > 1
    panels = [
        panel(
            f"Only in {text(coverage.vocabulary)}",
            f"{difference.classes:,} words that the other lacks; {difference.words:,} of them were read, "
            f"{difference.tokens:,} times in all.",
            tall(word_table(difference.listed, several_data_sets=several), "words of one vocabulary alone")
            if difference.listed
            else "",
        )
        for difference, coverage in zip(comparison.differences, coverages, strict=True)
    ]
    made = (
        ""
        if comparison.same_segmentation
        else " The two make words of the same lines in different ways, so a word that one of them alone has may stand "
        "in the other under another form."
    )
    return f"<h2>Two vocabularies</h2>\n<p>Both have {comparison.shared_classes:,} words.{made}</p>\n" + "\n".join(
        panels
    )

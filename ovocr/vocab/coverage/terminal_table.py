"""Formats a coverage report as a table for a terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.views.legibility import COMPARED_HEIGHT, IMAGE_SIZES
from ovocr.vocab.coverage.figures import Coverage, Difference, ListedWord, share
from ovocr.vocab.coverage.report import Report

WORDS_SHOWN = 20
SCRIPTS_SHOWN = 8
COVERED_SHOWN = 10
SCORES_SHOWN = (0.5, 0.7, 0.8, 0.9, 0.95)
LETTERS_SHOWN = (2, 3)
_LABEL = 34

# A label, a vocabulary's count, and the whole of which the count is a share, or None.
_Row = tuple[str, Callable[[Coverage], int], Callable[[Coverage], int] | None]


def format_table(report: Report) -> str:
    """Returns the lines of the table, one column per vocabulary, without a line end after the last line."""
    coverages = report.coverages
    lines = [f"warning: {warning}" for warning in report.warnings]
    lines += _heads(coverages) if len(coverages) > 1 else []
    lines += [_line(coverages, row) for row in _rows(coverages, report.holdout)]
    lines += _titled("words in vocabulary, and in the corpus's most frequent", _by_size(coverages))
    lines += _titled("first words of vocabulary that cover", _sizes_needed(coverages))
    lines += _titled("words kept; images with one in vocabulary, and words in vocabulary", _kept(coverages))
    lines += _titled("words by script, and in vocabulary", _by_script(coverages))
    if len(coverages[0].data_sets) > 1:
        lines += _titled("words by data set, and in vocabulary", _by_data_set(coverages))
    lines += _legibility(report)
    for coverage in coverages:
        title = f" by {for_terminal(coverage.vocabulary)}" if len(coverages) > 1 else ""
        lines += _words(f"most frequent words left out{title}", coverage.left_out)
        covered = ", ".join(f"{for_terminal(found.word)} {found.count:,}" for found in coverage.covered[:COVERED_SHOWN])
        lines += [f"most frequent words in vocabulary{title}: {covered}"] if covered else []
    if report.comparison is not None:
        for difference in report.comparison.differences:
            lines += _difference(difference)
    return "\n".join(lines)


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    below = list(lines)
    return [title, *below] if below else []


def _heads(coverages: Sequence[Coverage]) -> list[str]:
    return [" " * _LABEL + "".join(f"{for_terminal(_tail(coverage.vocabulary)):>20}" for coverage in coverages)]


def _tail(name: str, most: int = 18) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _rows(coverages: Sequence[Coverage], holdout: float | None) -> Iterator[_Row]:
    yield "images" if holdout is None else f"held-out images ({holdout:g})", lambda c: c.images, None
    for name in coverages[0].images_by_words:
        yield f"  with {name} words in vocabulary", _images_with(name), lambda c: c.images
        if name == "0":
            yield "    without text", lambda c: c.images_without_text, lambda c: c.images
            yield "    with lines, without a word", lambda c: c.images_without_any_word, lambda c: c.images
            yield "    with words, none in it", lambda c: c.images_outside_vocabulary, lambda c: c.images
    if any(coverage.slot_shortage.images for coverage in coverages):
        yield "  with more of them than slots", lambda c: c.slot_shortage.images, lambda c: c.images
        yield "    words without a slot", lambda c: c.slot_shortage.words, None
    yield "words", lambda c: c.tokens, None
    yield "  in vocabulary", lambda c: c.tokens_in_vocabulary, lambda c: c.tokens
    yield "distinct words", lambda c: c.distinct_words, None
    yield "  in vocabulary", lambda c: c.distinct_in_vocabulary, lambda c: c.distinct_words
    yield "vocabulary", lambda c: c.vocabulary_size, None
    yield "  found in these images", lambda c: c.distinct_in_vocabulary, lambda c: c.vocabulary_size


def _images_with(name: str) -> Callable[[Coverage], int]:
    return lambda coverage: coverage.images_by_words[name]


def _line(coverages: Sequence[Coverage], row: _Row) -> str:
    label, count, whole = row
    cells = (_cells(count(each), share(count(each), whole(each)) if whole else None) for each in coverages)
    return f"{label:<{_LABEL}}{''.join(cells)}".rstrip()


def _cells(count: int | None, value: float | None) -> str:
    return f"{'' if count is None else format(count, ','):>12}{'' if value is None else format(value, '.1%'):>8}"


def _group(label: str, cells: Iterable[str]) -> str:
    return f"  {label:<{_LABEL - 2}}{''.join(cells)}".rstrip()


def _by_size(coverages: Sequence[Coverage]) -> Iterator[str]:
    """Yields a line for the first thousand, ten thousand ... words of the vocabularies."""
    points = [{point.size: point for point in coverage.by_size} for coverage in coverages]
    for size in sorted({size for curve in points for size in curve if size >= 1000 and str(size).strip("0") == "1"}):
        best = next(curve[size].best for curve in points if size in curve)
        cells = (_cells(None, curve[size].token_coverage if size in curve else None) for curve in points)
        yield f"{_group(f'first {size:,}', cells)}  at best {best:.1%}"


def _sizes_needed(coverages: Sequence[Coverage]) -> Iterator[str]:
    """Yields a line for each share: the number of first words that cover it."""
    for number, needed in enumerate(coverages[0].sizes_needed):
        if needed.best is None:
            continue
        own = [coverage.sizes_needed[number].size for coverage in coverages]
        cells = (
            f"{size:>12,}{'':>8}" if size is not None else f"{f'{coverage.token_coverage:.1%} at most':>20}"
            for size, coverage in zip(own, coverages, strict=True)
        )
        yield _group(f"{needed.share:.0%} of words, at best {needed.best:,}", cells)


def _kept(coverages: Sequence[Coverage]) -> Iterator[str]:
    """Yields a line for some limits that leave words out: what is left."""
    scores = coverages[0].line_scores
    if not scores.kept and scores.tokens_without_score:
        yield "  --min-score: keeps all, the text was given without scores"
    for option, shown, kept in (
        ("--min-score", SCORES_SHOWN, [coverage.line_scores.kept for coverage in coverages]),
        ("--min-letters", LETTERS_SHOWN, [coverage.short_words.kept for coverage in coverages]),
    ):
        for columns in zip(*kept, strict=True):
            if columns[0].limit in shown and columns[0].tokens < kept[0][0].tokens:
                label = f"{option} {columns[0].limit:g} keeps {columns[0].token_share:.1%}"
                yield _group(label, (_cells(each.images, each.token_coverage) for each in columns))


def _by_script(coverages: Sequence[Coverage]) -> Iterator[str]:
    by_name = [{script.script: script for script in coverage.scripts} for coverage in coverages]
    for name in list(by_name[0])[:SCRIPTS_SHOWN]:
        known = (scripts.get(name) for scripts in by_name)
        yield _group(
            name, (_cells(script.tokens, script.token_coverage) if script else _cells(None, None) for script in known)
        )


def _by_data_set(coverages: Sequence[Coverage]) -> Iterator[str]:
    for columns in zip(*(coverage.data_sets for coverage in coverages), strict=True):
        yield _group(_tail(columns[0].name, _LABEL - 4), (_cells(each.tokens, each.token_coverage) for each in columns))


def _legibility(report: Report) -> Iterator[str]:
    yield from report.legibility_of_all.format()
    if len(report.legibility) > 1 and report.legibility_of_all.tags:
        heads = "".join(f"{size:>5} px" for size in IMAGE_SIZES)
        yield f"{f'tags of {COMPARED_HEIGHT}+ px by data set, scaled to':<38}{heads}"
        for root, found in report.legibility.items():
            label = f"  {for_terminal(_tail(str(root), 24)):<24}{found.tags:>12,}"
            yield label + _shares(found.known > 0, (row.shares for row in found.by_size))
            label = f"{'    in crops chosen by their text':<38}"
            yield label + _shares(found.crops.has_tags, (row.crops.shares for row in found.by_size))


def _shares(is_known: bool, shares: Iterable[Mapping[int, float]]) -> str:
    """Returns a cell for each size of the input: the share of tags of COMPARED_HEIGHT."""
    return "".join(f"{f'{share[COMPARED_HEIGHT]:.1%}' if is_known else '-':>8}" for share in shares)


def _words(title: str, words: Sequence[ListedWord]) -> list[str]:
    return _titled(title, (f"  {found.count:>10,}  {for_terminal(found.word)}" for found in words[:WORDS_SHOWN]))


def _difference(difference: Difference) -> list[str]:
    name = for_terminal(difference.vocabulary)
    return [
        f"only in {name}: {counted(difference.classes, 'word')}, {difference.words:,} of them in these images, "
        f"{counted(difference.tokens, 'time')}",
        *_words("", difference.listed)[1:],
    ]

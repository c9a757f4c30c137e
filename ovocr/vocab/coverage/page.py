"""A coverage report as an HTML page."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, TypeVar

from ovocr.base.plural import counted
from ovocr.pages.plots import (
    Axis,
    Plot,
    Series,
    category_axis,
    column_plot,
    count_axis,
    line_plot,
    log_axis,
    share_axis,
)
from ovocr.pages.rendering import render_page
from ovocr.views.crop_legibility import CROPS
from ovocr.views.legibility import COMPARED_HEIGHT
from ovocr.vocab.coverage.figures import Coverage, KeptWords, SizePoint, SourceCoverage, share
from ovocr.vocab.coverage.page_search import search_columns, search_extent
from ovocr.vocab.coverage.report import Report
from ovocr.vocab.word_script import script_of

WORDS_TO_LOOK_UP = 200_000
PARTS_SHOWN = 200
KINDS = ("v1", "v2")
"""CSS classes of the colours of the first and the second vocabulary."""

# Lower ends of an axis of shares up to 100%, each with ticks at round percentages.
_LOWEST_SHARES = (0.9, 0.8, 0.6, 0.2, 0.0)
_SHARE_TICKS = 4
_T = TypeVar("_T")
_Row = tuple[str, list[float], Sequence[Any]]  # name, a share for each vocabulary, and its counts


def coverage_page(report: Report) -> str:
    """Returns the page. The same report gives the same bytes."""
    names = _short_names([coverage.vocabulary for coverage in report.coverages])
    coverages = [replace(coverage, vocabulary=names[coverage.vocabulary]) for coverage in report.coverages]
    columns = [search_columns(frequent, report.shards, names) for frequent in report.frequent]
    return render_page(
        __package__,
        script=True,
        title=f"Vocabulary coverage of {' and '.join(names)}",
        report=report,
        coverages=coverages,
        kinds=KINDS[: len(coverages)],
        compared_height=COMPARED_HEIGHT,
        text_crops=CROPS,
        search=columns,
        search_extents=[search_extent(*each) for each in zip(report.frequent, columns, strict=True)],
        images_covered=[share(each.images - each.images_without_words, each.images) for each in coverages],
        classes_read=[share(each.distinct_in_vocabulary, each.vocabulary_size) for each in coverages],
        size_plot=_size_plot(coverages),
        sizes=_sizes(coverages),
        rank_plot=_rank_plot(coverages),
        score_plot=_score_plot(coverages, KINDS[: len(coverages)]),
        words_plot=_words_plot(coverages),
        image_kinds=_image_kinds(coverages),
        bands=_bands(coverages),
        scripts=_scripts(coverages),
        sources=list(zip(*(coverage.data_sets for coverage in coverages), strict=True)),
        least_covered=_least_covered,
        parts_shown=PARTS_SHOWN,
        share=share,
        script_of=script_of,
    )


def _short_names(vocabularies: Sequence[str]) -> dict[str, str]:
    """Returns the file name of each vocabulary, without folders unless two would be alike."""
    short = {name: PurePath(name).name or name for name in vocabularies}
    return short if len(set(short.values())) == len(short) else {name: name for name in short}


def _side_by_side(lists: Iterable[Sequence[_T]], name: Callable[[_T], Any]) -> list[tuple[Any, list[_T | None]]]:
    """Returns the values of each name, one per list; None if a list lacks the name."""
    by_name = [{name(value): value for value in values} for values in lists]
    names = dict.fromkeys(each for values in by_name for each in values)
    return [(each, [values.get(each) for values in by_name]) for each in names]


def _sizes(coverages: Sequence[Coverage]) -> list[tuple[int, list[SizePoint | None]]]:
    sizes = _side_by_side((coverage.by_size for coverage in coverages), lambda point: point.size)
    return sorted(sizes, key=lambda row: row[0])


def _image_kinds(coverages: Sequence[Coverage]) -> list[_Row]:
    """Returns the number of images of each kind."""
    groups = [
        ("no text", [each.images_without_text for each in coverages]),
        ("lines, but no words", [each.images_without_any_word for each in coverages]),
        ("words, but none in the vocabulary", [each.images_outside_vocabulary for each in coverages]),
        *(
            (f"{name.replace('-', '–')} words in the vocabulary", [each.images_by_words[name] for each in coverages])
            for name in coverages[0].images_by_words
            if name != "0"
        ),
    ]
    return [(name, [share(count, coverages[0].images) for count in counts], counts) for name, counts in groups]


def _bands(coverages: Sequence[Coverage]) -> list[_Row]:
    """Returns the classes of each band of frequency."""
    bands = _side_by_side((coverage.class_frequency for coverage in coverages), lambda band: band.band)
    sizes = [coverage.vocabulary_size for coverage in coverages]
    return [
        (
            "never" if name == "0" else "–".join(f"{int(end):,}" for end in name.split("-")),
            [share(band.classes_by_tokens, size) if band else 0.0 for band, size in zip(values, sizes, strict=True)],
            values,
        )
        for name, values in bands
    ]


def _scripts(coverages: Sequence[Coverage]) -> list[_Row]:
    """Returns the coverage of each script."""
    scripts = _side_by_side((coverage.scripts for coverage in coverages), lambda script: script.script)
    return [(name, [each.token_coverage if each else 0.0 for each in values], values) for name, values in scripts]


def _least_covered(data_sets: Sequence[SourceCoverage]) -> list[tuple[SourceCoverage, ...]]:
    """Returns the parts of a data set for each vocabulary; of many parts, only the parts with the least coverage."""
    parts = list(zip(*(data_set.parts for data_set in data_sets), strict=True))
    if len(parts) <= PARTS_SHOWN:
        return parts
    return sorted(parts, key=lambda part: part[0].token_coverage)[:PARTS_SHOWN]


def _size_plot(coverages: Sequence[Coverage]) -> Plot:
    longest = max(coverages, key=lambda coverage: coverage.vocabulary_size)
    best = [
        (point.size, point.best, f"the {point.size:,} most frequent words of the corpus: {point.best:.1%}")
        for point in longest.by_size
    ]
    lines = [
        [
            (
                point.size,
                point.token_coverage,
                f"the first {point.size:,} words of {coverage.vocabulary}: {point.token_coverage:.1%}",
            )
            for point in coverage.by_size
        ]
        for coverage in coverages
    ]
    return line_plot(
        log_axis("first words of the vocabulary", longest.vocabulary_size),
        share_axis("share of all words read"),
        [Series(kind=kind, points=points) for kind, points in zip(("best", *KINDS), [best, *lines], strict=False)],
        label="Share of all words read that the first words of the vocabulary cover",
    )


def _rank_plot(coverages: Sequence[Coverage]) -> Plot:
    lines = []
    for kind, coverage in zip(KINDS, coverages, strict=False):
        points = coverage.rank_frequency
        name = coverage.vocabulary
        images = [(p.rank, p.images, f"class {p.rank:,} of {name}: in {counted(p.images, 'image')}") for p in points]
        tokens = [(p.rank, p.tokens, f"class {p.rank:,} of {name}: read {counted(p.tokens, 'time')}") for p in points]
        lines += [Series(kind=f"{kind} by-images", points=images), Series(kind=kind, points=tokens)]
    every = [point for coverage in coverages for point in coverage.rank_frequency]
    return line_plot(
        log_axis("rank of the class", max((point.rank for point in every), default=1)),
        log_axis("count", max((point.tokens for point in every), default=1)),
        lines,
        label="Frequency of classes by rank",
    )


def _words_plot(coverages: Sequence[Coverage]) -> Plot:
    histograms = [coverage.words_per_image.histogram for coverage in coverages]
    columns = [
        Series(
            kind=kind,
            points=[
                (number, images, f"{counted(images, 'image')} with {name} words of {coverage.vocabulary}")
                for number, (name, images) in enumerate(coverage.words_per_image.histogram.items())
            ],
        )
        for kind, coverage in zip(KINDS, coverages, strict=False)
    ]
    return column_plot(
        list(histograms[0]),
        "distinct vocabulary words in an image",
        count_axis("images", max(max(histogram.values()) for histogram in histograms)),
        columns,
        label="Images by the number of their distinct vocabulary words",
    )


def _score_plot(coverages: Sequence[Coverage], kinds: Sequence[str]) -> Plot | None:
    """Returns the plot of what --min-score keeps; None if no line has a score. kinds: colour of each vocabulary."""
    kept = [coverage.line_scores.kept for coverage in coverages]
    if not all(kept):
        return None
    lines = [Series(kind="best", points=_score_points([(each, each.token_share) for each in kept[0]], "of words kept"))]
    for kind, coverage, own in zip(kinds, coverages, kept, strict=True):
        name = coverage.vocabulary
        images = _score_points([(each, each.image_share) for each in own], f"of images keep a tag of {name}")
        tokens = _score_points([(each, each.token_coverage) for each in own], f"of the kept words are in {name}")
        lines += [Series(kind=f"{kind} by-images", points=images), Series(kind=kind, points=tokens)]
    least = min(value for line in lines for _, value, _ in line.points)
    names = [f"{each.limit:g}" for each in kept[0]]
    return line_plot(category_axis("--min-score", names), _shares_axis(least), lines, label="What --min-score keeps")


def _score_points(values: Sequence[tuple[KeptWords, float]], meaning: str) -> list[tuple[float, float, str]]:
    return [
        (number + 0.5, value, f"--min-score {each.limit:g}: {value:.1%} {meaning}")
        for number, (each, value) in enumerate(values)
    ]


def _shares_axis(least: float) -> Axis:
    low = next(low for low in _LOWEST_SHARES if low <= least)
    values = [low + (1 - low) * step / _SHARE_TICKS for step in range(_SHARE_TICKS + 1)]
    ticks = [(value, f"{100 * value:.3g}%") for value in values]
    return Axis(label="share", low=low, high=1, log=False, ticks=ticks)

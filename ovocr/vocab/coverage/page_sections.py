"""Sections of a coverage page that are plots and figures. One vocabulary or two, side by side."""

from collections.abc import Sequence

from ovocr.pages.document import panel, table, text
from ovocr.vocab.coverage.figures import Coverage, share
from ovocr.vocab.coverage.page_parts import (
    KINDS,
    bar_cell,
    cells,
    details,
    each_head,
    head,
    legend_of,
    percent,
    row,
)
from ovocr.vocab.coverage.plots import Series, bar, column_plot, count_axis, line_plot, log_axis, share_axis


def headline(coverages: Sequence[Coverage]) -> str:
    """The four figures that matter most."""
    figures = [
        _figure(
            "of all words read are in the vocabulary", [f"{each.token_coverage:.1%}" for each in coverages], first=True
        ),
        _figure("of distinct words", [f"{each.distinct_coverage:.1%}" for each in coverages]),
        _figure(
            "of images have a word of it",
            [percent(each.images - each.images_without_words, each.images) for each in coverages],
        ),
        _figure(
            "of its classes occur", [percent(each.distinct_in_vocabulary, each.vocabulary_size) for each in coverages]
        ),
    ]
    shares = [(kind, each.token_coverage) for kind, each in zip(KINDS, coverages, strict=False)]
    label = ", ".join(f"{each.token_coverage:.1%}" for each in coverages)
    two = len(coverages) > 1
    return (
        f'<div class="headline{" two" if two else ""}">\n{legend_of(coverages) if two else ""}'
        f"{''.join(figures)}\n{bar(shares, f'token coverage {label}')}</div>"
    )


def _figure(meaning: str, values: Sequence[str], *, first: bool = False) -> str:
    numbers = "".join(f'<strong class="{kind}">{value}</strong>' for kind, value in zip(KINDS, values, strict=False))
    return f'<div class="figure{" first" if first else ""}">{numbers}<p>{meaning}</p></div>'


def by_size(coverages: Sequence[Coverage]) -> str:
    """Coverage of the first words of a vocabulary."""
    longest = max(coverages, key=lambda coverage: coverage.vocabulary_size)
    lines = [
        Series(
            kind="best",
            points=[
                (point.size, point.best, f"the {point.size:,} most frequent words of the corpus: {point.best:.1%}")
                for point in longest.by_size
            ],
        ),
        *(
            Series(
                kind=kind,
                points=[
                    (
                        point.size,
                        point.token_coverage,
                        f"the first {point.size:,} words of {coverage.vocabulary}: {point.token_coverage:.1%}",
                    )
                    for point in coverage.by_size
                ],
            )
            for kind, coverage in zip(KINDS, coverages, strict=False)
        ),
    ]
    plot = line_plot(
        log_axis("first words of the vocabulary", longest.vocabulary_size),
        share_axis("of all words read"),
        lines,
        label="Share of all words read that the first words of the vocabulary cover",
    )
    return panel(
        "Coverage by vocabulary size",
        "What the first so many words of the vocabulary cover, and what so many words could at best.",
        legend_of(coverages, ("best", "the most frequent words of this corpus"))
        + plot
        + details("As a table", _size_table(coverages)),
    )


def _size_table(coverages: Sequence[Coverage]) -> str:
    best = {point.size: point.best for coverage in coverages for point in coverage.by_size}
    covered = [{point.size: point.token_coverage for point in coverage.by_size} for coverage in coverages]
    rows = (
        row(
            f"{size:,}",
            cells([*(f"{of[size]:.1%}" if size in of else "–" for of in covered), f"{best[size]:.1%}"]),
        )
        for size in sorted(best)
    )
    return table(head("first words") + each_head(coverages, "cover") + head("at best"), rows)


def images_by_words(coverages: Sequence[Coverage]) -> str:
    """How many images have how many words, and what became of those without."""
    bins = list(coverages[0].words_per_image.histogram)
    most = max(max(coverage.words_per_image.histogram.values()) for coverage in coverages)
    columns = [
        Series(
            kind=kind,
            points=[
                (number, images, f"{images:,} images with {name} words of {coverage.vocabulary}")
                for number, (name, images) in enumerate(coverage.words_per_image.histogram.items())
            ],
        )
        for kind, coverage in zip(KINDS, coverages, strict=False)
    ]
    plot = column_plot(
        bins,
        "distinct words of the vocabulary in an image",
        count_axis("images", most),
        columns,
        label="Images by the number of their words that are in the vocabulary",
    )
    return panel(
        "Words per image",
        "Distinct words of an image that are in the vocabulary: the tags that it can have.",
        (legend_of(coverages) if len(coverages) > 1 else "") + plot + _percentiles(coverages),
    )


def _percentiles(coverages: Sequence[Coverage]) -> str:
    names = {"5": "5%", "25": "25%", "50": "median", "75": "75%", "95": "95%", "100": "most"}
    rows = (
        row(
            text(coverage.vocabulary),
            cells(
                [
                    f"{coverage.words_per_image.mean:.1f}",
                    *(f"{coverage.words_per_image.percentiles[percentile]:,}" for percentile in names),
                ]
            ),
        )
        for coverage in coverages
    )
    content = table(head("vocabulary") + head("mean") + "".join(head(name) for name in names.values()), rows)
    return f'<div class="percentiles">{content}</div>'


def image_fates(coverages: Sequence[Coverage]) -> str:
    """Images by what was read in them."""
    groups = [
        ("no line of text", [each.images_without_text for each in coverages]),
        ("lines, but no word", [each.images_without_any_word for each in coverages]),
        ("words, none in the vocabulary", [each.images_outside_vocabulary for each in coverages]),
        *(
            (f"{name.replace('-', '–')} words in the vocabulary", [each.images_by_words[name] for each in coverages])
            for name in coverages[0].images_by_words
            if name != "0"
        ),
    ]
    images = coverages[0].images
    rows = (
        row(
            name,
            bar_cell([share(count, images) for count in counts], ", ".join(percent(count, images) for count in counts))
            + cells(f'{count:,} <span class="faint">{percent(count, images)}</span>' for count in counts),
        )
        for name, counts in groups
    )
    return panel(
        "Images by what was read",
        f"Of {images:,} images. <code>build-labels</code> drops the first two kinds as <code>no-text</code>, "
        "the third as <code>no-word-in-vocabulary</code>.",
        table(head("") + head("", "bars") + each_head(coverages, "images"), rows),
    )


def by_rank(coverages: Sequence[Coverage]) -> str:
    """How often the classes occur, from the most frequent on."""
    lines = [
        Series(
            kind=f"{kind}{dashes}",
            points=[
                (
                    point.rank,
                    getattr(point, unit),
                    f"class {point.rank:,} of {coverage.vocabulary}: {getattr(point, unit):,} {unit}",
                )
                for point in coverage.rank_frequency
            ],
        )
        for kind, coverage in zip(KINDS, coverages, strict=False)
        for unit, dashes in (("images", " by-images"), ("tokens", ""))
    ]
    ranks = max((point.rank for coverage in coverages for point in coverage.rank_frequency), default=1)
    most = max((point.tokens for coverage in coverages for point in coverage.rank_frequency), default=1)
    plot = line_plot(
        log_axis("rank of the class", ranks), log_axis("times", most), lines, label="How often classes occur, by rank"
    )
    dashes = [
        (f"{kind} by-images", f"{text(coverage.vocabulary)}, in how many images")
        for kind, coverage in zip(KINDS, coverages, strict=False)
    ]
    return panel(
        "How often classes occur",
        "Classes from the most frequent to the rarest that occurs; both scales are logarithmic.",
        legend_of(coverages, *dashes) + plot,
    )


def by_frequency(coverages: Sequence[Coverage]) -> str:
    """How many classes occur how often."""
    of = [{band.band: band for band in coverage.class_frequency} for coverage in coverages]
    names = max((list(bands) for bands in of), key=len)
    rows = (
        row(
            "never" if name == "0" else _thousands(name),
            bar_cell(
                [
                    share(bands[name].classes_by_tokens if name in bands else 0, coverage.vocabulary_size)
                    for bands, coverage in zip(of, coverages, strict=True)
                ],
                "share of classes",
            )
            + cells(f"{bands[name].classes_by_tokens:,}" if name in bands else "0" for bands in of)
            + cells(f"{bands[name].classes_by_images:,}" if name in bands else "0" for bands in of),
        )
        for name in names
    )
    columns = each_head(coverages, "classes, by times") + each_head(coverages, "classes, by images")
    return panel(
        "Classes that never occur, once, often",
        "A class learns from the images that have its word; one that never occurs is not learned.",
        table(head("times") + head("share", "bars") + columns, rows),
    )


def _thousands(band: str) -> str:
    return "–".join(f"{int(end):,}" for end in band.split("-"))


def by_script(coverages: Sequence[Coverage]) -> str:
    """Coverage of the words of each script."""
    of = [{script.script: script for script in coverage.scripts} for coverage in coverages]
    names = dict.fromkeys(name for scripts in of for name in scripts)
    rows = []
    for name in names:
        known = [scripts.get(name) for scripts in of]
        shares = [script.token_coverage if script else 0.0 for script in known]
        first = next(script for script in known if script)
        rows.append(
            row(
                name,
                bar_cell(shares, ", ".join(f"{value:.1%}" for value in shares))
                + cells(f"{script.token_coverage:.1%}" if script else "–" for script in known)
                + cells((f"{first.token_share:.1%}", f"{first.tokens:,}", f"{first.distinct_words:,}"))
                + cells(
                    percent(script.distinct_in_vocabulary, script.distinct_words) if script else "–" for script in known
                ),
            )
        )
    columns = each_head(coverages, "words covered") + head("share of all words") + head("words") + head("distinct")
    return panel(
        "By script",
        "A word's script is that of its letters.",
        table(
            head("script") + head("words covered", "bars") + columns + each_head(coverages, "distinct covered"), rows
        ),
    )

"""An evaluation as an HTML page."""

from collections.abc import Mapping

from ovocr.pages.plots import Plot, Series, category_axis, line_plot, tenths_axis
from ovocr.pages.rendering import render_page
from ovocr.trainer.evaluation.evaluate import Evaluation
from ovocr.trainer.evaluation.head_reading import DataSetReading, HeadReading
from ovocr.trainer.measures.bands import HEIGHT_BANDS, UNKNOWN
from ovocr.trainer.measures.word_figures import Figure
from ovocr.trainer.measures.word_measures import why_no_word

# Colours of the lines of data sets, in page.css. Further data sets have the same colours, dashed.
_COLOURS = 6
_CHANCE = 0.5
_LISTED_WORDS = 15  # words that are listed as read best, and as read worst
_SPREAD = 0.5  # part of a band's width over which the points of several data sets are spread


def evaluation_page(evaluation: Evaluation) -> str:
    """Returns the page. The same evaluation gives the same bytes."""
    return render_page(
        __package__,
        images=True,
        title=f"How well {evaluation.run} reads",
        evaluation=evaluation,
        plots={name: text_height_plot(head.reading) for name, head in evaluation.heads.items()},
        why_no_word=why_no_word,
        zip=zip,
        listed_words=_LISTED_WORDS,
        kinds={name: _kinds(_plotted(head.reading)) for name, head in evaluation.heads.items()},
    )


def text_height_plot(reading: HeadReading) -> Plot | None:
    """Returns the plot of word AUC by text height, with a line for each data set.

    None if no class is eligible in any band of known heights.
    """
    names = [band for band in HEIGHT_BANDS if band != UNKNOWN]
    data_sets = _plotted(reading)
    lines, least = [], _CHANCE
    for number, ((name, kind), each) in enumerate(zip(_kinds(data_sets).items(), data_sets.values(), strict=True)):
        shift = _SPREAD * ((number + 0.5) / len(data_sets) - 0.5)
        points, intervals = [], []
        for band, title in enumerate(names):
            figure = each.words.by_text_height[title].word_auc
            if figure.value is None:
                continue
            at = band + 0.5 + shift
            points.append((at, figure.value, _tooltip(name, title, figure)))
            least = min(least, figure.value)
            if figure.low is not None and figure.high is not None:
                intervals.append((at, figure.low, figure.high))
                least = min(least, figure.low)
        if points:
            lines.append(Series(kind=kind, points=points, intervals=intervals))
    if not lines:
        return None
    chance = Series(kind="chance", points=[(0, _CHANCE, ""), (len(names), _CHANCE, "")])
    return line_plot(
        category_axis("text height in the input, pixels", names),
        tenths_axis("word AUC", least),
        [chance, *lines],
        label="Word AUC by text height",
    )


def _plotted(reading: HeadReading) -> Mapping[str, DataSetReading]:
    """Returns each data set by its name; a single one has no name."""
    return reading.data_sets or {"": reading.every}


def _kinds(names: Mapping[str, DataSetReading]) -> dict[str, str]:
    """Returns the CSS classes of each data set's line."""
    return {name: f"d{number % _COLOURS + 1}{' dashed' * (number >= _COLOURS)}" for number, name in enumerate(names)}


def _tooltip(data_set: str, band: str, figure: Figure) -> str:
    interval = "" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})"
    where = f"{data_set}, " if data_set else ""
    return f"{where}{band.replace('-', '–')} pixels: {figure.value:.3f}{interval}, {figure.classes:,} classes"

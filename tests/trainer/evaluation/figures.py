"""Made-up measures of reading, for tests of reports."""

from ovocr.trainer.measures.bands import FREQUENCY_BANDS, HEIGHT_BANDS
from ovocr.trainer.measures.word_figures import ChanceFigure, Figure, GroupFigures, WordMeasures

NO_FIGURES = GroupFigures(Figure(None, None, None, 0), ChanceFigure(None, None, None, 0, None))


def figures(
    value: float = 0.812, low: float | None = 0.79, high: float | None = 0.833, classes: int = 31
) -> GroupFigures:
    return GroupFigures(Figure(value, low, high, classes), ChanceFigure(0.231, 0.21, 0.255, classes, 0.043))


def word_measures(*, images: int, every: GroupFigures | None = None) -> WordMeasures:
    """Returns measures with figures in the bands 6-8, 8-12 and unknown, one script and one band of frequency."""
    heights = dict.fromkeys(HEIGHT_BANDS, NO_FIGURES)
    heights |= {"6-8": figures(0.6, 0.5, 0.7, 5), "8-12": figures(classes=9), "unknown": figures(0.9, None, None, 7)}
    return WordMeasures(
        every=every or figures(),
        by_text_height=heights,
        by_script={"Latin": figures()},
        by_frequency={**dict.fromkeys(FREQUENCY_BANDS, NO_FIGURES), "never": figures(classes=2)},
        classes=(),
        images=images,
        groups=images,
        min_text_height=8.0,
        replicates=1000,
    )

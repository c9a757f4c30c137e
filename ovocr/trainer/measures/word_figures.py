"""The results of the measures of reading: figures with intervals, in total and by groups of tags."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Figure:
    """A mean over classes.

    value: None if no class is eligible.
    low, high: 95% bootstrap interval; None if there is no value, or fewer than two images or groups.
    classes: number of eligible classes.
    """

    value: float | None
    low: float | None
    high: float | None
    classes: int

    def to_json(self) -> dict[str, Any]:
        """Returns all fields."""
        return asdict(self)


@dataclass(frozen=True)
class ChanceFigure(Figure):
    """A figure beside its chance level: its value for a constant answer. None if no class is eligible."""

    chance: float | None


@dataclass(frozen=True)
class GroupFigures:
    """Word AUC and word mAP of a group of tags."""

    word_auc: Figure
    word_map: ChanceFigure

    def to_json(self) -> dict[str, Any]:
        """Returns both figures by name."""
        return {"word_auc": self.word_auc.to_json(), "word_map": self.word_map.to_json()}


class ClassFigures(NamedTuple):
    """The figures of one eligible class. images: number of positives, which are images or crops."""

    class_id: int
    images: int
    auc: float
    average_precision: float


@dataclass(frozen=True)
class WordMeasures:
    """The measures of reading of one data set.

    every: the headline: all tags of at least the minimum text height, or of unknown height.
    by_text_height: every band of HEIGHT_BANDS.
    by_script: the scripts with an eligible class, most classes first; empty if the classes have no words.
    by_frequency: every band of FREQUENCY_BANDS, rarest first; empty if no training data were counted.
    classes: the eligible classes of the headline, ascending by class id; only those of this rank.
    images: number of images. groups: number of groups that were resampled; equal to images if there are no groups.
    min_text_height: see measure_words. replicates: number of bootstrap replicates.
    """

    every: GroupFigures
    by_text_height: dict[str, GroupFigures]
    by_script: dict[str, GroupFigures]
    by_frequency: dict[str, GroupFigures]
    classes: tuple[ClassFigures, ...]
    images: int
    groups: int
    min_text_height: float
    replicates: int

    def to_json(self) -> dict[str, Any]:
        """Returns the figures: word_auc, word_map, by_text_height, by_script, by_frequency."""
        grouped = {name: getattr(self, name) for name in ("by_text_height", "by_script", "by_frequency")}
        return {
            **self.every.to_json(),
            **{
                name: {group: figures.to_json() for group, figures in groups.items()}
                for name, groups in grouped.items()
            },
        }

"""The result of an evaluation during training: for metrics.jsonl, trackers, checkpoints and the terminal."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ovocr.base.plural import counted
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.measures.word_figures import Figure, WordMeasures
from ovocr.trainer.measures.word_measures import why_no_word
from ovocr.trainer.prior.image_sketch import Overlap
from ovocr.trainer.runs.best_checkpoint import SavedEvaluation


@dataclass(frozen=True)
class DataSetResult:
    """The measures of a head on one data set.

    images: number of images that were evaluated or skipped. skipped: number of damaged images. whole_crops: number of
    crops that show the whole image; None if images are not cropped. trained_on: how many of the images are training
    images.
    """

    measures: WordMeasures
    images: int
    skipped: int
    whole_crops: int | None = None
    trained_on: Overlap | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the counts, in which crops count as images, then the figures."""
        counts = {"images": self.measures.images, "skipped": self.skipped, "whole_crops": self.whole_crops}
        counts["trained_on"] = None if self.trained_on is None else self.trained_on.number
        return {**counts, "groups": self.measures.groups, **self.measures.to_json()}


@dataclass(frozen=True)
class EvaluationResult:
    """The results of an evaluation by head and data set.

    settings: the settings of the evaluation. seconds: its duration. is_best: whether the mean word AUC is higher than
    those of all checkpoints before.
    """

    heads: dict[str, dict[str, DataSetResult]]
    settings: EvaluationConfig
    seconds: float
    is_best: bool = False

    @property
    def mean_word_auc(self) -> float | None:
        """Mean word AUC over heads and data sets; None if no class of any of them is eligible."""
        values = [value for _, _, result in self._all() if (value := _word_auc(result).value) is not None]
        return sum(values) / len(values) if values else None

    def to_record(self) -> dict[str, Any]:
        """Returns the entries of a line of metrics.jsonl."""
        return {
            "evaluation": {
                head: {name: result.to_json() for name, result in results.items()}
                for head, results in self.heads.items()
            },
            "evaluation_mean_word_auc": self.mean_word_auc,
            "evaluation_s": self.seconds,
        }

    def to_saved(self) -> SavedEvaluation:
        """Returns what the state of a checkpoint records."""
        word_auc: dict[str, dict[str, float | None]] = {head: {} for head in self.heads}
        images: dict[str, dict[str, int]] = {head: {} for head in self.heads}
        for head, name, result in self._all():
            word_auc[head][name], images[head][name] = _word_auc(result).value, result.images
        settings = self.settings
        crops = (settings.crops, settings.crop_text_height, settings.crop_context)
        return SavedEvaluation(self.mean_word_auc, word_auc, images, settings.min_text_height, *crops)

    def scalars(self) -> dict[str, float]:
        """Returns the curves of experiment trackers by name; figures without a value are left out."""
        values: dict[str, float | None] = {"mean_word_auc": self.mean_word_auc, "seconds": self.seconds}
        for head, name, result in self._all():
            where, auc = f"{head}/{name}", _word_auc(result)
            values[f"{where}/word_auc"], values[f"{where}/low"], values[f"{where}/high"] = auc.value, auc.low, auc.high
            values[f"{where}/word_map"] = result.measures.every.word_map.value
            for band, figures in result.measures.by_text_height.items():
                values[f"{where}/by_text_height/{_tag_of_band(band)}"] = figures.word_auc.value
        return {f"evaluation/{name}": value for name, value in values.items() if value is not None}

    def format(self) -> str:
        """Returns one line to print."""
        heads = (f"{head} on {', '.join(self._data_sets(head))}" for head in self.heads)
        parts = [f"word AUC of {'; of '.join(heads)}"]
        if self.mean_word_auc is not None and sum(map(len, self.heads.values())) > 1:
            parts.append(f"mean {self.mean_word_auc:.3f}")
        if self.is_best:
            parts.append("the best so far")
        parts.append(f"{self.seconds:.1f} s")
        if any(_word_auc(result).value is None for _, _, result in self._all()):
            advice = "lower evaluation.min_text_height, raise image_size, or take more images"
            parts.append(f"none: {why_no_word(self.settings.min_text_height)}; {advice}")
        return "; ".join(parts)

    def _data_sets(self, head: str) -> Iterator[str]:
        for name, result in self.heads[head].items():
            auc = _word_auc(result)
            interval = "" if auc.low is None or auc.high is None else f" ({auc.low:.3f} to {auc.high:.3f})"
            value = "none" if auc.value is None else f"{auc.value:.3f}{interval}"
            skipped = f", {counted(result.skipped, 'damaged image')} skipped" if result.skipped else ""
            yield f"{name}: {value}{skipped}"

    def _all(self) -> Iterator[tuple[str, str, DataSetResult]]:
        for head, results in self.heads.items():
            for name, result in results.items():
                yield head, name, result


def _word_auc(result: DataSetResult) -> Figure:
    return result.measures.every.word_auc


def _tag_of_band(band: str) -> str:
    """Returns the name of a band of text height without characters that names of curves should not have."""
    return re.sub(r"^<", "below_", re.sub(r"\+$", "_and_more", band))

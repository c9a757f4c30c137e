"""Evaluations in the states of checkpoints, and the best checkpoint of a run by its word AUC.

What is best is derived from the complete checkpoints alone, so a run can be killed at any moment.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.files import write_text
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.runs.checkpoint import STATE_FILE, complete_checkpoints, read_state

_KEY = "evaluation"
_RANGES = ("crop_text_height", "crop_context")


@dataclass(frozen=True)
class SavedEvaluation:
    """The evaluation after a checkpoint's step, as its state records it.

    mean_word_auc: mean of the word AUCs; None if no class of any data set is eligible.
    word_auc: by head and data set; None if no class is eligible.
    images: number of images by head and data set.
    min_text_height: smallest text height of the tags that count, pixels.
    crops: crops of each image; 0 for whole images.
    crop_text_height: their text heights, pixels; None for whole images and for crops by the settings of the head.
    crop_context: with text heights, the shares of the surroundings of the drawn words.
    """

    mean_word_auc: float | None
    word_auc: Mapping[str, Mapping[str, float | None]]
    images: Mapping[str, Mapping[str, int]]
    min_text_height: float
    crops: int = 0
    crop_text_height: tuple[float, float] | None = None
    crop_context: tuple[float, float] = (1.0, 1.0)

    def to_state(self) -> dict[str, Any]:
        """Returns the entry of a checkpoint's state."""
        return {_KEY: asdict(self)}

    def is_of(self, images: Mapping[str, Mapping[str, int]], settings: EvaluationConfig) -> bool:
        """Returns True if it evaluated as many images of the same heads and data sets, with these settings."""
        wanted = (images, settings.min_text_height, settings.crops, settings.crop_text_height, settings.crop_context)
        return self._measured == wanted

    @property
    def _measured(self) -> tuple[Any, ...]:
        """What was measured: evaluations that differ in it cannot be compared."""
        return (self.images, self.min_text_height, self.crops, self.crop_text_height, self.crop_context)

    def is_better(self, other: "SavedEvaluation") -> bool:
        """Returns True if the mean word AUC is higher, or if the other evaluation measured something else."""
        if self.mean_word_auc is None:
            return False
        is_same = self._measured == other._measured
        return not is_same or other.mean_word_auc is None or self.mean_word_auc > other.mean_word_auc


def read_evaluation(checkpoint: Path) -> SavedEvaluation | None:
    """Returns the evaluation of a checkpoint; None if it has none. Raises OvocrError if its state cannot be read."""
    entry = read_state(checkpoint).get(_KEY)
    if entry is None:
        return None
    names = {field.name for field in fields(SavedEvaluation)}
    required = {field.name for field in fields(SavedEvaluation) if field.default is MISSING}
    if not isinstance(entry, dict) or not required <= entry.keys() <= names:
        raise OvocrError(f"{checkpoint / STATE_FILE}: {_KEY}: must have {', '.join(sorted(required))}")
    wrong = [name for name, value in entry.items() if not _is_valid(name, value)]
    if wrong:
        raise OvocrError(f"{checkpoint / STATE_FILE}: {_KEY}: {wrong[0]} is not one; remove {checkpoint}")
    ranges = {name: tuple(entry[name]) for name in _RANGES if entry.get(name) is not None}
    return SavedEvaluation(**entry | ranges)


def _is_valid(name: str, value: Any) -> bool:
    """Returns whether a value of a saved evaluation has its type."""
    if name in _RANGES:
        is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        return is_pair or (value is None and name == "crop_text_height")
    if name in ("word_auc", "images"):
        return isinstance(value, dict) and all(isinstance(own, dict) for own in value.values())
    return _is_number(value) or (value is None and name == "mean_word_auc")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def add_evaluation(checkpoint: Path, evaluation: SavedEvaluation) -> None:
    """Adds an evaluation to the state of a complete checkpoint."""
    state = read_state(checkpoint) | evaluation.to_state()
    write_text(checkpoint / STATE_FILE, json.dumps(state, indent=1, sort_keys=True) + "\n")


def best_checkpoint(folder: Path) -> Path | None:
    """Returns the complete checkpoint with the highest mean word AUC, the first of equal ones; None if none has one.

    When the settings of the evaluation change, the first evaluation with the new ones is better than all before.

    Raises OvocrError if the state of a checkpoint cannot be read.
    """
    best: tuple[Path, SavedEvaluation] | None = None
    for path in complete_checkpoints(folder):
        evaluation = read_evaluation(path)
        if evaluation is not None and evaluation.mean_word_auc is not None:
            best = (path, evaluation) if best is None or evaluation.is_better(best[1]) else best
    return None if best is None else best[0]

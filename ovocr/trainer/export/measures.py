"""The measures of reading that a model card shows: of an evaluation file, or of the run's own evaluation."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.object_store import is_url
from ovocr.trainer.runs.checkpoint import checkpoint_hash
from ovocr.trainer.training.model import TrainedRun


@dataclass(frozen=True)
class HeadMeasures:
    """The figures of a head on some data, as JSON of ``ovocr eval`` and lines of metrics.jsonl have them.

    data: name of the data set. trained_on: how many of the images are training images; None if
    unknown. recall: recall@10 of the head and of the prior; None if not measured.
    """

    head: str
    data: str
    images: int
    word_auc: dict[str, Any]
    word_map: dict[str, Any]
    trained_on: int | None
    recall: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError, KeyError or TypeError if a figure is none: the file may have been changed."""
        figures = (self.word_auc, self.word_map)
        values = [figure["value"] for figure in figures if figure["value"] is not None]
        values += [figure[name] for figure in figures for name in ("low", "high") if figure["low"] is not None]
        counts = [self.images, self.word_auc["classes"], *([] if self.trained_on is None else [self.trained_on])]
        if not all(map(_is_count, counts)) or not all(map(_is_number, (*values, *(self.recall or ())))):
            raise ValueError("a figure is not a number")


@dataclass(frozen=True)
class Measures:
    """Figures and what they are of. crops: crops of each image; 0 for whole images. min_text_height: pixels."""

    heads: tuple[HeadMeasures, ...]
    crops: int
    min_text_height: float

    def __post_init__(self) -> None:
        """Raises ValueError if a setting is not a number."""
        if not _is_count(self.crops) or not _is_number(self.min_text_height):
            raise ValueError("a setting is not a number")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def read_measures(path: Path, trained: TrainedRun) -> Measures:
    """Reads the JSON of ``ovocr eval``. Raises UsageError if it is not such a file or of another checkpoint."""
    step = trained.step
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["step"] != step:
            raise UsageError(
                f"--measures {path}: was measured after {found['step']} steps, the export is of step {step}; "
                f"choose the checkpoint with --step {found['step']}, or evaluate this one"
            )
        if found["checkpoint"] != checkpoint_hash(trained.folder.checkpoint(step)):
            raise UsageError(f"--measures {path}: was measured on another run; evaluate {trained.folder.root}")
        names = [_name(location) for location in found["data"]]
        heads = tuple(row for name, head in found["heads"].items() for row in _evaluated_head(name, head, names))
        return Measures(heads, found["crops"], found["min_text_height"])
    except OSError as error:
        raise UsageError(f"--measures {path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"--measures {path}: is not the JSON that `ovocr eval --json` writes") from error


def _evaluated_head(head: str, figures: dict[str, Any], names: list[str]) -> Iterator[HeadMeasures]:
    """Yields the figures on each data set, if there are several, and on all. names: of the data sets."""
    for root, own in figures.get("data_sets", {}).items():
        yield _row(head, _name(root), own)
    recall = (figures["recall@10"], figures["prior_recall@10"]) if "recall@10" in figures else None
    yield replace(_row(head, names[0] if len(names) == 1 else "all together", figures), recall=recall)


def _name(location: str) -> str:
    """Returns the name of a data set in a model card: the last part of a path, or a URL."""
    return location if is_url(location) else Path(location).name


def _row(head: str, data: str, figures: dict[str, Any]) -> HeadMeasures:
    trained_on = figures["trained_on"]["images"]
    return HeadMeasures(head, data, figures["images"], figures["word_auc"], figures["word_map"], trained_on)


def measures_of_run(trained: TrainedRun) -> Measures | None:
    """Returns the run's own evaluation after the checkpoint's step; None if it has none.

    Raises OvocrError if the metrics cannot be read.
    """
    path = trained.folder.metrics_path
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as lines:
            record = next((record for line in lines if (record := _record_of(line, trained.step))), None)
        if record is None or "evaluation" not in record:
            return None
        heads = tuple(_heads_of_run(record["evaluation"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OvocrError(f"{path}: the evaluation after step {trained.step} cannot be read: {error}") from error
    settings = trained.config.evaluation
    return Measures(heads, settings.crops, settings.min_text_height)


def _record_of(line: str, done: int) -> dict[str, Any] | None:
    """Returns the record of a line of metrics.jsonl; None unless it is of step ``done`` - 1, the last of ``done``."""
    if f'"step": {done - 1},' not in line:  # does not parse the other lines of a long run
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # a killed run can leave a partial line
        return None
    return record if isinstance(record, dict) and record.get("step") == done - 1 else None


def _heads_of_run(evaluation: dict[str, dict[str, Any]]) -> Iterator[HeadMeasures]:
    for head, data_sets in evaluation.items():
        for data, figures in data_sets.items():
            auc, average_precision = figures["word_auc"], figures["word_map"]
            yield HeadMeasures(head, data, figures["images"], auc, average_precision, figures.get("trained_on"))

"""Which heads of a run fit the data that it is evaluated on, and those data as samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.config.sections import HeadConfig
from ovocr.trainer.data.head_data import open_samples
from ovocr.trainer.data.records import vocabulary_sha256
from ovocr.trainer.data.samples import Sample, Samples


@dataclass(frozen=True)
class HeadClasses:
    """What the classes of a trained head are.

    kind: image, ocr or video. number: of class centers. vocabulary_sha256: empty where they are mere numbers.
    """

    kind: str
    number: int
    vocabulary_sha256: str


class CroppedSamples:
    """Samples of which each stands ``count`` times, in another of the parts that its head's settings draw of it."""

    def __init__(self, whole: Samples, count: int) -> None:
        self._whole, self._count = whole, count
        self.parts = [count * part for part in whole.parts]
        self.vocabulary_path = whole.vocabulary_path

    def __len__(self) -> int:
        return self._count * len(self._whole)

    def load(self, index: int, position: int | None = None) -> Sample:
        """As ``Samples.load``; its number is a sample's position, so that the same parts are drawn each time."""
        return self._whole.load(index // self._count, index)

    def name(self, index: int) -> str:
        """As ``Samples.name``, and which part."""
        return f"{self._whole.name(index // self._count)}, part {index % self._count + 1}"

    def class_counts(self) -> NDArray[np.int64]:
        """As ``Samples.class_counts``, of whole pictures."""
        return self._whole.class_counts()


def choose_heads(run: Path, heads: dict[str, HeadClasses], data: Sequence[Path], wanted: str | None) -> list[str]:
    """Names of the heads that fit all data: the wanted one, or None for every head that does.

    Raises UsageError for a head that the run does not have, OvocrError where none fits, saying why, or data cannot be
    read.
    """
    if wanted is not None and wanted not in heads:
        raise UsageError(f"--head: {wanted!r} is not a head of this run; it has {', '.join(heads)}")
    candidates = list(heads) if wanted is None else [wanted]
    misfits = {name: next(filter(None, (_misfit(heads[name], root) for root in data)), "") for name in candidates}
    fitting = [name for name, misfit in misfits.items() if not misfit]
    if fitting:
        return fitting
    if len(misfits) == 1:
        ((name, misfit),) = misfits.items()
        raise OvocrError(f"{misfit} (head {name})")
    reasons = "; ".join(f"{name}: {misfit}" for name, misfit in misfits.items())
    raise OvocrError(f"{run}: no head fits the data: {reasons}")


def open_evaluated(
    settings: HeadConfig,
    data: Sequence[Path],
    *,
    num_classes: int,
    image_size: int,
    crops: int = 0,
    label: str = "--data",
) -> Samples:
    """The data of a head as samples, letterboxed to image_size pixels.

    crops: parts of each picture, drawn as in training but not by the run's seed; 0: it is shown whole.
    label: what a message calls them. Raises OvocrError where they cannot be read.
    """
    try:
        samples = open_samples(settings, data, num_classes=num_classes, image_size=image_size)
    except OvocrError as error:
        raise OvocrError(f"{label}: {error}") from error
    return CroppedSamples(samples, crops) if crops else samples


def _misfit(head: HeadClasses, root: Path) -> str:
    """Why a data set is none of a head's; empty where it is."""
    if head.kind == "video":
        return "" if root.is_file() else f"{root}: not a file; heads of kind video take lists of videos"
    if root.is_file():
        return f"{root}: a file; heads of kind {head.kind} take labelled data sets, which are folders"
    data_set = LabelledDataSet.open(root)
    found, wanted = vocabulary_sha256(data_set), head.vocabulary_sha256
    if found != wanted:
        if not found:
            return f"{root}: its tags are class ids without a vocabulary, the head's are words"
        if not wanted:
            return f"{root}: its tags are words of a vocabulary, the head's are class ids without one"
        return f"{root}: its tags are of another vocabulary ({found[:12]}…) than the run's ({wanted[:12]}…)"
    classes = data_set.manifest().num_classes
    if not wanted and classes > head.number:
        return f"{root}: its tags are of {classes:,} classes, the head has {head.number:,}"
    return ""

"""The measures of reading of a head: on all data, and on each data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.escape import as_text
from ovocr.dataset.access.opening import DataLocation
from ovocr.dataset.holdout.group_table import GroupTable
from ovocr.trainer.config.evaluation import MIN_TEXT_HEIGHT, REPLICATES
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.evaluation.embedded_samples import EmbeddedSamples
from ovocr.trainer.measures.class_names import ClassNames
from ovocr.trainer.measures.word_figures import WordMeasures
from ovocr.trainer.measures.word_measures import OwnCenters, measure_words


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """Options of the measures of reading.

    groups: table of the groups that are resampled; None resamples images. Others: see measure_words.
    """

    groups: GroupTable | None = None
    min_text_height: float = MIN_TEXT_HEIGHT
    replicates: int = REPLICATES
    seed: int = 0


class WordReading(NamedTuple):
    """How well one word is read. images: number of images (or crops) that show it in legible text."""

    word: str
    images: int
    auc: float
    average_precision: float


@dataclass(frozen=True)
class DataSetReading:
    """The measures of reading on some images.

    images_without_group: number of images that are not in the table of groups; None if there is no table.
    skipped: number of damaged images.
    whole_crops: number of crops that show the whole image; None if images are not cropped.
    by_word: the eligible classes, highest AUC first.
    """

    words: WordMeasures
    images_without_group: int | None
    skipped: int = 0
    whole_crops: int | None = None
    by_word: tuple[WordReading, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns images, skipped, whole_crops, groups, images_without_group, the figures, and those of each word."""
        counts = {"images": self.words.images, "skipped": self.skipped, "whole_crops": self.whole_crops}
        groups = {"groups": self.words.groups, "images_without_group": self.images_without_group}
        return {**counts, **groups, **self.words.to_json(), "words": [word._asdict() for word in self.by_word]}


@dataclass(frozen=True)
class HeadReading:
    """The measures of reading of one head. data_sets: by folder; empty if there is one data set."""

    every: DataSetReading
    data_sets: dict[str, DataSetReading]

    def to_json(self) -> dict[str, Any]:
        """Returns the figures on all data, and in ``data_sets`` those of each, if there are several."""
        figures = self.every.to_json()
        if self.data_sets:
            figures["data_sets"] = {name: reading.to_json() for name, reading in self.data_sets.items()}
        return figures


def measure_reading(
    embedded: EmbeddedSamples,
    centers: OwnCenters,
    names: ClassNames,
    samples: Samples,
    roots: Sequence[DataLocation],
    *,
    class_counts: NDArray[np.int64],
    crops: int,
    options: ReadingOptions,
    progress: str,
) -> HeadReading:
    """Returns the measures of reading.

    samples: all samples, also the damaged ones. roots: their data sets, in order. class_counts: number of training
    samples by class id. crops: samples per image, 0 for whole images; the crops of an image are in one group. progress:
    label of the progress bars.

    Raises OvocrError if no image is in the table of groups, or embeddings are not finite.
    """
    per_image = max(1, crops)
    images_N = embedded.numbers_N // per_image
    groups_N, has_group_N = _groups(samples, images_N, crops, options.groups)
    is_first_N = np.diff(images_N, prepend=-1) > 0  # the first crop of each image

    def measure(start: int, end: int, label: str) -> DataSetReading:
        """Returns the measures of the samples with the numbers start to end - 1."""
        rows = slice(*np.searchsorted(embedded.numbers_N, (start, end)).tolist())
        words = measure_words(
            embedded.embeddings_ND[rows],
            embedded.tags.images(rows.start, rows.stop),
            centers,
            images_N=images_N[rows] if crops else None,
            groups_N=None if groups_N is None else groups_N[rows],
            class_counts=class_counts,
            script_of_class=names.script if names.are_words else None,
            min_text_height=options.min_text_height,
            replicates=options.replicates,
            seed=options.seed,
            progress=label,
        )
        by_word = [
            WordReading(names.word(own.class_id), own.images, own.auc, own.average_precision) for own in words.classes
        ]
        damaged = np.setdiff1d(np.arange(start, end), embedded.numbers_N[rows])
        return DataSetReading(
            words,
            None if has_group_N is None else int((~has_group_N & is_first_N)[rows].sum()),
            skipped=len(np.unique(damaged // per_image)),
            whole_crops=int(embedded.is_whole_N[rows].sum()) if crops else None,
            by_word=tuple(sorted(by_word, key=lambda each: (-each.auc, each.word))),
        )

    ends = np.cumsum(samples.parts).tolist()
    data_sets: dict[str, DataSetReading] = {}
    if len(roots) > 1:
        for root, start, end in zip(roots, [0, *ends[:-1]], ends, strict=True):
            data_sets[as_text(str(root))] = measure(start, end, f"{progress}, data set {len(data_sets) + 1}")
    return HeadReading(measure(0, ends[-1], progress), data_sets)


def _groups(
    samples: Samples, images_N: NDArray[np.int64], crops: int, table: GroupTable | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_] | None]:
    """Returns the group of each embedded sample, int64 [N], and whether it is in the table, bool [N].

    None for samples that are a group each, and without a table. images_N: the number of each sample's image.
    """
    if table is None:
        return (images_N if crops else None), None
    groups_N = table.of_images(samples.image_keys()[:: max(1, crops)])[images_N]
    return groups_N, groups_N < len(table)

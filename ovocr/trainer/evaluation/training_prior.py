"""The prior of a trained head: what its run has kept, or counted again from its training data."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.dataset.access.opening import DataLocation
from ovocr.trainer.data.evaluation_data import open_evaluation_data
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.data.stored.store_reading import open_reading
from ovocr.trainer.prior.image_sketch import Overlap
from ovocr.trainer.prior.prior import Prior, say_trained_on
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training.model import TrainedRun


@dataclass(frozen=True)
class TrainedOn:
    """How many of the evaluated images a head was trained on. data_sets: of each folder or list, in order."""

    data_sets: tuple[Overlap, ...]

    @property
    def every(self) -> Overlap:
        """The images of all data sets."""
        return sum(self.data_sets, Overlap(0, 0, 0))

    @classmethod
    def measure(cls, prior: Prior, samples: Samples, per_image: int) -> "TrainedOn":
        """Compares the images of samples with the training images. per_image: samples of each image.

        Raises OvocrError if a table of the data cannot be read.
        """
        hashes = np.concatenate([np.empty(0, np.uint64), *samples.image_hashes()])
        ends = np.cumsum(samples.parts)[:-1] // per_image
        return cls(tuple(prior.sketch.overlap(own) for own in np.split(hashes, ends)))

    def say(self, head: str, roots: Sequence[DataLocation]) -> None:
        """Tells the user, in a line for each data set with training images."""
        for root, overlap in zip(roots, self.data_sets, strict=True):
            if overlap.found:
                say_trained_on(f"--data {root}", head, overlap)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures of all images."""
        return self.every.to_json()


def load_prior(trained: TrainedRun, name: str, image_size: int) -> Prior:
    """Returns the prior of a head that the run has kept, or counts it from the training data and stores it there.

    Raises OvocrError if the file is damaged, or if there is none and the training data cannot be read.
    """
    path, classes = trained.folder.prior_path(name), trained.model.heads[name].num_classes
    trained_images = trained.training_images.get(name)
    kept = Prior.load(path)
    if kept is not None and kept.is_of(trained_images, classes):
        return kept
    settings = trained.config.heads[name]
    label = f"heads.{name}.data (the prior, which the run has not kept)"
    if not all(isinstance(root, str) or root.is_absolute() for root in settings.data):
        label += f", relative to {Path.cwd()}"
    samples = open_evaluation_data(
        settings,
        settings.data,
        num_classes=classes,
        image_size=image_size,
        label=label,
        reading=open_reading(trained.config.loader, settings.data),
    )
    prior = Prior.count(samples, classes, Ranks(), trained.device)
    if not prior.is_of(trained_images, classes):
        _say(
            f"heads.{name}.data: has {prior.images:,} images, but the run was trained on {trained_images:,}; the prior "
            "is that of the data as they are now, and is not kept"
        )
        return prior
    try:
        prior.save(path)
    except OSError as error:
        _say(f"{path}: the prior cannot be kept: {error.strerror}; the next evaluation counts it again")
    return prior


def _say(line: str) -> None:
    print(f"ovocr: {line}", file=sys.stderr, flush=True)

"""Reads words in images with a trained encoder: the class centers nearest to an image's embedding."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import for_terminal
from ovocr.trainer.data.images import DecodeError, load_image
from ovocr.trainer.evaluation.sampling_correction import SamplingCorrection, sampling_correction
from ovocr.trainer.heads.ranking import nearest_centers
from ovocr.trainer.ranks.distributed import choose_device
from ovocr.trainer.training.model import TrainedRun


@dataclass(frozen=True)
class Reading:
    """Words found in one image, most likely first, each with its score: the cosine, corrected if requested."""

    image: Path
    words: list[tuple[str, float]]

    def format(self) -> str:
        """Returns text for a terminal: the image's path, then a line per word."""
        lines = [f"  {score:6.3f}  {for_terminal(word)}" for word, score in self.words]
        return "\n".join([f"{for_terminal(str(self.image))}:", *lines])


def read_words(
    run: Path,
    images: list[Path],
    *,
    head: str | None = None,
    top_k: int = 10,
    device: str = "auto",
    step: int | Literal["best"] | None = None,
    correct_sampling: bool = False,
) -> Iterator[Reading | OvocrError]:
    """Reads JPEG, PNG and WebP files with a checkpoint of a run; yields words or an error for each.

    head: name of the head; None selects the only head with a vocabulary. A head without a vocabulary answers class ids.
    step: number of steps of the checkpoint, or "best"; None selects the newest.
    correct_sampling: whether the words are ranked by corrected scores, see ``sampling_correction``.

    Raises OvocrError if the run cannot be read or has no counts for the correction, UsageError for an unknown head.
    """
    trained = TrainedRun.load(run, choose_device(device), step)
    name = head or _head_with_words(trained)
    if name not in trained.config.heads:
        raise UsageError(f"--head: {name!r} is not a head of this run; it has {', '.join(trained.config.heads)}")
    correction = sampling_correction(trained, name) if correct_sampling else SamplingCorrection(None)
    for image in images:
        try:
            yield _read(trained, name, image, top_k, correction)
        except OvocrError as error:
            yield error


def _read(trained: TrainedRun, head: str, image: Path, top_k: int, correction: SamplingCorrection) -> Reading:
    try:
        encoded = image.read_bytes()
    except OSError as error:
        raise UsageError(f"{image}: cannot be read: {error.strerror}") from error
    try:
        size = trained.config.heads[head].image_size or trained.config.backbone.image_size
        pixels = torch.from_numpy(load_image(encoded, size))
    except DecodeError as error:
        raise DecodeError(f"{image}: {error}") from error
    embedding = trained.embed(head, pixels.unsqueeze(0))
    scores, classes = nearest_centers(embedding, trained.model.heads[head].weight, top_k, correction.added_C)
    vocabulary = trained.vocabularies.get(head)
    names = [vocabulary.word(c) if vocabulary is not None else f"class {c}" for c in classes[0].tolist()]
    return Reading(image, list(zip(names, scores[0].tolist(), strict=True)))


def _head_with_words(trained: TrainedRun) -> str:
    """Returns the default head. Raises UsageError if there are several candidates."""
    heads = list(trained.vocabularies) or list(trained.config.heads)
    if len(heads) > 1:
        raise UsageError(f"--head: the run has several heads; choose one of {', '.join(heads)}")
    return heads[0]

"""The words that a trained encoder sees in a picture: the nearest class centers to its embedding."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import for_terminal
from ovocr.trainer.data.images import DecodeError, load_image
from ovocr.trainer.heads.ranking import nearest_centers
from ovocr.trainer.ranks.distributed import choose_device
from ovocr.trainer.training.model import TrainedRun


@dataclass(frozen=True)
class Reading:
    """Words seen in one picture, likeliest first, each with its cosine to the picture's embedding."""

    picture: Path
    words: list[tuple[str, float]]

    def format(self) -> str:
        """For a terminal: the picture's path, then a line a word."""
        lines = [f"  {score:6.3f}  {for_terminal(word)}" for word, score in self.words]
        return "\n".join([f"{for_terminal(str(self.picture))}:", *lines])


def read_words(
    run: Path, pictures: list[Path], *, head: str | None = None, top_k: int = 10, device: str = "auto"
) -> Iterator[Reading | OvocrError]:
    """Read JPEG, PNG and WebP files with the newest checkpoint of a run; for each its words, or why it has none.

    head: whose words, or class ids where it has no vocabulary; the only one that has words if left out. Raises
    OvocrError where the run cannot be read, UsageError for an unknown head.
    """
    trained = TrainedRun.load(run, choose_device(device))
    name = head or _head_with_words(trained)
    if name not in trained.config.heads:
        raise UsageError(f"--head: {name!r} is not a head of this run; it has {', '.join(trained.config.heads)}")
    for picture in pictures:
        try:
            yield _read(trained, name, picture, top_k)
        except OvocrError as error:
            yield error


def _read(trained: TrainedRun, head: str, picture: Path, top_k: int) -> Reading:
    try:
        image = picture.read_bytes()
    except OSError as error:
        raise UsageError(f"{picture}: cannot be read: {error.strerror}") from error
    try:
        size = trained.config.heads[head].image_size or trained.config.backbone.image_size
        pixels = torch.from_numpy(load_image(image, size))
    except DecodeError as error:
        raise DecodeError(f"{picture}: {error}") from error
    embedding = trained.embed(head, pixels.unsqueeze(0))
    cosines, classes = nearest_centers(embedding, trained.model.heads[head].weight, top_k)
    vocabulary = trained.vocabularies.get(head)
    names = [vocabulary.word(c) if vocabulary is not None else f"class {c}" for c in classes[0].tolist()]
    return Reading(picture, list(zip(names, cosines[0].tolist(), strict=True)))


def _head_with_words(trained: TrainedRun) -> str:
    """The head that is meant where none is named. Raises UsageError where several could be."""
    heads = list(trained.vocabularies) or list(trained.config.heads)
    if len(heads) > 1:
        raise UsageError(f"--head: the run has several; choose one of {', '.join(heads)}")
    return heads[0]

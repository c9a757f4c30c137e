"""The words that a trained encoder sees in a picture: the nearest class centers to its embedding."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ovocr.errors import OvocrError, UsageError
from ovocr.escape import for_terminal
from ovocr.trainer.data.pictures import DecodeError, load_picture, normalise
from ovocr.trainer.distributed import choose_device
from ovocr.trainer.model import TrainedRun
from ovocr.trainer.ranking import nearest_centers


@dataclass(frozen=True)
class Reading:
    """Words seen in one picture, likeliest first, each with its cosine to the picture's embedding."""

    picture: Path
    words: list[tuple[str, float]]

    def format(self) -> str:
        """For a terminal: the picture's path, then a line a word."""
        lines = [f"  {score:6.3f}  {for_terminal(word)}" for word, score in self.words]
        return "\n".join([f"{for_terminal(str(self.picture))}:", *lines])


def read_pictures(
    run: Path, pictures: list[Path], *, head: str | None = None, top_k: int = 10, device: str = "auto"
) -> Iterator[Reading | OvocrError]:
    """Read JPEG, PNG and WebP files with the newest checkpoint of a run; for each its words, or why it has none.

    head: whose words, the only one if left out. Raises OvocrError where the run cannot be read, UsageError for an
    unknown head.
    """
    trained = TrainedRun.load(run, choose_device(device))
    if head is None and len(trained.config.heads) > 1:
        raise UsageError(f"--head: the run has several; choose one of {', '.join(trained.config.heads)}")
    name = head or next(iter(trained.config.heads))
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
        pixels = torch.from_numpy(load_picture(image, trained.config.backbone.image_size))
    except DecodeError as error:
        raise DecodeError(f"{picture}: {error}") from error
    with torch.no_grad():
        _, pooled = trained.model.backbone(normalise(pixels.unsqueeze(0).to(trained.device), torch.float32))
    cosines, classes = nearest_centers(pooled, trained.model.heads[head].weight, top_k)
    vocabulary = trained.vocabularies[head]
    words = [(vocabulary.word(int(c)), float(s)) for c, s in zip(classes[0], cosines[0], strict=True)]
    return Reading(picture, words)

"""The batches of a rank, step by step: the same ones whatever the number of worker processes, from any step on."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ovocr.errors import OvocrError
from ovocr.trainer.data.order import rank_positions, sample_index
from ovocr.trainer.data.pictures import DecodeError, load_picture


class Samples(Protocol):
    """What batches are made from: see RecordSamples."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, index: int) -> tuple[bytes, NDArray[np.int64]]:
        """Encoded picture, and tags int64 [T]."""

    def name(self, index: int) -> str:
        """Where the sample comes from, for messages."""


class Batch(NamedTuple):
    """A rank's part of a step, in the order of its positions; b is 0 where there are fewer positions than ranks.

    pixels: uint8 [b, 3, S, S], letterboxed RGB.
    labels: int64 [b, T], the stored tags.
    sample_ids: int64 [b], the samples' numbers.
    """

    pixels: Tensor
    labels: Tensor
    sample_ids: Tensor


def load_sample(samples: Samples, index: int, image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One sample: letterboxed pixels uint8 [3, S, S] and tags int64 [T]. Raises OvocrError naming the record."""
    encoded, labels = samples[index]
    try:
        return load_picture(encoded, image_size), labels
    except DecodeError as error:
        raise DecodeError(f"{samples.name(index)}: {error}") from error


class StepBatches(Dataset[Batch | OvocrError]):
    """Map-style: step -> the rank's batch of that step, or the error that making it ended with."""

    def __init__(
        self, samples: Samples, *, image_size: int, global_batch: int, seed: int, rank: int, world: int
    ) -> None:
        self._samples = samples
        self._image_size = image_size
        self._global_batch = global_batch
        self._seed = seed
        self._rank = rank
        self._world = world
        self._tags = len(samples[0][1])

    def __getitem__(self, step: int) -> Batch | OvocrError:
        """The batch of a step. An error is returned: raised in a worker process, it would lose its one-line message."""
        positions = rank_positions(step, self._global_batch, self._rank, self._world)
        ids = sample_index(np.asarray(positions, np.int64), len(self._samples), self._seed)
        pixels = np.empty((len(ids), 3, self._image_size, self._image_size), np.uint8)
        labels = np.empty((len(ids), self._tags), np.int64)
        try:
            for row, index in enumerate(ids.tolist()):
                pixels[row], labels[row] = load_sample(self._samples, index, self._image_size)
        except OvocrError as error:
            return error
        return Batch(torch.from_numpy(pixels), torch.from_numpy(labels), torch.from_numpy(ids))


class StepLoader:
    """Batches of consecutive steps, one for each step, by way of a torch DataLoader."""

    def __init__(self, loader: DataLoader[Batch | OvocrError]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """The batches; worker processes end with the iteration, however it ends. Raises what making one ended with."""
        for item in self._loader:
            if isinstance(item, OvocrError):
                raise item
            yield item


def build_loader(
    samples: Samples,
    *,
    image_size: int,
    global_batch: int,
    seed: int,
    rank: int,
    world: int,
    start_step: int,
    steps: int,
    workers: int,
    prefetch: int,
    pin_memory: bool = False,
) -> StepLoader:
    """The batches of rank ``rank`` of ``world`` for the steps start_step, ..., steps - 1.

    image_size: side of the letterboxed picture, pixels.
    global_batch: images of a step over all ranks: step s has the positions [s * global_batch, (s + 1) * global_batch).
    seed: decides the order of the samples, see ``sample_index``.
    workers: processes that make batches, each a whole one at a time; 0: this process does.
    prefetch: batches that each worker makes ahead.
    pin_memory: hand out page-locked tensors, for copies to a GPU that do not block.

    Iterating raises OvocrError, naming the record, for a sample that cannot be read or decoded.
    """
    loader = DataLoader(
        StepBatches(samples, image_size=image_size, global_batch=global_batch, seed=seed, rank=rank, world=world),
        batch_size=None,  # an item is a batch already
        sampler=range(start_step, steps),
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # of its own: an iteration must not move the run's random state
    )
    return StepLoader(loader)


def _start_worker(worker: int) -> None:
    """A worker is one of several processes: OpenCV must not add threads of its own."""
    cv2.setNumThreads(0)

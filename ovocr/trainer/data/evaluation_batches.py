"""Loads the samples of an evaluation in batches: whole samples, in order, with all tags that they show."""

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.damaged_samples import load_unless_damaged
from ovocr.trainer.data.loader import Batch, start_worker
from ovocr.trainer.data.samples import Sample, Samples, ShownTags

BATCH = 32
"""Samples per batch of the backbone."""
# Samples that are fetched from object stores in advance: the records of a few blocks.
_SAMPLES_AHEAD = 2048


class EvaluationBatch(NamedTuple):
    """Some samples, and the tags that each of them shows.

    batch: without the damaged samples, which ``batch.skipped`` names; its tensors are empty if all are damaged.
    """

    batch: Batch
    shown: list[ShownTags]


class _Batches(Dataset[EvaluationBatch | OvocrError]):
    """Map-style data set: maps a batch number to its samples, or to the error of reading one.

    Errors are returned, because an error raised in a worker process would lose its one-line message.
    """

    def __init__(self, samples: Samples, numbers: NDArray[np.int64]) -> None:
        self._samples, self._numbers = samples, numbers
        self._announced = 0  # samples

    def __len__(self) -> int:
        return -(-len(self._numbers) // BATCH)

    def __getitem__(self, number: int) -> EvaluationBatch | OvocrError:
        loaded: list[tuple[int, Sample, ShownTags]] = []
        damaged: list[str] = []
        numbers = self._numbers[number * BATCH : (number + 1) * BATCH].tolist()
        self._samples.prefetch(numbers)
        self._announce(number)
        try:
            for index in numbers:
                found = load_unless_damaged(self._samples, index)
                if isinstance(found, Sample):
                    loaded.append((index, found, self._samples.shown_tags(index)))
                else:
                    damaged.append(found)
        except OvocrError as error:
            return error
        samples = [sample for _, sample, _ in loaded]
        times = [sample.times for sample in samples if sample.times is not None]
        batch = Batch(
            _stack([sample.pixels for sample in samples]),
            _stack([sample.labels for sample in samples]),
            torch.tensor([index for index, _, _ in loaded], dtype=torch.int64),
            _stack(times) if times else None,
            skipped=damaged,
        )
        return EvaluationBatch(batch, [shown for _, _, shown in loaded])

    def _announce(self, number: int) -> None:
        """Starts to fetch the samples of the batches after this one, except those that this process has announced."""
        start, end = max(self._announced, (number + 1) * BATCH), (number + 1) * BATCH + _SAMPLES_AHEAD
        self._samples.read_ahead(self._numbers[start:end])
        self._announced = end


def load_batches(
    samples: Samples, numbers: NDArray[np.int64], *, workers: int, prefetch: int = 2
) -> Generator[EvaluationBatch, None, None]:
    """Yields the samples with these numbers, in order; close it to end the worker processes.

    workers: number of processes that load whole batches; 0 uses this process.
    prefetch: number of batches that each worker builds in advance.

    Raises OvocrError naming a sample that cannot be read, except for damaged ones.
    """
    loader = DataLoader(
        _Batches(samples, numbers),
        batch_size=None,  # items are batches already
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=start_worker,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # its own generator, so iterating does not change the run's random state
    )
    try:
        for item in loader:
            if isinstance(item, OvocrError):
                raise item
            yield item
    finally:
        samples.close()


def _stack(arrays: list[NDArray[np.uint8]] | list[NDArray[np.int64]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)) if arrays else torch.empty(0)


def _unchanged(item: Any) -> Any:
    """Returns the item; torch would convert the arrays of the tags to tensors."""
    return item

"""The batches of a rank, pass by pass: the same ones whatever the number of worker processes, from any step on."""

import re
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.damage import load_unless_damaged
from ovocr.trainer.data.mixing import SampleOrder
from ovocr.trainer.data.order import rank_positions
from ovocr.trainer.data.samples import Sample, Samples

# Longer than any run in samples (10**9 steps of 2**24); so many courses still fit int64.
_COURSE_LENGTH = 2**56
_COURSES = 8


class Batch(NamedTuple):
    """A rank's part of a pass, in the order of its positions; b is 0 where there are fewer positions than ranks.

    pixels: uint8 [b, 3, S, S], or [b, 3, F, S, S] for clips; letterboxed RGB.
    labels: int64 [b, T], the stored tags.
    sample_ids: int64 [b], the samples' numbers.
    times: int64 [b, F], the frames' places on the time axis; None for pictures.
    skipped: of each damaged sample that another one stands for, which it is and what is wrong.
    """

    pixels: Tensor
    labels: Tensor
    sample_ids: Tensor
    times: Tensor | None = None
    skipped: Sequence[str] = ()


class PassBatches(Dataset[Batch | OvocrError]):
    """Map-style: number of a pass, from the run's first -> the rank's batch of it, or the error that making it met.

    For a sample that is damaged another one stands, which is drawn by its position: the same whoever makes the batch.
    """

    def __init__(self, samples: Samples, order: SampleOrder, *, pass_batch: int, rank: int, world: int) -> None:
        self._samples, self._order = samples, order
        self._pass_batch, self._rank, self._world = pass_batch, rank, world
        self._shapes = _first_sound(samples)

    def __getitem__(self, number: int) -> Batch | OvocrError:
        """The batch of a pass. An error is returned: raised in a worker process, it would lose its one-line message."""
        positions = rank_positions(number, self._pass_batch, self._rank, self._world)
        ids = self._order.samples_at(np.asarray(positions, np.int64))
        try:
            pixels = np.empty((len(ids), *self._shapes.pixels.shape), np.uint8)
        except MemoryError:
            gigabytes = len(ids) * self._shapes.pixels.nbytes / 1e9
            return OvocrError(f"{len(ids):,} samples of a rank and pass take {gigabytes:,.0f} GB: see global_batch")
        labels = np.empty((len(ids), *self._shapes.labels.shape), np.int64)
        times = None if self._shapes.times is None else np.empty((len(ids), *self._shapes.times.shape), np.int64)
        skipped: list[str] = []
        try:
            for row, (index, position) in enumerate(zip(ids.tolist(), positions, strict=True)):
                pixels[row], labels[row], sample_times = self._load(index, position, skipped)
                if times is not None:
                    times[row] = sample_times
        except OvocrError as error:
            return error
        return Batch(
            torch.from_numpy(pixels),
            torch.from_numpy(labels),
            torch.from_numpy(ids),
            None if times is None else torch.from_numpy(times),
            skipped,
        )

    def _load(self, index: int, position: int, skipped: list[str]) -> Sample:
        """The sample, or the first sound one at the same position of later courses. Raises OvocrError."""
        for course in range(1, _COURSES + 1):
            found = load_unless_damaged(self._samples, index, position)
            if isinstance(found, Sample):
                return found
            skipped.append(found)
            index = int(self._order.samples_at(np.array([position + course * _COURSE_LENGTH]))[0])
        raise OvocrError(f"{_COURSES} samples in a row are damaged; the last one: {skipped[-1]}")


def _first_sound(samples: Samples) -> Sample:
    """The first sample that is not damaged, of the first few. Raises OvocrError."""
    for index in range(min(len(samples), _COURSES)):
        found = load_unless_damaged(samples, index)
        if isinstance(found, Sample):
            return found
    raise OvocrError(f"the first {index + 1} samples are damaged; the last one: {found}")


class PassLoader:
    """Batches of consecutive passes, one for each, by way of a torch DataLoader."""

    def __init__(self, loader: DataLoader[Batch | OvocrError]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        """Number of passes."""
        return len(self._loader)

    def __iter__(self) -> Generator[Batch, None, None]:
        """The batches; worker processes end with the iteration, however it ends. Raises what making one ended with."""
        for item in self._loader:
            if isinstance(item, OvocrError):
                raise item
            yield item


def build_loader(
    samples: Samples,
    order: SampleOrder,
    *,
    pass_batch: int,
    rank: int,
    world: int,
    passes: range,
    workers: int,
    prefetch: int,
    pin_memory: bool = False,
) -> PassLoader:
    """The batches of rank ``rank`` of ``world`` for these passes of a run.

    order: which sample stands at which position.
    pass_batch: images of a pass over all ranks: pass n has the positions [n * pass_batch, (n + 1) * pass_batch).
    workers: processes that make batches, each a whole one at a time; 0: this process does.
    prefetch: batches that each worker makes ahead.
    pin_memory: hand out page-locked tensors, for copies to a GPU that do not block.

    Iterating raises OvocrError, naming the record, for a sample that cannot be read; a damaged one is skipped.
    """
    loader = DataLoader(
        PassBatches(samples, order, pass_batch=pass_batch, rank=rank, world=world),
        batch_size=None,  # an item is a batch already
        sampler=passes,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # of its own: an iteration must not move the run's random state
    )
    return PassLoader(loader)


def _start_worker(worker: int) -> None:
    """A worker is one of several processes: OpenCV must not add threads of its own.

    A request to stop often goes to all processes of a rank (torchrun's and Slurm's do). The rank meets it between two
    steps, for which it needs its workers: they end with it.
    """
    cv2.setNumThreads(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def worker_deaths_as_ovocr_errors() -> Iterator[None]:
    """torch's error about a worker process that died, which comes wherever the main thread is, as an OvocrError."""
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) (.*)", str(error))
        if found is None:
            raise
        pids, how = found.groups()
        how = how.splitlines()[0].rstrip(". ")
        raise OvocrError(f"loader worker, process {pids}: {how}; was there too little memory?") from None
    except (ConnectionError, EOFError):  # it died with a batch half sent
        raise OvocrError("a loader worker died while it sent a batch; was there too little memory?") from None

"""Loads the batches of a rank, pass by pass, from any step on, independent of the number of worker processes."""

import re
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.store_records import NOTHING_FETCHED, Fetched
from ovocr.trainer.data.damaged_samples import load_unless_damaged
from ovocr.trainer.data.mixing import SampleOrder
from ovocr.trainer.data.order import rank_positions
from ovocr.trainer.data.samples import NoLegibleTagError, Sample, Samples
from ovocr.views.text_crops import REPLACEMENT_OFFSET

_MAX_DAMAGED = 8
# Passes whose samples are announced together: fewer are slower, with more of them places come long before records.
_PASSES_ANNOUNCED = 16
_MAX_ATTEMPTS = 500  # positions of all attempts fit int64


class Batch(NamedTuple):
    """A rank's part of a pass, in the order of its positions; b is 0 if there are fewer positions than ranks.

    pixels: uint8 [b, 3, S, S], or [b, 3, F, S, S] for clips; letterboxed RGB.
    labels: int64 [b, T], the stored tags.
    sample_ids: int64 [b], the sample numbers.
    times: int64 [b, F], the frames' positions on the time axis; None for images.
    ignored: int64 [b, M], class ids that are neither positives nor negatives of a sample, then -1; M is the largest
        number of them. None if no tags are ignored.
    skipped: name and damage of each damaged sample that was replaced.
    illegible: number of samples that were replaced because they show no legible tag.
    fetched: what the process has fetched from object stores since its last batch.
    """

    pixels: Tensor
    labels: Tensor
    sample_ids: Tensor
    times: Tensor | None = None
    ignored: Tensor | None = None
    skipped: Sequence[str] = ()
    illegible: int = 0
    fetched: Fetched = NOTHING_FETCHED


class PassBatches(Dataset[Batch | OvocrError]):
    """Map-style data set: maps the number of a pass in the run to the rank's batch, or to the error that occurred.

    A sample that is damaged or shows no legible tag is replaced by another sample, which depends only on the position.

    read_ahead: the passes after the one that is loaded, as a number, whose samples are fetched from object stores in
        advance. Every process fetches for the whole rank; whoever comes first to a block fetches it.
    end: number of passes of the run.
    """

    def __init__(
        self,
        samples: Samples,
        order: SampleOrder,
        *,
        pass_batch: int,
        rank: int,
        world: int,
        read_ahead: int = 0,
        end: int = 0,
    ) -> None:
        self._samples, self._order = samples, order
        self._pass_batch, self._rank, self._world = pass_batch, rank, world
        self._shapes = _first_undamaged(samples)
        self._read_ahead, self._end = read_ahead, end
        self._announced = 0  # the first pass that is not announced
        self._fetched: Fetched | None = None  # before the first batch of this process

    def __getitem__(self, number: int) -> Batch | OvocrError:
        """Returns the batch of a pass, or the error, which would lose its one-line message if a worker raised it."""
        if self._fetched is None:
            self._fetched = self._samples.fetched
        positions = self._positions(number)
        ids = self._order.samples_at(np.asarray(positions, np.int64))
        self._samples.prefetch(ids.tolist())
        self._announce(number)
        try:
            pixels = np.empty((len(ids), *self._shapes.pixels.shape), np.uint8)
        except MemoryError:
            gigabytes = len(ids) * self._shapes.pixels.nbytes / 1e9
            return OvocrError(f"{len(ids):,} samples per rank per pass need {gigabytes:,.0f} GB; reduce global_batch")
        labels = np.empty((len(ids), *self._shapes.labels.shape), np.int64)
        times = None if self._shapes.times is None else np.empty((len(ids), *self._shapes.times.shape), np.int64)
        ignored: list[NDArray[np.int64]] = []
        replaced = _Replaced([])
        try:
            for row, (index, position) in enumerate(zip(ids.tolist(), positions, strict=True)):
                sample = self._load(index, position, replaced)
                pixels[row], labels[row] = sample.pixels, sample.labels
                if times is not None:
                    times[row] = sample.times
                if sample.ignored is not None:
                    ignored.append(sample.ignored)
        except OvocrError as error:
            return error
        return Batch(
            torch.from_numpy(pixels),
            torch.from_numpy(labels),
            torch.from_numpy(ids),
            None if times is None else torch.from_numpy(times),
            torch.from_numpy(_padded(ignored)) if ignored else None,
            replaced.damaged,
            replaced.illegible,
            self._newly_fetched(),
        )

    def _positions(self, number: int) -> range:
        return rank_positions(number, self._pass_batch, self._rank, self._world)

    def _announce(self, number: int) -> None:
        """Starts to fetch the samples of the passes after this one, except those that this process has announced."""
        end = min(number + 1 + self._read_ahead, self._end)
        self._announced = max(self._announced, number + 1)
        while self._announced < end:
            passes = range(self._announced, min(self._announced + _PASSES_ANNOUNCED, end))
            positions = [np.asarray(self._positions(each), np.int64) for each in passes]
            self._samples.read_ahead(self._order.samples_at(np.concatenate(positions)))
            self._announced = passes.stop

    def _newly_fetched(self) -> Fetched:
        before, self._fetched = self._fetched, self._samples.fetched
        return self._fetched.minus(before or NOTHING_FETCHED)

    def _load(self, index: int, position: int, replaced: "_Replaced") -> Sample:
        """Returns the sample, or its first replacement that can be used. Raises OvocrError."""
        damaged_before = len(replaced.damaged)
        for _ in range(_MAX_ATTEMPTS):
            try:
                found = load_unless_damaged(self._samples, index, position)
                if isinstance(found, Sample):
                    return found
                replaced.damaged.append(found)
            except NoLegibleTagError as error:
                replaced.illegible += 1
                found = str(error)
            damaged = len(replaced.damaged) - damaged_before
            if damaged == _MAX_DAMAGED:
                raise OvocrError(f"{damaged} samples in a row are damaged, the last one: {replaced.damaged[-1]}")
            position += REPLACEMENT_OFFSET
            index = int(self._order.samples_at(np.array([position]))[0])
        raise OvocrError(f"{_MAX_ATTEMPTS} samples in a row cannot be used, the last one: {found}")


@dataclass
class _Replaced:
    """The samples of a batch that were replaced. damaged: name and damage of each. illegible: number of the others."""

    damaged: list[str]
    illegible: int = 0


def _padded(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Returns rows of different lengths as a matrix, filled with -1 at the end."""
    matrix = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for row, values in zip(matrix, rows, strict=True):
        row[: len(values)] = values
    return matrix


def _first_undamaged(samples: Samples) -> Sample:
    """Returns the first undamaged sample. Raises OvocrError if the first few samples are damaged."""
    for index in range(min(len(samples), _MAX_DAMAGED)):
        found = load_unless_damaged(samples, index)
        if isinstance(found, Sample):
            return found
    raise OvocrError(f"the first {index + 1} samples are all damaged, the last one: {found}")


class PassLoader:
    """Batches of consecutive passes, one per pass, loaded by a torch DataLoader."""

    def __init__(self, loader: DataLoader[Batch | OvocrError], samples: Samples) -> None:
        self._loader, self._samples = loader, samples

    def __len__(self) -> int:
        """Returns the number of passes."""
        return len(self._loader)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yields the batches, or raises the error of a batch; worker processes end with the iteration."""
        try:
            for item in self._loader:
                if isinstance(item, OvocrError):
                    raise item
                yield item
        finally:
            self._samples.close()


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
    read_ahead: int = 0,
    pin_memory: bool = False,
) -> PassLoader:
    """Creates the loader of rank ``rank`` of ``world`` for these passes of a run.

    order: the sample number at each position.
    pass_batch: images per pass, over all ranks; pass n has the positions [n * pass_batch, (n + 1) * pass_batch).
    workers: number of processes, each of which builds whole batches; 0 uses this process.
    prefetch: number of batches that each worker builds in advance.
    read_ahead: number of passes whose samples are fetched from object stores in advance.
    pin_memory: returns page-locked tensors, for non-blocking copies to a GPU.

    Iterating raises OvocrError naming the record if a sample cannot be read; damaged samples and samples without
    legible tags are skipped.
    """
    batches = PassBatches(
        samples,
        order,
        pass_batch=pass_batch,
        rank=rank,
        world=world,
        read_ahead=read_ahead,
        end=passes.stop,
    )
    loader = DataLoader(
        batches,
        batch_size=None,  # items are batches already
        sampler=passes,
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=start_worker,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # its own generator, so iterating does not change the run's random state
    )
    return PassLoader(loader, samples)


def start_worker(worker: int) -> None:
    """Turns off OpenCV's threads, because there are several workers, and ignores requests to stop.

    torchrun and Slurm send such signals to all processes of a rank. The rank stops after the current step, for which it
    needs its workers; they end with it.
    """
    cv2.setNumThreads(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def worker_deaths_as_ovocr_errors() -> Iterator[None]:
    """Converts torch's errors about a dead loader worker, raised anywhere in the main thread, to OvocrError."""
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\) (.*)", str(error))
        if found is None:
            raise
        pids, how = found.groups()
        how = how.splitlines()[0].rstrip(". ")
        raise OvocrError(f"loader worker, process {pids}: {how}; a possible cause is a lack of memory") from None
    except (ConnectionError, EOFError):  # the worker died while sending a batch
        raise OvocrError("a loader worker died while sending a batch; a possible cause is a lack of memory") from None

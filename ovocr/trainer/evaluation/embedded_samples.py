"""The embeddings and tags of all samples of an evaluation, held in memory.

Shapes: B samples of a batch, N samples, D embedding size.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.trainer.backbone.rotary import clip_positions
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.samples import Samples, ShownTags
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.training.model import TrainedRun

_BATCH = 32  # samples per batch of the backbone


class EmbeddedSamples(NamedTuple):
    """All samples, in order.

    embeddings_ND: float32, on the device of the run. labels: distinct labels of each sample, int64 [n], ascending.
    tags: all tags that each sample shows, also those without a slot, with text heights.
    """

    embeddings_ND: Tensor
    labels: list[NDArray[np.int64]]
    tags: ImageTags


def embed_samples(trained: TrainedRun, head: str, samples: Samples, workers: int) -> EmbeddedSamples:
    """Embeds all samples for the class centers of a head; shows a progress bar. workers: processes that load them.

    Raises OvocrError that names a sample that cannot be read.
    """
    width = trained.model.heads[head].weight.shape[1]
    embeddings_ND = torch.empty((len(samples), width), dtype=torch.float32, device=trained.device)
    labels: list[NDArray[np.int64]] = []
    shown: list[ShownTags] = []
    with tqdm(total=len(samples), desc=f"eval {head}", unit="image", disable=None) as bar:
        for loaded in _load_batches(samples, workers):
            first, size = len(labels), len(loaded.batch.labels)
            embeddings_ND[first : first + size] = _embed(trained, head, loaded.batch)
            labels += [np.unique(own) for own in loaded.batch.labels.numpy()]
            shown += loaded.shown
            bar.update(size)
    return EmbeddedSamples(embeddings_ND, labels, ImageTags.join(shown))


def _embed(trained: TrainedRun, head: str, batch: Batch) -> Tensor:
    """Returns embeddings for a head's class centers, [B, D]."""
    positions = None
    if batch.times is not None:
        side = batch.pixels.shape[-1] // trained.config.backbone.patch_size
        positions = clip_positions(batch.times.to(trained.device), side, side)
    return trained.embed(head, batch.pixels, positions)


class _LoadedBatch(NamedTuple):
    """Consecutive samples, and the tags that each of them shows."""

    batch: Batch
    shown: list[ShownTags]


class _Batches(Dataset[_LoadedBatch | OvocrError]):
    """Map-style data set: maps a batch number to its samples in file order, or to the error of reading one.

    Errors are returned, because an error raised in a worker process would lose its one-line message.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return -(-len(self._samples) // _BATCH)

    def __getitem__(self, number: int) -> _LoadedBatch | OvocrError:
        ids = range(number * _BATCH, min((number + 1) * _BATCH, len(self._samples)))
        try:
            loaded = [self._samples.load(index) for index in ids]
            shown = [self._samples.shown_tags(index) for index in ids]
        except OvocrError as error:
            return error
        times = [sample.times for sample in loaded if sample.times is not None]
        batch = Batch(
            torch.from_numpy(np.stack([sample.pixels for sample in loaded])),
            torch.from_numpy(np.stack([sample.labels for sample in loaded])),
            torch.tensor(ids),
            torch.from_numpy(np.stack(times)) if times else None,
        )
        return _LoadedBatch(batch, shown)


def _load_batches(samples: Samples, workers: int) -> Iterator[_LoadedBatch]:
    loader = DataLoader(
        _Batches(samples), batch_size=None, num_workers=workers, worker_init_fn=_start_worker, collate_fn=_as_they_are
    )
    for batch in loader:
        if isinstance(batch, OvocrError):
            raise batch
        yield batch


def _as_they_are(batch: Any) -> Any:
    """Returns the batch without conversion of its arrays to tensors."""
    return batch


def _start_worker(worker: int) -> None:
    """Turns off OpenCV's threads, because there are several workers."""
    cv2.setNumThreads(0)

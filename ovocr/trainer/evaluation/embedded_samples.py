"""The embeddings and tags of the undamaged samples of an evaluation, held in memory.

Shapes: N samples, D embedding size.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.trainer.data.evaluation_batches import load_batches
from ovocr.trainer.data.samples import Samples, ShownTags
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.training.model import TrainedRun


class EmbeddedSamples(NamedTuple):
    """The undamaged samples, in order.

    embeddings_ND: float32, on the device of the run. labels: distinct labels of each sample, int64 [n], ascending.
    tags: all tags that each sample shows, also those without a slot, with text heights.
    numbers_N: int64, ascending, the number of each sample among all of them, also the damaged ones.
    is_whole_N: bool, whether each sample shows the whole image.
    """

    embeddings_ND: Tensor
    labels: list[NDArray[np.int64]]
    tags: ImageTags
    numbers_N: NDArray[np.int64]
    is_whole_N: NDArray[np.bool_]


def embed_samples(
    trained: TrainedRun, head: str, samples: Samples, workers: int, on_damage: Callable[[str], None]
) -> EmbeddedSamples:
    """Embeds the samples for the class centers of a head; shows a progress bar.

    workers: processes that load the samples. on_damage: called with name and damage of each damaged sample.

    Raises OvocrError that names a sample that cannot be read, except for damaged ones, or if all are damaged.
    """
    width = trained.model.heads[head].weight.shape[1]
    embeddings_ND = torch.empty((len(samples), width), dtype=torch.float32, device=trained.device)
    labels: list[NDArray[np.int64]] = []
    shown: list[ShownTags] = []
    numbers = [np.empty(0, np.int64)]
    with tqdm(total=len(samples), desc=f"eval {head}", unit="image", disable=None) as bar:
        for loaded in load_batches(samples, np.arange(len(samples)), workers=workers):
            for reason in loaded.batch.skipped:
                on_damage(reason)
            first, size = len(labels), len(loaded.shown)
            if size:
                embeddings_ND[first : first + size] = trained.embed(head, loaded.batch.pixels, loaded.batch.times)
                labels += [np.unique(own) for own in loaded.batch.labels.numpy()]
                shown += loaded.shown
                numbers.append(loaded.batch.sample_ids.numpy())
            bar.update(size + len(loaded.batch.skipped))
    if not labels:
        raise OvocrError(f"--data: {counted(len(samples), 'image')}, all damaged; make the data sets again")
    return EmbeddedSamples(
        embeddings_ND[: len(labels)],
        labels,
        ImageTags.of_samples(shown),
        np.concatenate(numbers),
        np.array([own.is_whole for own in shown]),
    )

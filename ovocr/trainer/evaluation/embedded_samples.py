"""The embeddings and tags of all samples of an evaluation, held in memory.

Shapes: N samples, D embedding size.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ovocr.trainer.data.evaluation_batches import load_batches
from ovocr.trainer.data.samples import Samples, ShownTags
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.training.model import TrainedRun


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
        for loaded in load_batches(samples, np.arange(len(samples)), workers=workers):
            first, size = len(labels), len(loaded.batch.labels)
            embeddings_ND[first : first + size] = trained.embed(head, loaded.batch.pixels, loaded.batch.times)
            labels += [np.unique(own) for own in loaded.batch.labels.numpy()]
            shown += loaded.shown
            bar.update(size)
    return EmbeddedSamples(embeddings_ND, labels, ImageTags.join(shown))

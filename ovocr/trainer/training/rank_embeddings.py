"""Embeds held-out samples on all ranks together, each rank its consecutive share of them.

Shapes: N samples, D embedding size, M pairs of a sample and one of its tags.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ovocr.trainer.config.sections import LoaderConfig
from ovocr.trainer.data.evaluation_batches import BATCH, load_batches
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.samples import Samples, ShownTags
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.ranks.distributed import Ranks, row_range
from ovocr.trainer.training.model import Model


class EmbeddedImages(NamedTuple):
    """The undamaged samples of all ranks, in order; the same on every rank.

    embeddings_ND: float32, on the CPU. tags: what each sample shows. rows_N: int64, the positions of the samples among
    those that were given. is_whole_N: bool, whether each sample shows the whole image.
    """

    embeddings_ND: torch.Tensor
    tags: ImageTags
    rows_N: NDArray[np.int64]
    is_whole_N: NDArray[np.bool_]


@dataclass(frozen=True)
class RankEmbedder:
    """Embeds samples on all ranks; every rank calls it together.

    device: the device of the model. loader: numbers of worker processes and batches.
    should_stop: whether this rank was asked to stop; if any rank was, all stop after the current batch.
    on_damage: called with name and damage of each damaged sample of this rank.
    """

    ranks: Ranks
    device: torch.device
    loader: LoaderConfig
    should_stop: Callable[[], bool]
    on_damage: Callable[[str], None]

    def embed(
        self, model: Model, head: str, samples: Samples, numbers: NDArray[np.int64], progress: str
    ) -> EmbeddedImages | None:
        """Embeds the samples with these numbers for a head's class centers; None if a rank was asked to stop.

        model: in evaluation mode. progress: label of the progress bar on rank 0.

        Raises OvocrError naming a sample that cannot be read, except for damaged ones.
        """
        first, end = row_range(len(numbers), self.ranks.rank, self.ranks.world)
        _, most = row_range(len(numbers), 0, self.ranks.world)  # the first rank has the largest share
        embeddings = [torch.empty(0, model.heads[head].embedding_dim)]
        shown: list[ShownTags] = []
        loaded_numbers: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        batches = load_batches(
            samples,
            numbers[first:end],
            workers=self.loader.workers if end > first else 0,
            prefetch=self.loader.prefetch,
        )
        with (
            closing(batches),
            tqdm(
                total=end - first, desc=progress, unit="image", leave=None, disable=True if self.ranks.rank else None
            ) as bar,
        ):
            for _ in range(-(-most // BATCH)):
                if self._any_rank_stops():
                    return None
                found = next(batches, None)
                if found is None or not found.shown:
                    model.take_part_in_forward_pass(self.device)
                else:
                    embeddings.append(self._embed_batch(model, head, found.batch))
                    shown += found.shown
                    loaded_numbers.append(found.batch.sample_ids.numpy())
                if found is not None:
                    for reason in found.batch.skipped:
                        self.on_damage(reason)
                    bar.update(len(found.shown) + len(found.batch.skipped))
        own_rows = np.searchsorted(numbers, np.concatenate(loaded_numbers))
        is_whole = np.array([own.is_whole for own in shown], np.uint8)
        return self._gather(torch.cat(embeddings), ImageTags.of_samples(shown), own_rows, is_whole)

    def _any_rank_stops(self) -> bool:
        return any(stops for (stops,) in self.ranks.gather_numbers([self.should_stop()], self.device))

    def _embed_batch(self, model: Model, head: str, batch: Batch) -> torch.Tensor:
        times = None if batch.times is None else batch.times.to(self.device)
        return model.embed(head, batch.pixels.to(self.device), times).float().cpu()

    def _gather(
        self, embeddings: torch.Tensor, tags: ImageTags, rows: NDArray[np.int64], is_whole: NDArray[np.uint8]
    ) -> EmbeddedImages:
        def all_rows(own: NDArray[Any]) -> NDArray[Any]:
            return self.ranks.gather_on_cpu(torch.from_numpy(own), self.device).numpy()

        counts = all_rows(np.diff(tags.ends, prepend=0))
        return EmbeddedImages(
            self.ranks.gather_on_cpu(embeddings, self.device),
            ImageTags(counts.cumsum(), all_rows(tags.ids), all_rows(tags.heights)),
            all_rows(rows),
            all_rows(is_whole).astype(np.bool_),
        )

"""Measures the statistics of ``embedding_norm`` with the current weights, for checkpoints and evaluations.

The running statistics of training lag some steps behind the weights. While the learning rate is high, embeddings change
so much within these steps that a model normalised with them looks worse than it is.

Shapes: b samples, D embedding size.
"""

from collections.abc import Mapping
from contextlib import closing

import torch
from torch import Tensor

from ovocr.trainer.config.sections import LoaderConfig
from ovocr.trainer.data.evaluation_batches import BATCH
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.measures.full_precision import full_precision
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training.model import Model

# As few steps are read again as have this many samples: the mean of a channel is then exact to about 1 / sqrt(512), 4%,
# of its deviation.
_SAMPLES = 512


class EmbeddingStatistics:
    """Measures the statistics of a model's heads with ``embedding_norm``. Every rank has one, and all call it together.

    data: the training data of each head. loader: numbers of worker processes and batches. device: the model's device.
    """

    def __init__(
        self, model: Model, data: Mapping[str, HeadData], loader: LoaderConfig, ranks: Ranks, device: torch.device
    ) -> None:
        self._model, self._data, self._ranks, self._device = model, data, ranks, device
        # DALI cannot read given samples again. The torch loader shows whole images as well, so it measures the same.
        self._loader = loader.model_copy(update={"kind": "torch"})

    def measure(self, done: int) -> None:
        """Replaces the running statistics by mean and variance of the samples of the last steps before step ``done``.

        These are read again as training has shown them, crops and replacements of damaged samples included; no damage
        is reported again. So the result is a function of configuration, data, weights and ``done``, up to rounding on
        different numbers of ranks. It is the same on every rank.

        done: number of finished steps, at least 1.

        Changes neither weights, nor the random draws, nor the mode of training. Raises OvocrError naming a sample that
        cannot be read, except for damaged ones.
        """
        norms = {
            name: head.embedding_norm for name, head in self._model.heads.items() if head.embedding_norm is not None
        }
        if not norms:
            return
        with self._model.evaluation_mode(), full_precision(self._device):
            for name, norm in norms.items():
                norm.set_statistics(*self._measured(name, done))

    def _measured(self, name: str, done: int) -> tuple[Tensor, Tensor]:
        """Returns mean and biased variance [D] of a head's last samples, float64."""
        data, width = self._data[name], self._model.heads[name].embedding_dim
        steps = -(-_SAMPLES // (data.pass_batch * data.passes))
        most = -(-data.pass_batch // self._ranks.world)  # samples of the first rank, which has the largest share
        sums = torch.zeros(2 * width + 1, dtype=torch.float64, device=self._device)
        batches = data.batches(self._ranks, range(max(0, done - steps), done), self._loader, self._device)
        with closing(batches):  # ends the worker processes
            for batch in batches:
                for first in range(0, most, BATCH):  # no more memory than an evaluation needs
                    sums += self._sums(batch, slice(first, first + BATCH), width)
        sums = self._ranks.sum(sums)
        mean_D, squares_D = (sums[:-1] / sums[-1]).split(width)
        return mean_D, (squares_D - mean_D.square()).clamp(min=0)

    def _sums(self, batch: Batch, part: slice, width: int) -> Tensor:
        """Returns the sums of the embeddings of a part of a batch, of their squares, and their number: [2 D + 1]."""
        pixels, times = batch.pixels[part], None if batch.times is None else batch.times[part]
        if len(pixels):
            pooled_bD = self._model.pooled(
                pixels.to(self._device), None if times is None else times.to(self._device)
            ).double()
        else:
            self._model.take_part_in_forward_pass(self._device)
            pooled_bD = torch.zeros((0, width), dtype=torch.float64, device=self._device)
        return torch.cat([pooled_bD.sum(0), pooled_bD.square().sum(0), pooled_bD.new_full((1,), len(pixels))])

"""One optimizer step: forward and backward passes of each head through the backbone, clipping, optimizers."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovocr.dataset.access.store_records import NOTHING_FETCHED, Fetched
from ovocr.trainer.backbone.rotary import clip_positions
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.images import normalise
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.order import rank_positions
from ovocr.trainer.flops.model_flops import PassSize
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training.gradients import clip, squared_norm
from ovocr.trainer.training.model import Model, Optimizers
from ovocr.trainer.training.schedule import learning_rate
from ovocr.trainer.training.skipped_samples import SkippedSamples


@dataclass
class HeadResult:
    """Numbers of one head, one entry per pass, on the device. sample_ids and sample_losses cover all ranks.

    sizes: sizes of the passes on this rank.
    """

    losses: list[Tensor] = field(default_factory=list)
    positive_cosines: list[Tensor] = field(default_factory=list)
    negative_cosines: list[Tensor] = field(default_factory=list)
    sample_losses: list[Tensor] = field(default_factory=list)
    sample_ids: list[NDArray[np.int64]] = field(default_factory=list)
    sizes: list[PassSize] = field(default_factory=list)


@dataclass
class StepResult:
    """Numbers of one step, still on the device; they are read while the next step is in progress.

    squared_norms: squared norms of the gradients, of the backbone first, then of each head.
    skipped, illegible: number of samples that were replaced on all ranks, damaged ones and ones without legible tags.
    stops: number of ranks that were asked to stop.
    fetched: what this rank has fetched from object stores.
    """

    step: int
    rate: float
    began: float
    heads: dict[str, HeadResult]
    squared_norms: Tensor
    skipped: Tensor
    illegible: Tensor
    stops: Tensor
    data_wait_s: float = 0.0
    fetched: Fetched = NOTHING_FETCHED

    def read(self) -> dict[str, float]:
        """Returns all numbers by name; waits for the device once."""
        names, values = ["stops", "skipped", "illegible"], [self.stops, self.skipped, self.illegible]
        for number, name in enumerate(("", *(f"{head}/" for head in self.heads))):
            names.append(f"{name}grad_norm")
            values.append(self.squared_norms[number].sqrt())
        for name, head in self.heads.items():
            for key, parts in (
                ("loss", head.losses),
                ("positive_cosine", head.positive_cosines),
                ("negative_cosine", head.negative_cosines),
            ):
                names.append(f"{name}/{key}")
                values.append(torch.stack([part.detach().float() for part in parts]).mean())
        return dict(zip(names, torch.stack([value.float() for value in values]).tolist(), strict=True))


class TrainStep:
    """Runs steps of a model; every rank calls it. is_bf16: whether matrix products are in bfloat16."""

    def __init__(
        self,
        config: RunConfig,
        model: Model,
        optimizers: Optimizers,
        data: Mapping[str, HeadData],
        ranks: Ranks,
        device: torch.device,
        skipped: SkippedSamples | None = None,
    ) -> None:
        self._skipped = skipped
        self.config, self.model, self.optimizers = config, model, optimizers
        self.data, self.ranks, self.device = data, ranks, device
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        wants_bf16 = config.run.precision == "bf16" or (config.run.precision == "auto" and has_bf16)
        self.is_bf16 = wants_bf16
        self._autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=wants_bf16)
        if device.type == "cuda" and wants_bf16:
            torch.set_float32_matmul_precision("medium")  # heads get float32 embeddings and multiply in bfloat16

    def __call__(
        self, step: int, batches: Mapping[str, Iterator[Batch]], *, stop_requested: bool = False
    ) -> StepResult:
        """Runs step ``step``: forward, backward, clipping, optimizers. ``batches`` yields each head's passes."""
        rate = learning_rate(step, self.config)
        began, passes = time.monotonic(), self.config.run.passes_per_step
        heads = {name: HeadResult() for name in self.model.heads}
        data_wait_s, skipped, illegible, fetched = 0.0, 0, 0, NOTHING_FETCHED
        last = (list(heads)[-1], passes - 1)
        for name, result in heads.items():
            for number in range(passes):
                wait_began = time.monotonic()
                batch = next(batches[name])
                data_wait_s += time.monotonic() - wait_began
                if self._skipped is not None:
                    self._skipped.add(step, name, batch.skipped)
                skipped += len(batch.skipped)
                illegible += batch.illegible
                fetched = fetched.plus(batch.fetched)
                with self.model.parallel.backward_pass(last=(name, number) == last):
                    self._backward(name, step * passes + number, batch, result)
        squared_norms, (all_skipped, all_illegible, stops) = self._clip(skipped, illegible, stop_requested)
        self.optimizers.set_learning_rate(rate, {name: head.lr_scale for name, head in self.config.heads.items()})
        self.optimizers.step()
        return StepResult(
            step, rate, began, heads, squared_norms, all_skipped, all_illegible, stops, data_wait_s, fetched
        )

    def _backward(self, name: str, pass_number: int, batch: Batch, result: HeadResult) -> None:
        """Runs one pass of a head and accumulates its gradients."""
        head = self.model.heads[name]
        result.sample_ids.append(self._sample_ids(name, pass_number, batch))
        pixels = normalise(batch.pixels.to(self.device, non_blocking=True), torch.float32)
        positions = None
        if batch.times is not None:
            patch = self.config.backbone.patch_size
            rows, columns = (side // patch for side in pixels.shape[-2:])
            positions = clip_positions(batch.times.to(self.device, non_blocking=True), rows, columns)
        with self._autocast, torch.set_grad_enabled(not self.config.run.freeze_backbone):
            _, pooled = self.model.parallel(pixels, positions)
        loss = head(pooled.float(), batch.labels, batch.ignored)
        (loss * (self.config.heads[name].loss_weight / self.config.run.passes_per_step)).backward()
        report = head.last_report
        if report is None:
            raise RuntimeError("the head has no report")
        result.sizes.append(PassSize(len(batch.labels), len(report.sample_loss), report.sample_size))
        result.losses.append(loss.detach())
        result.sample_losses.append(report.sample_loss)
        result.positive_cosines.append(report.positive_cosine.mean())
        result.negative_cosines.append(report.negative_cosine)

    def _sample_ids(self, name: str, pass_number: int, batch: Batch) -> NDArray[np.int64]:
        """Returns the samples of the whole pass in order, after checking that this rank's batch is its part of them."""
        data = self.data[name]
        if (batch.sample_ids < 0).all() and len(batch.sample_ids):  # DALI does not provide them
            return np.full(data.pass_batch, -1, np.int64)
        ids = data.pass_samples(pass_number)
        own = rank_positions(pass_number, data.pass_batch, self.ranks.rank, self.ranks.world)
        first = pass_number * data.pass_batch
        if not np.array_equal(batch.sample_ids.numpy(), ids[own.start - first : own.stop - first]):
            raise RuntimeError(f"pass {pass_number}, head {name}: the samples of the loader do not match the order")
        return ids

    def _clip(self, *counts: int) -> tuple[Tensor, Tensor]:
        """Clips the backbone and each head by their norms over all ranks, using one all-reduce.

        counts: numbers to sum over the ranks in the same all-reduce.

        Returns the squared norms before clipping and the sums of the counts; the same on every rank.
        """
        parts = [list(self.model.backbone.parameters()), *([head.weight] for head in self.model.heads.values())]
        own_counts = torch.tensor(counts, dtype=torch.float32, device=self.device)
        numbers = torch.cat([*(squared_norm(part) for part in parts), own_counts])
        # The backbone's gradient is the same on every rank, unless it is split over the ranks.
        backbone_norm = numbers[:1].clone()
        numbers = self.ranks.sum(numbers)
        if not self.model.parallel.sharded:
            numbers[:1] = backbone_norm
        squared_norms, sums = numbers[: len(parts)], numbers[len(parts) :]
        for part, squared in zip(parts, squared_norms, strict=True):
            clip(part, squared.sqrt(), self.config.optimizer.clip_norm)
        return squared_norms, sums

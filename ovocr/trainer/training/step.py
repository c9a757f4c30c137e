"""One optimizer step: each head's passes forward and backward through the backbone, clipping, all optimizers."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovocr.trainer.backbone.rotary import clip_positions
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.images import normalise
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.order import rank_positions
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training.gradients import clip, squared_norm
from ovocr.trainer.training.model import Model, Optimizers
from ovocr.trainer.training.schedule import learning_rate_factor
from ovocr.trainer.training.skipped_samples import SkippedSamples


@dataclass
class HeadResult:
    """Numbers of one head over the passes of a step, on the device; sample_ids are of all ranks, as sample_losses."""

    losses: list[Tensor] = field(default_factory=list)
    positive_cosines: list[Tensor] = field(default_factory=list)
    negative_cosines: list[Tensor] = field(default_factory=list)
    sample_losses: list[Tensor] = field(default_factory=list)
    sample_ids: list[NDArray[np.int64]] = field(default_factory=list)


@dataclass
class StepResult:
    """Numbers of one step, still on the device: they are read when the next step is under way.

    squared_norms: of the gradients, the backbone's first, then each head's. skipped: samples of all ranks that others
    stood for. stops: ranks that were asked to stop.
    """

    step: int
    rate: float
    began: float
    heads: dict[str, HeadResult]
    squared_norms: Tensor
    skipped: Tensor
    stops: Tensor
    data_wait_s: float = 0.0

    def read(self) -> dict[str, float]:
        """All numbers by name, waiting for the device once."""
        names, values = ["stops", "skipped"], [self.stops, self.skipped]
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
    """Runs steps of a model; every rank calls it alike."""

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
        self._autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=wants_bf16)
        if device.type == "cuda" and wants_bf16:
            torch.set_float32_matmul_precision("medium")  # the heads get float32 embeddings and multiply in bfloat16

    def __call__(self, step: int, batches: Mapping[str, Iterator[Batch]], *, stop_asked: bool = False) -> StepResult:
        """Forward, backward, clipping and optimizers of step ``step``; ``batches``: the next pass of each head."""
        settings = self.config.optimizer
        rate = settings.lr * learning_rate_factor(
            step, warmup_steps=settings.warmup_steps, steps=self.config.run.steps, power=settings.decay_power
        )
        began, passes = time.monotonic(), self.config.run.passes_per_step
        heads = {name: HeadResult() for name in self.model.heads}
        waited, skipped = 0.0, 0
        last = (list(heads)[-1], passes - 1)
        for name, result in heads.items():
            for number in range(passes):
                asked = time.monotonic()
                batch = next(batches[name])
                waited += time.monotonic() - asked
                if self._skipped is not None:
                    self._skipped.add(step, name, batch.skipped)
                skipped += len(batch.skipped)
                with self.model.parallel.backward_pass(last=(name, number) == last):
                    self._backward(name, step * passes + number, batch, result)
        squared_norms, all_skipped, stops = self._clip(skipped, stop_asked)
        self.optimizers.set_learning_rate(rate, {name: head.lr_scale for name, head in self.config.heads.items()})
        self.optimizers.step()
        return StepResult(step, rate, began, heads, squared_norms, all_skipped, stops, waited)

    def _backward(self, name: str, pass_number: int, batch: Batch, result: HeadResult) -> None:
        """One pass of a head: the gradients of its share of the loss are added to the backbone's."""
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
        loss = head(pooled.float(), batch.labels)
        (loss * (self.config.heads[name].loss_weight / self.config.run.passes_per_step)).backward()
        report = head.last_report
        if report is None:
            raise RuntimeError("a head made no report")
        result.losses.append(loss.detach())
        result.sample_losses.append(report.sample_loss)
        result.positive_cosines.append(report.positive_cosine.mean())
        result.negative_cosines.append(report.negative_cosine)

    def _sample_ids(self, name: str, pass_number: int, batch: Batch) -> NDArray[np.int64]:
        """The samples of the whole pass, by its place in the order; this rank's batch must be its part of them."""
        data = self.data[name]
        if (batch.sample_ids < 0).all() and len(batch.sample_ids):  # DALI does not tell them
            return np.full(data.pass_batch, -1, np.int64)
        ids = data.pass_samples(pass_number)
        own = rank_positions(pass_number, data.pass_batch, self.ranks.rank, self.ranks.world)
        first = pass_number * data.pass_batch
        if not np.array_equal(batch.sample_ids.numpy(), ids[own.start - first : own.stop - first]):
            raise RuntimeError(f"pass {pass_number}, head {name}: the loader gave other samples than the order says")
        return ids

    def _clip(self, skipped: int, stop_asked: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Clip the backbone and each head by their norms over all ranks; one message carries all that ranks add up.

        Returns the squared norms before clipping, how many samples were skipped, and how many ranks were asked to
        stop: the same on every rank.
        """
        parts = [list(self.model.backbone.parameters()), *([head.weight] for head in self.model.heads.values())]
        told = torch.tensor([skipped, stop_asked], dtype=torch.float32, device=self.device)
        numbers = torch.cat([*(squared_norm(part) for part in parts), told])
        whole = numbers[:1].clone()  # the backbone's gradient is on every rank already, unless it is spread over them
        numbers = self.ranks.sum(numbers)
        if not self.model.parallel.sharded:
            numbers[:1] = whole
        squared_norms, all_skipped, stops = numbers[:-2], numbers[-2], numbers[-1]
        for part, squared in zip(parts, squared_norms, strict=True):
            clip(part, squared.sqrt(), self.config.optimizer.clip_norm)
        return squared_norms, all_skipped, stops

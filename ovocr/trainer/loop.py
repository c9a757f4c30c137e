"""The training loop: data, backbone, heads, optimizers, metrics, checkpoints, in that order, step after step."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ovocr.cores import available_cores
from ovocr.errors import OvocrError
from ovocr.trainer.checkpoint import load_checkpoint, prune_checkpoints, read_state, save_checkpoint
from ovocr.trainer.config import HeadConfig, RunConfig
from ovocr.trainer.data.loader import Batch, build_loader
from ovocr.trainer.data.pictures import normalise
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.distributed import Ranks, choose_device, joined
from ovocr.trainer.gradients import clip_replicated, clip_sharded, sum_over_ranks
from ovocr.trainer.metrics import MetricsLog, sample_digest
from ovocr.trainer.model import Model, Optimizers, build_model, build_optimizers, vocabulary_of
from ovocr.trainer.run_folder import RunFolder
from ovocr.trainer.schedule import learning_rate_factor


@dataclass(frozen=True)
class Summary:
    """What a call of ``train`` came to."""

    folder: RunFolder
    first_step: int
    steps: int
    seconds: float
    last_loss: float | None
    is_first_rank: bool

    def format(self) -> str:
        """For a person, one line."""
        done = self.steps - self.first_step
        if not done:
            return f"{self.folder.root}: nothing to do, all {self.steps} steps are done"
        resumed = f" (from step {self.first_step})" if self.first_step else ""
        return f"{self.folder.root}: {done} steps{resumed} in {self.seconds:.0f} s, last loss {self.last_loss:.3f}"


def train(config: RunConfig) -> Summary:
    """Train as configured, from the newest checkpoint of the run's folder if it has one.

    Every rank calls this; torchrun's environment variables make it one of several. Raises OvocrError for what a user
    can mend, and where a loss is not finite.
    """
    device = choose_device(config.run.device)
    torch.set_num_threads(max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    with joined(device) as ranks:
        return _Training(config, ranks, device).run()


@dataclass
class _StepResult:
    """Numbers of one step, still on the device: they are read when the next step is under way."""

    step: int
    rate: float
    data_wait_s: float
    began: float
    scalars: dict[str, Tensor] = field(default_factory=dict)
    sample_ids: list[Tensor] = field(default_factory=list)
    sample_losses: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


class _Training:
    def __init__(self, config: RunConfig, ranks: Ranks, device: torch.device) -> None:
        self.config, self.ranks, self.device = config, ranks, device
        self.folder = RunFolder(config.run.output)
        vocabularies = {name: vocabulary_of(head) for name, head in config.heads.items()}
        self.num_classes = {name: head.num_classes or len(vocabularies[name]) for name, head in config.heads.items()}
        self.samples = {name: self._samples(name, head) for name, head in config.heads.items()}
        if ranks.rank == 0:
            self.folder.prepare(config, vocabularies)
        self.model: Model = build_model(config, self.num_classes, ranks, device)
        self.optimizers: Optimizers = build_optimizers(config, self.model)
        wants_bf16 = config.run.precision == "bf16" or (config.run.precision == "auto" and device.type == "cuda")
        self.autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=wants_bf16)
        self.first_step = self._resume()
        self.last_loss: float | None = None

    def run(self) -> Summary:
        """All steps that are left."""
        began = time.monotonic()
        steps = self.config.run.steps
        with self._open_log() if self.ranks.rank == 0 else nullcontext() as log:
            self._steps(log)
        return Summary(
            self.folder, self.first_step, steps, time.monotonic() - began, self.last_loss, self.ranks.rank == 0
        )

    def _steps(self, log: MetricsLog | None) -> None:
        run = self.config.run
        batches = {name: self._batches(name, head) for name, head in self.config.heads.items()}
        pending: _StepResult | None = None
        for step in range(self.first_step, run.steps):
            result = self._step(step, batches)
            # Numbers are read a step late, so that the device always has work queued while they are waited for.
            if pending is not None:
                self._report(pending, result.began, log)
            pending = result
            done = step + 1
            if done % run.checkpoint_every == 0 or done == run.steps:
                self._report(pending, time.monotonic(), log)
                pending = None
                if log is not None:
                    log.flush()
                self._save(done)

    def _step(self, step: int, batches: dict[str, Iterator[Batch]]) -> _StepResult:
        settings = self.config.optimizer
        rate = settings.lr * learning_rate_factor(
            step, warmup_steps=settings.warmup_steps, steps=self.config.run.steps, power=settings.decay_power
        )
        result = _StepResult(step, rate, data_wait_s=0.0, began=time.monotonic())
        for name in self.config.heads:
            waited = time.monotonic()
            batch = next(batches[name])
            result.data_wait_s += time.monotonic() - waited
            self._backward(name, batch, result)
        parameters = list(self.model.backbone.parameters())
        sum_over_ranks(parameters, self.ranks)
        result.scalars["grad_norm"] = clip_replicated(parameters, settings.clip_norm)
        for name, head in self.model.heads.items():
            result.scalars[f"heads/{name}/grad_norm"] = clip_sharded([head.weight], settings.clip_norm, self.ranks)
        self.optimizers.set_learning_rate(rate, {name: head.lr_scale for name, head in self.config.heads.items()})
        self.optimizers.step()
        return result

    def _backward(self, name: str, batch: Batch, result: _StepResult) -> None:
        """One head's share of a step: the gradients of its weighted loss are added to the backbone's."""
        head = self.model.heads[name]
        pixels = normalise(batch.pixels.to(self.device, non_blocking=True), torch.float32)
        with self.autocast:
            _, pooled = self.model.backbone(pixels)
        loss = head(pooled.float(), batch.labels.to(self.device, non_blocking=True))
        (loss * self.config.heads[name].loss_weight).backward()
        report = head.last_report
        if report is None:
            raise RuntimeError("a head made no report")
        sizes = self.ranks.sizes(batch.sample_ids.shape[0], self.device)
        ids = self.ranks.gather_rows(batch.sample_ids.to(self.device), sizes)
        result.sample_ids.append(ids)
        result.sample_losses[name] = (ids, report.sample_loss)
        result.scalars[f"heads/{name}/loss"] = loss.detach()
        result.scalars[f"heads/{name}/positive_cosine"] = report.positive_cosine.mean()
        result.scalars[f"heads/{name}/negative_cosine"] = report.negative_cosine

    def _report(self, result: _StepResult, ended: float, log: MetricsLog | None) -> None:
        values = torch.stack([value.float() for value in result.scalars.values()]).tolist()
        scalars = dict(zip(result.scalars, values, strict=True))
        losses = {name: scalars[f"heads/{name}/loss"] for name in self.config.heads}
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise OvocrError(self._not_finite(name, loss, result))
        self.last_loss = sum(self.config.heads[name].loss_weight * loss for name, loss in losses.items())
        if log is None:
            return
        images = sum(ids.shape[0] for ids in result.sample_ids)
        log.write(
            {
                "step": result.step,
                "loss": self.last_loss,
                "heads": {
                    name: {key: scalars[f"heads/{name}/{key}"] for key in _HEAD_SCALARS} for name in self.config.heads
                },
                "grad_norm": scalars["grad_norm"],
                "lr": result.rate,
                "images_per_s": images / max(1e-9, ended - result.began),
                "data_wait_s": result.data_wait_s,
                "sample_ids": sample_digest([int(i) for ids in result.sample_ids for i in ids.tolist()]),
            }
        )

    def _not_finite(self, name: str, loss: float, result: _StepResult) -> str:
        ids, sample_loss = result.sample_losses[name]
        bad = [int(i) for i in ids[~torch.isfinite(sample_loss)][:3].tolist()]
        samples = ", ".join(self.samples[name].name(i) for i in bad) or "no single sample"
        return f"step {result.step}, head {name}: the loss is {loss}; samples: {samples}"

    def _batches(self, name: str, head: HeadConfig) -> Iterator[Batch]:
        loader = build_loader(
            self.samples[name],
            image_size=self.config.backbone.image_size,
            global_batch=head.global_batch,
            seed=self.config.run.seed,
            rank=self.ranks.rank,
            world=self.ranks.world,
            start_step=self.first_step,
            steps=self.config.run.steps,
            workers=self.config.loader.workers,
            prefetch=self.config.loader.prefetch,
            pin_memory=self.device.type == "cuda",
        )
        return iter(loader)

    def _samples(self, name: str, head: HeadConfig) -> RecordSamples:
        return RecordSamples(
            head.data,
            label_select=head.label_select,
            labels_stored=head.labels_stored,
            num_classes=self.num_classes[name],
        )

    def _open_log(self) -> MetricsLog:
        run = self.config.run
        return MetricsLog(
            self.folder.metrics_path,
            start=self.first_step,
            steps=run.steps,
            log_every=run.log_every,
            tensorboard=self.folder.tensorboard if run.tensorboard else None,
        )

    def _save(self, done: int) -> None:
        tensors = self.model.tensors() | self.optimizers.tensors(self.model)
        state: dict[str, Any] = {
            "step": done,
            "num_classes": self.num_classes,
            "draws": {name: head.step for name, head in self.model.heads.items()},
        }
        save_checkpoint(self.folder.checkpoint(done), tensors, state, self.ranks)
        if self.ranks.rank == 0:
            prune_checkpoints(self.folder.checkpoints, self.config.run.keep_checkpoints)

    def _resume(self) -> int:
        """Load the newest checkpoint; the number of steps it has done, 0 where there is none."""
        newest = self.folder.newest_checkpoint()
        if newest is None:
            return 0
        state = read_state(newest)
        load_checkpoint(newest, self.model.tensors() | self.optimizers.tensors(self.model), self.ranks)
        for name, head in self.model.heads.items():
            head.step = state["draws"][name]
        return int(state["step"])


_HEAD_SCALARS = ("loss", "positive_cosine", "negative_cosine", "grad_norm")

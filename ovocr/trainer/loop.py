"""The training loop: data, backbone, heads, optimizers, metrics, checkpoints, in that order, step after step."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovocr.cores import available_cores
from ovocr.errors import OvocrError, UsageError
from ovocr.trainer.checkpoint import load_checkpoint, prune_checkpoints, read_state, save_checkpoint
from ovocr.trainer.config import HeadConfig, RunConfig
from ovocr.trainer.data.loader import Batch, build_loader
from ovocr.trainer.data.order import rank_positions, sample_index
from ovocr.trainer.data.pictures import normalise
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.distributed import Ranks, choose_device, joined
from ovocr.trainer.gradients import clip_replicated, clip_sharded, sum_over_ranks
from ovocr.trainer.metrics import MetricsLog, sample_digest
from ovocr.trainer.model import Model, Optimizers, build_model, build_optimizers, saved_per_head, vocabulary_of
from ovocr.trainer.run_folder import RunFolder
from ovocr.trainer.schedule import learning_rate_factor
from ovocr.trainer.stopping import StopRequests, stop_requests
from ovocr.trainer.triton_availability import choose_implementation


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
    with joined(device) as ranks, RunFolder(config.run.output).lock() if ranks.rank == 0 else nullcontext():
        training = _Training(config, ranks, device)
        # Ranks would have to agree on the step to stop at; several of them are ended by torchrun as they are.
        with stop_requests() if ranks.world == 1 else nullcontext(StopRequests()) as stop:
            return training.run(stop)


@dataclass
class _StepResult:
    """Numbers of one step, still on the device: they are read when the next step is under way."""

    step: int
    rate: float
    data_wait_s: float
    began: float
    scalars: dict[str, Tensor] = field(default_factory=dict)
    sample_ids: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    sample_losses: dict[str, Tensor] = field(default_factory=dict)


class _Training:
    def __init__(self, config: RunConfig, ranks: Ranks, device: torch.device) -> None:
        self.config, self.ranks, self.device = config, ranks, device
        self.folder = RunFolder(config.run.output)
        vocabularies = {name: vocabulary_of(head) for name, head in config.heads.items()}
        self.num_classes = {name: head.num_classes or len(vocabularies[name]) for name, head in config.heads.items()}
        for name, head in config.heads.items():
            count = self.num_classes[name]
            if count > len(vocabularies[name]):
                raise UsageError(f"heads.{name}.num_classes: {count}, but its vocabulary has {len(vocabularies[name])}")
            _check_implementation(name, head, device)
        self.samples = {name: self._samples(name, head) for name, head in config.heads.items()}
        if ranks.rank == 0:
            self.folder.prepare(config, vocabularies)
        self.model: Model = build_model(config, self.num_classes, ranks, device)
        self.optimizers: Optimizers = build_optimizers(config, self.model)
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        wants_bf16 = config.run.precision == "bf16" or (config.run.precision == "auto" and has_bf16)
        self.autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=wants_bf16)
        if device.type == "cuda" and wants_bf16:
            torch.set_float32_matmul_precision("medium")  # the heads get float32 embeddings and multiply in bfloat16
        self.first_step = self._resume()
        self.last_loss: float | None = None

    def run(self, stop: StopRequests) -> Summary:
        """All steps that are left, or as many as are done when a stop is asked for."""
        began = time.monotonic()
        steps = self.config.run.steps
        with self._open_log() if self.ranks.rank == 0 else nullcontext() as log:
            self._steps(log, stop)
        return Summary(
            self.folder, self.first_step, steps, time.monotonic() - began, self.last_loss, self.ranks.rank == 0
        )

    def _steps(self, log: MetricsLog | None, stop: StopRequests) -> None:
        run = self.config.run
        batches = {name: self._batches(name, head) for name, head in self.config.heads.items()}
        pending: _StepResult | None = None
        for step in range(self.first_step, run.steps):
            result = self._step(step, batches)
            # Numbers are read a step late: waiting for them does not leave the device without work.
            if pending is not None:
                self._report(pending, result.began, log)
            pending = result
            done = step + 1
            stopping = stop.asked
            if done % run.checkpoint_every == 0 or done == run.steps or stopping:
                self._report(pending, None, log)
                pending = None
                if log is not None:
                    log.flush()
                self._save(done)
            if stopping and done < run.steps:
                raise OvocrError(f"stopped; {done} steps are saved in {self.folder.root}: the same command goes on")

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
        result.sample_ids[name] = self._sample_ids(name, result.step, batch)
        pixels = normalise(batch.pixels.to(self.device, non_blocking=True), torch.float32)
        with self.autocast:
            _, pooled = self.model.backbone(pixels)
        loss = head(pooled.float(), batch.labels)
        (loss * self.config.heads[name].loss_weight).backward()
        report = head.last_report
        if report is None:
            raise RuntimeError("a head made no report")
        result.sample_losses[name] = report.sample_loss
        result.scalars[f"heads/{name}/loss"] = loss.detach()
        result.scalars[f"heads/{name}/positive_cosine"] = report.positive_cosine.mean()
        result.scalars[f"heads/{name}/negative_cosine"] = report.negative_cosine

    def _sample_ids(self, name: str, step: int, batch: Batch) -> NDArray[np.int64]:
        """The samples of the whole step, by its place in the order; this rank's batch must be its part of them."""
        head, ranks = self.config.heads[name], self.ranks
        positions = np.arange(step * head.global_batch, (step + 1) * head.global_batch)
        ids = sample_index(positions, len(self.samples[name]), self.config.run.seed)
        own = rank_positions(step, head.global_batch, ranks.rank, ranks.world)
        if not np.array_equal(batch.sample_ids.numpy(), ids[own.start - positions[0] : own.stop - positions[0]]):
            raise RuntimeError(f"step {step}, head {name}: the loader gave other samples than the order says")
        return ids

    def _report(self, result: _StepResult, ended: float | None, log: MetricsLog | None) -> None:
        """Write a step's numbers; ``ended``: when the next one began, None where none has."""
        values = torch.stack([value.float() for value in result.scalars.values()]).tolist()
        ended = time.monotonic() if ended is None else ended
        scalars = dict(zip(result.scalars, values, strict=True))
        losses = {name: scalars[f"heads/{name}/loss"] for name in self.config.heads}
        self._check_finite(result, losses, scalars)
        self.last_loss = sum(self.config.heads[name].loss_weight * loss for name, loss in losses.items())
        if log is None:
            return
        images = sum(ids.shape[0] for ids in result.sample_ids.values())
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
                "sample_ids": sample_digest(result.sample_ids.values()),
            },
            images,
        )

    def _check_finite(self, result: _StepResult, losses: dict[str, float], scalars: dict[str, float]) -> None:
        """Raises OvocrError naming step, head and samples where a number is not finite: before it is saved."""
        for name, loss in losses.items():
            if not math.isfinite(loss):
                broken = ~torch.isfinite(result.sample_losses[name]).cpu().numpy()
                bad = result.sample_ids[name][broken][:3].tolist()
                samples = ", ".join(self.samples[name].name(sample) for sample in bad) or "no single sample"
                raise OvocrError(f"step {result.step}, head {name}: the loss is {loss}; samples: {samples}")
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise OvocrError(f"step {result.step}: {name} is {value}, though the losses are finite")

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
            "samples": {name: len(samples) for name, samples in self.samples.items()},
            "draws": {name: head.step for name, head in self.model.heads.items()},
        }
        save_checkpoint(self.folder.checkpoint(done), tensors, state, self.ranks)
        if self.ranks.rank == 0:
            prune_checkpoints(self.folder.checkpoints, self.config.run.keep_checkpoints)

    def _resume(self) -> int:
        """Load the newest checkpoint; the number of steps it has done, 0 where there is none."""
        newest = self.folder.newest_checkpoint()
        done = self.ranks.agree(0 if newest is None else read_state(newest)["step"], self.device)
        if done == 0:
            if self.config.backbone.init_from is not None:
                self.model.backbone.load_weights(self.config.backbone.init_from)
            return 0
        checkpoint = self.folder.checkpoint(done)
        for name, count in saved_per_head(checkpoint, "samples", self.config).items():
            if count != len(self.samples[name]):
                raise OvocrError(
                    f"{self.folder.root}: head {name} was trained on {count} samples, its data hold "
                    f"{len(self.samples[name])} now; choose another run.output, or the old data to go on with it"
                )
        load_checkpoint(checkpoint, self.model.tensors() | self.optimizers.tensors(self.model), self.ranks)
        for name, draws in saved_per_head(checkpoint, "draws", self.config).items():
            self.model.heads[name].step = draws
        return done


def _check_implementation(name: str, head: HeadConfig, device: torch.device) -> None:
    """Raises UsageError where the implementation that a head asks for cannot run on the device."""
    try:
        choose_implementation(head.implementation, torch.empty(0, device=device))
    except (ImportError, ValueError) as error:
        raise UsageError(f"heads.{name}.implementation: {error}") from error


_HEAD_SCALARS = ("loss", "positive_cosine", "negative_cosine", "grad_norm")

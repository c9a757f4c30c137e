"""The training loop: steps, numbers, checkpoints, until all steps are done or a stop is asked for."""

import os
import time
from collections.abc import Generator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.processes.cores import available_cores
from ovocr.trainer.config.heads import HeadConfig
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.loader import Batch, worker_deaths_told
from ovocr.trainer.kernels.availability import choose_implementation
from ovocr.trainer.ranks.distributed import Ranks, choose_device, joined
from ovocr.trainer.runs.checkpoint import prune_checkpoints
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.course import Course
from ovocr.trainer.training.metrics import MetricsLog, keep_lines_before
from ovocr.trainer.training.model import build_model, build_optimizers
from ovocr.trainer.training.reporting import StepReports
from ovocr.trainer.training.skipped_samples import SkipLimit, SkippedSamples
from ovocr.trainer.training.step import StepResult, TrainStep
from ovocr.trainer.training.stopping import StopRequests, stop_requests


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
    can mend, where a loss is not finite, where another rank does not answer, and after SIGTERM or Ctrl-C, when all
    steps so far are saved.
    """
    device = choose_device(config.run.device)
    use_share_of_cores()
    with (
        worker_deaths_told(),  # the same death may be told again while what is open is closed
        stop_requests() as stop,
        joined(device, config.run.collective_timeout_s) as ranks,
        RunFolder(config.run.output).lock() if ranks.rank == 0 else nullcontext(),
    ):
        return _Training(config, ranks, device).run(stop)


def use_share_of_cores() -> None:
    """Have torch use as many threads as this rank's share of the machine's cores."""
    torch.set_num_threads(max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def open_data(config: RunConfig) -> dict[str, HeadData]:
    """The data of every head. Raises OvocrError, or UsageError naming the setting, where they do not fit."""
    return {
        name: HeadData.open(
            name,
            head,
            image_size=config.backbone.image_size,
            passes=config.run.passes_per_step,
            seed=config.run.seed,
        )
        for name, head in config.heads.items()
    }


def check_implementation(name: str, head: HeadConfig, device: torch.device) -> None:
    """Raises UsageError where the implementation that a head asks for cannot run on the device."""
    try:
        choose_implementation(head.implementation, torch.empty(0, device=device))
    except (ImportError, ValueError) as error:
        raise UsageError(f"heads.{name}.implementation: {error}") from error


class _Training:
    def __init__(self, config: RunConfig, ranks: Ranks, device: torch.device) -> None:
        self.config, self.ranks, self.device = config, ranks, device
        self.folder = RunFolder(config.run.output)
        for name, head in config.heads.items():
            check_implementation(name, head, device)
        self.data = open_data(config)
        if ranks.rank == 0:
            vocabularies = {name: data.vocabulary for name, data in self.data.items()}
            self.folder.prepare(config, vocabularies)
        model = build_model(config, {name: data.num_classes for name, data in self.data.items()}, ranks, device)
        optimizers = build_optimizers(config, model)
        self.course = Course(self.folder, config, model, optimizers, self.data, ranks, device)
        self.first_step = self.course.begin()
        if ranks.rank == 0:
            keep_lines_before(self.folder.skipped_path, self.first_step)
        skipped = SkippedSamples(self.folder.skipped_path)
        self.step = TrainStep(config, model, optimizers, self.data, ranks, device, skipped)

    def run(self, stop: StopRequests) -> Summary:
        """All steps that are left, or as many as are done when a stop is asked for."""
        began = time.monotonic()
        steps = self.config.run.steps
        with self._open_log() if self.ranks.rank == 0 else nullcontext() as log:
            limit = SkipLimit(self.config.loader.max_skipped, self.folder.skipped_path)
            reports = StepReports(self.config, self.data, log, limit)
            with worker_deaths_told():
                self._steps(reports, stop)
        return Summary(
            self.folder, self.first_step, steps, time.monotonic() - began, reports.last_loss, self.ranks.rank == 0
        )

    def _steps(self, reports: StepReports, stop: StopRequests) -> None:
        steps = range(self.first_step, self.config.run.steps)
        batches = {
            name: data.batches(self.ranks, steps, self.config.loader, self.device, self.config.run.seed)
            for name, data in self.data.items()
        }
        try:
            self._run_steps(steps, batches, reports, stop)
        finally:
            for loader in batches.values():
                loader.close()  # its worker processes end, which no longer heed SIGTERM

    def _run_steps(
        self,
        steps: range,
        batches: Mapping[str, Generator[Batch, None, None]],
        reports: StepReports,
        stop: StopRequests,
    ) -> None:
        run = self.config.run
        pending: StepResult | None = None
        for step in steps:
            result = self.step(step, batches, stop_asked=stop.asked)
            # Numbers are read a step late: waiting for them does not leave the device without work. Every rank reads
            # there whether any was asked to stop, so that all of them stop at the same step.
            if pending is not None:
                reports.add(pending, ended=result.began)
            pending = result
            done = step + 1
            if done % run.checkpoint_every == 0 or done == run.steps or reports.stops:
                reports.add(pending, ended=None)
                pending = None
                reports.flush()
                self._save(done)
                if reports.stops and done < run.steps:
                    raise OvocrError(f"stopped; {done} steps are saved in {self.folder.root}: the same command goes on")

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
        self.course.save(done)
        if self.ranks.rank == 0:
            prune_checkpoints(self.folder.checkpoints, self.config.run.keep_checkpoints)

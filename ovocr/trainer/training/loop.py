"""The training loop: steps, metrics and checkpoints, until all steps are done or a stop is requested."""

import os
import shutil
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from ovocr.base.errors import UsageError
from ovocr.base.plural import counted
from ovocr.processes.cores import available_cores
from ovocr.trainer.config.heads import HeadConfig
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.config.toml import plain_settings
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.loader import Batch, worker_deaths_as_ovocr_errors
from ovocr.trainer.data.stored.store_reading import check_cache_room
from ovocr.trainer.data.tag_weights import load_tag_weights
from ovocr.trainer.flops.device_peak import device_peak_flops
from ovocr.trainer.kernels.availability import choose_implementation
from ovocr.trainer.ranks.distributed import Ranks, choose_device, join_ranks
from ovocr.trainer.runs.best_checkpoint import SavedEvaluation, add_evaluation, best_checkpoint
from ovocr.trainer.runs.checkpoint import prune_checkpoints
from ovocr.trainer.runs.extension import finish_extension, read_extensions
from ovocr.trainer.runs.extension_plan import PlannedExtension, check_configuration, with_schedule_start
from ovocr.trainer.runs.folder import RunFolder, package_versions
from ovocr.trainer.tracking.tracker import TrackedRun
from ovocr.trainer.tracking.trackers import Trackers, check_trackers
from ovocr.trainer.training.embedding_statistics import EmbeddingStatistics
from ovocr.trainer.training.evaluator import Evaluator
from ovocr.trainer.training.metrics import MetricsLog, keep_lines_before
from ovocr.trainer.training.model import build_model, build_optimizers
from ovocr.trainer.training.run_state import RunState
from ovocr.trainer.training.skipped_samples import SkipLimit, SkippedSamples
from ovocr.trainer.training.step import StepResult, TrainStep
from ovocr.trainer.training.step_reporter import StepReporter
from ovocr.trainer.training.stop_request import StoppedError, StopRequest, listen_for_stop_signals


@dataclass(frozen=True)
class Summary:
    """Result of a call of ``train``.

    has_made_up: whether an evaluation was made up for before the first step. extension: a clause about the extension of
    the run by this call; empty if there was none.
    """

    folder: RunFolder
    first_step: int
    steps: int
    seconds: float
    last_loss: float | None
    is_first_rank: bool
    has_made_up: bool
    extension: str = ""

    def format(self) -> str:
        """Returns one line to print."""
        done = self.steps - self.first_step
        if not done and self.has_made_up:
            return f"{self.folder.root}: evaluated after {counted(self.steps, 'step')}, which were already done"
        if not done:
            return f"{self.folder.root}: nothing to do, {counted(self.steps, 'step')} already done"
        resumed = f" (from step {self.first_step})" if self.first_step else ""
        steps = f"{counted(done, 'step')}{resumed}"
        extended = f"; extended {self.extension}" if self.extension else ""
        return f"{self.folder.root}: {steps} in {self.seconds:.0f} s, last loss {self.last_loss:.3f}{extended}"


def train(config: RunConfig, *, extend: bool = False) -> Summary:
    """Trains as configured, resuming from the newest checkpoint of the run's folder if there is one.

    Every rank calls this; torchrun's environment variables make it one of several.

    extend: whether the configuration may change the length of the run (runs/extension_plan.py).

    Raises OvocrError for user errors, if a loss is not finite, if another rank does not answer, and after SIGTERM or
    Ctrl-C; all steps so far are then saved.
    """
    check_trackers(config.tracking)
    device = choose_device(config.run.device)
    limit_torch_threads()
    with (
        worker_deaths_as_ovocr_errors(),  # closing the loaders may report the same death again
        listen_for_stop_signals() as stop,
        join_ranks(device, config.run.collective_timeout_s) as ranks,
        RunFolder(config.run.output).lock() if ranks.rank == 0 else nullcontext(),
    ):
        return _Training(config, ranks, device, extend=extend).run(stop)


def limit_torch_threads() -> None:
    """Limits torch's threads to this rank's share of the machine's cores."""
    torch.set_num_threads(max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def open_data(config: RunConfig) -> dict[str, HeadData]:
    """Opens the data of every head. Raises OvocrError, or UsageError naming the setting, if they do not match."""
    return {
        name: HeadData.open(
            name,
            head,
            image_size=config.backbone.image_size,
            passes=config.run.passes_per_step,
            seed=config.run.seed,
            loader=config.loader,
        )
        for name, head in config.heads.items()
    }


def check_implementation(name: str, head: HeadConfig, device: torch.device) -> None:
    """Raises UsageError if the implementation requested for a head cannot run on the device."""
    try:
        choose_implementation(head.implementation, torch.empty(0, device=device))
    except (ImportError, ValueError) as error:
        raise UsageError(f"heads.{name}.implementation: {error}") from error


def agree_on_configuration(
    config: RunConfig, ranks: Ranks, device: torch.device, *, extend: bool
) -> tuple[RunConfig, PlannedExtension | None]:
    """Checks on rank 0 that the run in the configuration's folder, if there is one, can go on; changes nothing.

    Returns the configuration with the start of the schedule, the same on every rank, and on rank 0 the extension that
    leads to it, if one is needed. Raises OvocrError naming a difference.
    """
    planned = None
    if ranks.rank == 0:
        config, planned = check_configuration(RunFolder(config.run.output), config, extend=extend)
    start = ranks.from_first_rank(config.optimizer.schedule_start or 0, device)
    return with_schedule_start(config, start), planned


class _Training:
    def __init__(self, config: RunConfig, ranks: Ranks, device: torch.device, *, extend: bool) -> None:
        self.ranks, self.device = ranks, device
        self.folder = RunFolder(config.run.output)
        if ranks.rank == 0:
            finished = finish_extension(self.folder)
            if finished is not None:
                print(
                    f"{self.folder.root}: completed an interrupted extension: {finished.format(self.folder.root)}",
                    file=sys.stderr,
                )
        config, planned = agree_on_configuration(config, ranks, device, extend=extend)
        self.config = config
        for name, head in config.heads.items():
            check_implementation(name, head, device)
        self.data = open_data(config)
        demands = {name: data.demand(config.loader) for name, data in self.data.items()}
        check_cache_room(config.loader, {name: own for name, own in demands.items() if own}, ranks.world)
        self.evaluator = Evaluator(config, self.data, ranks, device)
        vocabularies = {name: data.vocabulary for name, data in self.data.items()}
        weights = load_tag_weights(config, vocabularies)
        frequencies = {name: own.frequencies for name, own in weights.items()}
        if planned is not None:
            self.folder.check_data(vocabularies, frequencies)
        elif ranks.rank == 0:
            self.folder.prepare(config, vocabularies, frequencies)
        num_classes = {name: data.num_classes for name, data in self.data.items()}
        tag_weights = {name: own.tensor() for name, own in weights.items()}
        self.model = build_model(config, num_classes, ranks, device, tag_weights)
        self.statistics = EmbeddingStatistics(self.model, self.data, config.loader, ranks, device)
        optimizers = build_optimizers(config, self.model)
        self.state = RunState(self.folder, config, self.model, optimizers, self.data, ranks, device)
        self.first_step = self.state.start_or_resume(None if planned is None else planned.extension.from_step)
        self.state.check_space(self.first_step)
        self.extension = ""
        if planned is not None:  # after everything that may be refused has been checked
            self._extend(planned)
            self.folder.prepare(config, vocabularies, frequencies)
        if ranks.rank == 0:
            keep_lines_before(self.folder.skipped_path, self.first_step)
            if not self.first_step:  # of a run that was killed before its first checkpoint, maybe with other data
                shutil.rmtree(self.folder.priors, ignore_errors=True)
        ranks.from_first_rank(0, device)  # no rank adds a line before rank 0 has changed the files
        self.skipped = SkippedSamples(self.folder.skipped_path)
        self.step = TrainStep(config, self.model, optimizers, self.data, ranks, device, self.skipped)

    def _extend(self, planned: PlannedExtension) -> None:
        planned.carry_out()
        self.extension = planned.format()
        print(f"{self.folder.root}: extended {self.extension}", file=sys.stderr, flush=True)

    def run(self, stop: StopRequest) -> Summary:
        """Runs the remaining steps, or until a stop is requested."""
        began = time.monotonic()
        steps = self.config.run.steps
        with self._open_log() if self.ranks.rank == 0 else nullcontext() as log:
            limit = SkipLimit(self.config.loader.max_skipped, self.folder.skipped_path)
            extensions = read_extensions(self.folder) if self.ranks.rank == 0 else []
            peak = device_peak_flops(self.device, bf16=self.step.is_bf16)
            reporter = StepReporter(self.config, self.data, log, limit, extensions, peak)
            with worker_deaths_as_ovocr_errors():
                has_made_up = self._make_up_evaluation(log, stop)
                self._steps(reporter, log, stop)
                counting = "stopped before the training images were counted; all steps are saved"
                with stop.at_once(f"{self.folder.root}: {counting}; the same command or `ovocr eval` counts them"):
                    self.evaluator.keep_priors()
            if self.ranks.rank == 0 and (line := reporter.store_line()):
                print(line, file=sys.stderr, flush=True)
        return Summary(
            folder=self.folder,
            first_step=self.first_step,
            steps=steps,
            seconds=time.monotonic() - began,
            last_loss=reporter.last_loss,
            is_first_rank=self.ranks.rank == 0,
            has_made_up=has_made_up,
            extension=self.extension,
        )

    def _make_up_evaluation(self, log: MetricsLog | None, stop: StopRequest) -> bool:
        """Evaluates the checkpoint that the run resumes from, if its evaluation is due and missing; returns whether.

        The run was then killed or stopped in this evaluation, or its settings have changed.
        """
        done = self.first_step
        if not done or not self.evaluator.is_missing(done):
            return False
        if not self._evaluate(done, log, stop, is_saved=True):
            raise self._stopped(done)
        return True

    def _steps(self, reporter: StepReporter, log: MetricsLog | None, stop: StopRequest) -> None:
        steps = range(self.first_step, self.config.run.steps)
        batches = {
            name: data.batches(self.ranks, steps, self.config.loader, self.device, self.config.run.seed)
            for name, data in self.data.items()
        }
        try:
            self._run_steps(steps, batches, reporter, log, stop)
        finally:
            for loader in batches.values():
                loader.close()  # ends the worker processes, which ignore SIGTERM

    def _run_steps(
        self,
        steps: range,
        batches: Mapping[str, Generator[Batch, None, None]],
        reporter: StepReporter,
        log: MetricsLog | None,
        stop: StopRequest,
    ) -> None:
        pending: StepResult | None = None
        for step in steps:
            result = self.step(step, batches, stop_requested=stop.requested)
            # Numbers are read one step late, so the device has work while the host waits for them. They tell every rank
            # at the same step whether any rank was asked to stop, so all stop together.
            if pending is not None:
                reporter.add(pending, ended=result.began)
            pending = result
            done = step + 1
            if self._saves_after(done) or self.evaluator.is_due(done) or reporter.stops:
                self._finish(pending, reporter, log, stop)
                pending = None

    def _saves_after(self, done: int) -> bool:
        run = self.config.run
        # A run that is extended goes on from the start of its cooldown.
        return done % run.checkpoint_every == 0 or done in (run.steps, self.config.cooldown_start)

    def _finish(self, result: StepResult, reporter: StepReporter, log: MetricsLog | None, stop: StopRequest) -> None:
        """Waits for a step, then saves and evaluates as due. Raises OvocrError if a stop was requested."""
        done = result.step + 1
        reporter.add(result, ended=None)
        self.statistics.measure(done)  # for the checkpoint and for the evaluation
        is_due, is_saved = self.evaluator.is_due(done), self._saves_after(done) or reporter.stops
        if is_saved:  # before the evaluation, so that steps are not lost if it fails
            reporter.flush()
            self._save(done)
        stops = reporter.stops
        if is_due and not stops:
            stops = not self._evaluate(done, log, stop, is_saved=is_saved)
            if stops and not is_saved:
                reporter.flush()
                self._save(done)
        if stops and (done < self.config.run.steps or is_due):
            raise self._stopped(done)

    def _evaluate(self, done: int, log: MetricsLog | None, stop: StopRequest, *, is_saved: bool) -> bool:
        """Evaluates the model after ``done`` steps; saves a checkpoint if it is the best so far.

        is_saved: whether there is a checkpoint of this step. Returns False if a stop was requested.
        """
        result = self.evaluator.evaluate(self.model, lambda: stop.requested)
        if result is None:
            return False
        if log is not None:
            log.write_evaluation(done, result.to_record(), result.scalars(), result.format())
        if is_saved:
            if self.ranks.rank == 0:
                add_evaluation(self.folder.checkpoint(done), result.to_saved())
                self._prune()
        elif result.is_best:
            self._save(done, result.to_saved())
        return True

    def _stopped(self, done: int) -> StoppedError:
        return StoppedError(
            f"stopped; {counted(done, 'step')} saved in {self.folder.root}; run the same command to resume"
        )

    def _open_log(self) -> MetricsLog:
        run = self.config.run
        tracked = TrackedRun(
            self.folder, self.first_step, self.config.tracking, plain_settings(self.config), package_versions()
        )
        return MetricsLog(
            self.folder.metrics_path,
            start=self.first_step,
            steps=run.steps,
            log_every=run.log_every,
            trackers=Trackers.open(tracked),
        )

    def _save(self, done: int, evaluation: SavedEvaluation | None = None) -> None:
        self.skipped.flush()
        self.state.save(done, evaluation)
        if self.ranks.rank == 0:
            self._prune()

    def _prune(self) -> None:
        checkpoints, cooldown_start = self.folder.checkpoints, self.config.cooldown_start
        best = best_checkpoint(checkpoints)
        spared = [] if best is None else [best]
        spared += [] if cooldown_start is None else [self.folder.checkpoint(cooldown_start)]
        prune_checkpoints(checkpoints, self.config.run.keep_checkpoints, spared)

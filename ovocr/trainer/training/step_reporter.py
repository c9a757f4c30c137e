"""Checks the numbers of a step and, on rank 0, writes them to the metrics log."""

import math
import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.dataset.access.store_records import Fetched
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.flops.model_flops import StepFlops
from ovocr.trainer.runs.extension import Extension
from ovocr.trainer.training.metrics import MetricsLog, sample_digest
from ovocr.trainer.training.skipped_samples import SkipLimit
from ovocr.trainer.training.step import StepResult

# Steps after the warm-up in which numbers that are not finite suggest that the learning rate is too high. It rises
# until the warm-up ends, so a rate that is too high shows during the warm-up or soon after it.
_STEPS_AT_PEAK = 100
_HEAD_METRICS = ("loss", "positive_cosine", "negative_cosine", "grad_norm")


class StepReporter:
    """Checks the results of steps on every rank and logs them on rank 0.

    log: rank 0's metrics log; None on the other ranks. extensions: those of the run, oldest first; the first step after
    each is marked in the log. peak_flops: peak of this rank's device, FLOP/s; None if it is not known.

    last_loss: weighted loss of the latest step. last_flops: its model FLOPs on this rank. stops: whether any rank was
    asked to stop. fetched: what this rank has fetched from object stores. waited_s: seconds that it waited for data.
    """

    def __init__(
        self,
        config: RunConfig,
        data: Mapping[str, HeadData],
        log: MetricsLog | None,
        limit: SkipLimit | None = None,
        extensions: Iterable[Extension] = (),
        peak_flops: float | None = None,
    ) -> None:
        self._limit = limit
        self._extended = {each.from_step: {"old_steps": each.old_steps, "steps": each.steps} for each in extensions}
        self._config, self._data, self._log, self._peak_flops = config, data, log, peak_flops
        self.last_loss: float | None = None
        self.last_flops: StepFlops | None = None
        self.stops = False
        self.fetched = Fetched()
        self.waited_s = 0.0
        self._in_store = any(isinstance(data, str) for head in config.heads.values() for data in head.data)

    def add(self, result: StepResult, *, ended: float | None) -> None:
        """Checks and writes the numbers of a step.

        ended: when the next step began, on the monotonic clock; None if it has not begun.

        Raises OvocrError naming step, head and samples if a number is not finite, or if too many samples were skipped.
        """
        numbers = result.read()
        ended = time.monotonic() if ended is None else ended
        self.stops = self.stops or numbers["stops"] > 0
        self._check_finite(result, numbers)
        self.last_loss = sum(head.loss_weight * numbers[f"{name}/loss"] for name, head in self._config.heads.items())
        sample_ids = {name: np.concatenate(head.sample_ids) for name, head in result.heads.items()}
        images = sum(ids.shape[0] for ids in sample_ids.values())
        if self._limit is not None:
            self._limit.add(int(numbers["skipped"]), images)
        self.last_flops = StepFlops.count(self._config, {name: head.sizes for name, head in result.heads.items()})
        self.fetched = self.fetched.plus(result.fetched)
        self.waited_s += result.data_wait_s
        if self._log is None:
            return
        seconds = max(1e-9, ended - result.began)
        extended = self._extended.get(result.step)
        flops_per_s = self.last_flops.total / seconds
        self._log.write(
            {
                "step": result.step,
                "loss": self.last_loss,
                "heads": {name: {key: numbers[f"{name}/{key}"] for key in _HEAD_METRICS} for name in result.heads},
                "grad_norm": numbers["grad_norm"],
                "lr": result.rate,
                "images_per_s": images / seconds,
                "model_tflops_per_s": flops_per_s / 1e12,
                **({} if self._peak_flops is None else {"mfu": flops_per_s / self._peak_flops}),
                "data_wait_s": result.data_wait_s,
                **({"store": result.fetched._asdict()} if self._in_store else {}),
                "memory_gb": peak_memory_gb(),
                "skipped": int(numbers["skipped"]),
                "illegible": int(numbers["illegible"]),
                "sample_ids": sample_digest(sample_ids.values()),
                **({} if extended is None else {"extended": extended}),
            },
            images,
            seconds,
        )

    def flush(self) -> None:
        """Flushes all lines to disk; call before a checkpoint records their steps as done."""
        if self._log is not None:
            self._log.flush()

    def store_line(self) -> str:
        """Returns what this rank has fetched from object stores; empty if no training data are in one."""
        if not self._in_store:
            return ""
        own = self.fetched
        damaged = f", {counted(own.damaged, 'damaged block')} fetched again" if own.damaged else ""
        return (
            f"store: {own.bytes / 1e9:.2f} GB fetched in {counted(own.requests, 'request')}, "
            f"{counted(own.failed, 'failed attempt')}{damaged}; waited {self.waited_s:.0f} s for data"
        )

    def _check_finite(self, result: StepResult, numbers: Mapping[str, float]) -> None:
        for name, head in result.heads.items():
            loss = numbers[f"{name}/loss"]
            if not math.isfinite(loss):
                is_bad = ~torch.isfinite(torch.cat(head.sample_losses)).cpu().numpy()
                bad = [sample for sample in np.concatenate(head.sample_ids)[is_bad][:3].tolist() if sample >= 0]
                samples = ", ".join(self._data[name].samples.name(sample) for sample in bad) or "unknown"
                advice = self._advice(result.step, [name])
                raise OvocrError(f"step {result.step}, head {name}: the loss is {loss}; samples: {samples}{advice}")
        for key, value in numbers.items():
            if not math.isfinite(value):
                advice = self._advice(result.step, list(result.heads))
                raise OvocrError(f"step {result.step}: {key} is {value}, although the losses are finite{advice}")

    def _advice(self, step: int, heads: Sequence[str]) -> str:
        """Returns what to say about the learning rate, if it may be the cause: in the first steps at its peak."""
        settings = self._config.optimizer
        since_start = step - (settings.schedule_start or 0)
        if not 0 < since_start < settings.warmup_steps + _STEPS_AT_PEAK:  # the first step has not changed a weight
            return ""
        scales = {f"heads.{name}.lr_scale": self._config.heads[name].lr_scale for name in heads}
        times = "".join(f", times {key}, {scale:g}" for key, scale in scales.items() if scale != 1)
        return f"; the learning rate may be too high: optimizer.lr is {settings.lr:g}{times}"


def peak_memory_gb() -> float:
    """Returns this process's peak memory [10^9 bytes], on the GPU if it uses one."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9

"""Weights & Biases. Address, key and mode are in its environment variables (WANDB_MODE, WANDB_API_KEY, …)."""

import os
import secrets
from collections.abc import Mapping

from ovocr.trainer.tracking.record import TrackingRecord
from ovocr.trainer.tracking.tracker import Ending, TrackedRun

_NAME = "wandb"
# Reports of errors to the vendor are off, and the end of a run waits for uploads no longer than this, unless the
# environment says otherwise. What is not uploaded stays in the folder of the run, for `wandb sync`.
_ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_FINISH_TIMEOUT": "60"}


class WandbTracker:
    """Continues the run in tracking.json, or starts a new one. Its files are in the folder ``wandb`` of the run.

    A step that the run has is not logged again: the library shows the rows of a run in the order in which they come,
    and cannot replace one. Online, the server knows the last row; offline, tracking.json does.
    """

    def __init__(self, run: TrackedRun, record: TrackingRecord) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import wandb

        run_id = record.run_id(_NAME)
        if run_id is None:
            run_id = secrets.token_hex(4)
            record.start_run(_NAME, run_id)
        self._start, self._record = run.start, record
        self._last: dict[str, int] = {}
        self._run = wandb.init(
            project=run.config.project,
            name=run.name,
            group=run.config.group,
            tags=run.config.tags,
            dir=run.folder.root,
            id=run_id,
            resume="allow",
        )
        self._run.config.update({**run.settings, "versions": dict(run.versions)}, allow_val_change=True)
        # Charts have the step of the training run as their x-axis, not the number of the row.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        self._is_known = self._run.resumed  # online, and the server has the run
        self._first_row = self._run.step if self._is_known else 1 + record.last_step(_NAME)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        series = next(iter(values))
        if self._start <= step <= self._last_step(series):
            return
        self._record.add_step(_NAME, series, step)
        # The numbers of rows must ascend. An evaluation that is made up for gets the next row, alone.
        row = max(step, self._first_row, self._run.step)
        self._run.log({**values, "step": step}, step=row, commit=True if step < self._start else None)

    def close(self, ending: Ending) -> None:
        """See ``Tracker``. The library knows finished and failed runs; a run that was stopped is a failed one."""
        self._run.finish(exit_code=0 if ending is Ending.FINISHED else 1)

    def _last_step(self, series: str) -> int:
        """Returns the last step of a series when this process began."""
        if self._is_known:
            return self._first_row - 1
        if series not in self._last:
            self._last[series] = self._record.last_step(_NAME, series)
        return self._last[series]

"""MLflow. Its environment variable MLFLOW_TRACKING_URI names the server or database."""

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ovocr.trainer.config.toml import format_value
from ovocr.trainer.tracking.record import TrackingRecord
from ovocr.trainer.tracking.tracker import Ending, TrackedRun

_NAME = "mlflow"
_STATUS = {Ending.FINISHED: "FINISHED", Ending.STOPPED: "KILLED", Ending.FAILED: "FAILED"}
# The most that a request may have.
_METRICS, _PARAMETERS = 1000, 100
_Item = TypeVar("_Item")


class MlflowTracker:
    """Continues the run in tracking.json if the server has it, or starts a new one.

    A step that the run has is not logged again: MLflow keeps every value of a step, and cannot replace one.
    """

    def __init__(self, run: TrackedRun, record: TrackingRecord) -> None:
        # MLflow sends usage statistics unless this is set.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # Without these, a server that does not answer delays the start of the run by almost five minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # it logs the errors that it raises, with tracebacks
        self._client = MlflowClient()
        self._start = run.start
        self._last: dict[str, int] = {}
        run_id = record.run_id(_NAME)
        self._resumes = run_id is not None and self._is_active(run_id)
        if run_id is None or not self._resumes:
            run_id = self._create_run(run)
            record.start_run(_NAME, run_id)
        self._run_id = run_id
        if self._resumes:
            self._client.update_run(run_id, status="RUNNING")
        self._describe(run)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        from mlflow.entities import Metric

        if self._start <= step <= self._last_step(next(iter(values))):
            return
        now = int(time.time() * 1000)
        metrics = [Metric(_allowed(name), value, now, step) for name, value in values.items()]
        for part in _parts(metrics, _METRICS):
            self._client.log_batch(self._run_id, metrics=part)

    def close(self, ending: Ending) -> None:
        """See ``Tracker``."""
        self._client.set_terminated(self._run_id, status=_STATUS[ending])

    def _is_active(self, run_id: str) -> bool:
        """Returns whether the server has the run. It has not if the run was deleted or the address has changed."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _create_run(self, run: TrackedRun) -> str:
        tags = {tag: "true" for tag in run.config.tags}
        if run.config.group is not None:
            tags["group"] = run.config.group
        created = self._client.create_run(self._experiment(run.config.project), tags=tags, run_name=run.name)
        return str(created.info.run_id)

    def _experiment(self, name: str) -> str:
        """Returns the id of the experiment; creates it if needed."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException as error:  # another run has created it just now
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id)

    def _describe(self, run: TrackedRun) -> None:
        """Writes settings as parameters and versions as tags. A parameter cannot change; a new value is left out."""
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(self._run_id).data.params if self._resumes else {}
        parameters = [Param(name, value) for name, value in _flat(run.settings) if name not in known]
        for part in _parts(parameters, _PARAMETERS):
            self._client.log_batch(self._run_id, params=part)
        tags = [RunTag(f"versions.{package}", version) for package, version in run.versions.items()]
        self._client.log_batch(self._run_id, tags=tags)

    def _last_step(self, series: str) -> int:
        """Returns the last step of a series when this process began; -1 if the run had none."""
        if series not in self._last:
            history = self._client.get_metric_history(self._run_id, _allowed(series)) if self._resumes else []
            self._last[series] = max((metric.step for metric in history), default=-1)
        return self._last[series]


def _allowed(name: str) -> str:
    """Returns the name of a metric with an underscore in the place of each character that MLflow does not allow."""
    return re.sub(r"[^\w.\- :/]", "_", name)


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _flat(settings: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    """Yields each setting by its dotted name, as text."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{section}{key}.")
        else:
            yield f"{section}{key}", value if isinstance(value, str) else format_value(value)

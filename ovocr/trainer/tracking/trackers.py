"""All trackers of a run."""

from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.trainer.config.tracking import TrackerName, TrackingConfig
from ovocr.trainer.tracking.background import BackgroundTracker
from ovocr.trainer.tracking.failures import Failures, reason_of
from ovocr.trainer.tracking.record import TrackingRecord
from ovocr.trainer.tracking.tracker import Ending, TrackedRun, Tracker

# The module of each tracker, and the extra that installs it.
_MODULES: dict[TrackerName, tuple[str, str]] = {
    "tensorboard": ("tensorboard", "train"),
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow"),
}


def check_trackers(config: TrackingConfig) -> None:
    """Raises MissingExtraError if the package of a tracker is not installed."""
    for name in config.trackers:
        module, extra = _MODULES[name]
        spec = find_spec(module)
        if spec is None or spec.origin is None:  # a folder of this name, such as W&B's own, is a package without origin
            raise MissingExtraError(f"tracking.trackers: {name}", extra)


class Trackers:
    """Passes the numbers of a run to its trackers. An error of a tracker is reported and never raised."""

    def __init__(self, trackers: list[BackgroundTracker]) -> None:
        self._trackers = trackers

    @classmethod
    def open(cls, run: TrackedRun) -> "Trackers":
        """Starts the trackers, or continues their runs if the training run resumes.

        Raises OvocrError if a tracker of a new run does not start. A run that resumes goes on without this tracker,
        because it may be restarted by a scheduler while a server is away.
        """
        record = TrackingRecord(run.folder.tracking_path, is_new=run.start == 0)
        with ExitStack() as opened:
            trackers = []
            for name in run.config.trackers:
                try:
                    tracker = BackgroundTracker(name, _open(name, run, record))
                except Exception as error:
                    if not run.start:
                        raise OvocrError(f"tracking.trackers: {name} does not start: {reason_of(error)}") from error
                    Failures(name).add(f"does not continue: {reason_of(error)}")
                    continue
                opened.callback(tracker.close, Ending.FAILED)
                trackers.append(tracker)
            opened.pop_all()
        return cls(trackers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Records values of a step by name, see ``Tracker``."""
        for tracker in self._trackers:
            tracker.log(step, values)

    def close(self, ending: Ending) -> None:
        """Records how the run ended; waits until all is written or sent, but not for long."""
        for tracker in self._trackers:
            tracker.close(ending)


def _open(name: TrackerName, run: TrackedRun, record: TrackingRecord) -> Tracker:
    if name == "tensorboard":
        from ovocr.trainer.tracking.tensorboard_tracker import TensorBoardTracker

        return TensorBoardTracker(run)
    if name == "wandb":
        from ovocr.trainer.tracking.wandb_tracker import WandbTracker

        return WandbTracker(run, record)
    from ovocr.trainer.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(run, record)

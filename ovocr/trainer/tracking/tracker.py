"""The interface of a tracker, and what it gets to know about the run."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ovocr.trainer.config.tracking import TrackingConfig
from ovocr.trainer.runs.folder import RunFolder


class Ending(Enum):
    """How a run ended: all steps are done, it was asked to stop, or an error ended it."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class TrackedRun:
    """A run that starts or resumes.

    start: number of finished steps; 0 for a new run. settings: every setting by section and key, as plain values.
    versions: package versions.
    """

    folder: RunFolder
    start: int
    config: TrackingConfig
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """The configured name, or the name of the run's folder."""
        return self.config.name or self.folder.root.absolute().name


class Tracker(Protocol):
    """Receives the numbers of a run. Its constructor starts a run of the tracker, or continues it if ``start`` > 0.

    Methods may raise any exception; ``Trackers`` reports them, and the training run goes on.
    """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Records values of a step by name.

        Values with the same first name form a series. Its steps ascend, except that steps after the checkpoint run
        again when a killed run resumes, and that an evaluation of step ``start`` - 1 may be made up for.
        """

    def close(self, ending: Ending) -> None:
        """Records how the run ended, and flushes."""

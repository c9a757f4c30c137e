"""TensorBoard: event files in the folder of the run."""

import json
from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from ovocr.trainer.tracking.tracker import Ending, TrackedRun


class TensorBoardTracker:
    """Writes event files. A run that resumes hides the events of the steps that run again (``purge_step``)."""

    def __init__(self, run: TrackedRun) -> None:
        self._writer = SummaryWriter(str(run.folder.tensorboard), purge_step=run.start)
        for name, value in (("configuration", run.settings), ("versions", run.versions)):
            # Indented text is code in Markdown, which TensorBoard shows as it is.
            lines = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
            self._writer.add_text(name, "\n".join(f"    {line}" for line in lines), run.start)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Tracker``."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, ending: Ending) -> None:
        """See ``Tracker``; event files do not say how a run ended."""
        self._writer.close()

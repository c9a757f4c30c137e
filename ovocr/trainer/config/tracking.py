"""The section about experiment trackers."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from ovocr.trainer.config.settings import Settings

TrackerName: TypeAlias = Literal["tensorboard", "wandb", "mlflow"]
_Text = Annotated[str, Field(min_length=1)]


class TrackingConfig(Settings):
    """[tracking]: experiment trackers beside metrics.jsonl. These settings do not change what a step computes."""

    trackers: tuple[TrackerName, ...] = Field(
        default=("tensorboard",),
        strict=False,
        description="Any number of: tensorboard (event files in the run's folder), wandb (Weights & Biases), mlflow",
    )
    project: _Text = Field(default="ovocr", description="Project of Weights & Biases, experiment of MLflow")
    name: _Text | None = Field(
        default=None,
        description="Name of the run in Weights & Biases and MLflow; left out: the name of the run's folder",
    )
    group: _Text | None = Field(
        default=None, description="Group of the run in Weights & Biases; in MLflow the tag group"
    )
    tags: tuple[_Text, ...] = Field(
        default=(), strict=False, description='Tags of the run; in MLflow each is a tag with the value "true"'
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields an error for a tracker that is given twice."""
        for name in dict.fromkeys(self.trackers):
            if self.trackers.count(name) > 1:
                yield "trackers", f"{name}: given twice"

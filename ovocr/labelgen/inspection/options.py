"""Options of `ovocr inspect`, with their defaults and one-line help texts."""

from dataclasses import dataclass, field
from pathlib import Path

from ovocr.base.errors import UsageError
from ovocr.dataset.outcome import Status

MAX_IMAGES = 1_000
MIN_SIDE, MAX_SIDE = 100, 4_000


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Options of ``inspect``. Raises UsageError that names the option if a value is not allowed."""

    source: Path | str = field(metadata={"help": "Folder or URL of a labelled data set."})
    limit: int = field(default=50, metadata={"help": "Maximum number of images on the page."})
    seed: int = field(default=0, metadata={"help": "Seed that selects the images."})
    status: str | None = field(
        default=None, metadata={"help": "Show only images with this status: ok, dropped or quarantined."}
    )
    word: str | None = field(
        default=None, metadata={"help": "Show only images with the tag WORD; in a packed data set, a class id."}
    )
    keys: tuple[str, ...] = field(default=(), metadata={"help": "Show only images with this key; may be repeated."})
    shard: int | None = field(default=None, metadata={"help": "Show only images of shard N."})
    side: int = field(default=1200, metadata={"help": "Longest side of an image on the page, in pixels."})

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_IMAGES:
            raise UsageError(f"--limit {self.limit}: must be from 1 to {MAX_IMAGES:,}")
        if not MIN_SIDE <= self.side <= MAX_SIDE:
            raise UsageError(f"--side {self.side}: must be from {MIN_SIDE} to {MAX_SIDE} pixels")
        statuses = [status.value for status in Status]
        if self.status is not None and self.status not in statuses:
            raise UsageError(f"--status {self.status}: must be one of {', '.join(statuses)}")

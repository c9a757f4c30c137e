"""What a user can choose of an inspection."""

from dataclasses import dataclass
from pathlib import Path

from ovocr.base.errors import UsageError
from ovocr.dataset.outcome import Status

MAX_PICTURES = 1_000
MIN_SIDE, MAX_SIDE = 100, 4_000


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Options of ``inspect``. Raises UsageError, naming the option, for values that cannot be.

    source: a data set of build-labels, relabel or pack-labels. limit: pictures on the page at most. seed: chooses them
    among those that may be there. status: only images of this one (ok, dropped, quarantined), None for all. word: only
    images that have it as a tag; of a packed data set a class id. keys: only images with one of these, none for all.
    shard: only images of the shard of this number. side: longest side of a picture on the page, in pixels.
    """

    source: Path
    limit: int = 50
    seed: int = 0
    status: str | None = None
    word: str | None = None
    keys: tuple[str, ...] = ()
    shard: int | None = None
    side: int = 1200

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_PICTURES:
            raise UsageError(f"--limit {self.limit}: from 1 to {MAX_PICTURES:,} pictures are possible on a page")
        if not MIN_SIDE <= self.side <= MAX_SIDE:
            raise UsageError(f"--side {self.side}: from {MIN_SIDE} to {MAX_SIDE} pixels are possible")
        statuses = [status.value for status in Status]
        if self.status is not None and self.status not in statuses:
            raise UsageError(f"--status {self.status}: there is {', '.join(statuses)}")

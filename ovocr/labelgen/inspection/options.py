"""Options of ``inspect``."""

from dataclasses import dataclass
from pathlib import Path

from ovocr.base.errors import UsageError
from ovocr.dataset.outcome import Status

MAX_IMAGES = 1_000
MIN_SIDE, MAX_SIDE = 100, 4_000


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Options of ``inspect``. Raises UsageError, naming the option, for values that are not allowed.

    source: a data set of build-labels, relabel or pack-labels.
    limit: largest number of images on the page. seed: chooses among the images that match.
    status: only images with this status (ok, dropped, quarantined); None for all.
    word: only images with this tag; a class id in a packed data set.
    keys: only images with one of these keys; empty for all.
    shard: only images of the shard with this number.
    side: longest side of an image on the page, in pixels.
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
        if not 1 <= self.limit <= MAX_IMAGES:
            raise UsageError(f"--limit {self.limit}: from 1 to {MAX_IMAGES:,} images are possible on a page")
        if not MIN_SIDE <= self.side <= MAX_SIDE:
            raise UsageError(f"--side {self.side}: from {MIN_SIDE} to {MAX_SIDE} pixels are possible")
        statuses = [status.value for status in Status]
        if self.status is not None and self.status not in statuses:
            raise UsageError(f"--status {self.status}: there is {', '.join(statuses)}")

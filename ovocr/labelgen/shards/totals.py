"""The report of a run: sums over its shards, speed and replaced workers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.dataset.statistics import ShardCounts


class Replaced(str, Enum):
    """The reason why a worker was replaced.

    IMAGES, MEMORY: it exceeded the limit. TIMEOUT: an image took too long. DIED: its process ended.
    """

    IMAGES = "images"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    DIED = "died"


_SHOWN = 5
_REPLACED = {
    Replaced.IMAGES: "after --worker-images",
    Replaced.MEMORY: "above --worker-memory",
    Replaced.TIMEOUT: "past --image-timeout",
    Replaced.DIED: "that died",
}


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The report of a run.

    shards: number of shards in this run's slice. built: number of shards that this run wrote.
    counts: sums over all shards of the slice. seconds: duration of this run. images_built: images in its shards.
    replaced: maps reasons to the number of replaced workers; None if the run has no workers that can be replaced.
    damaged: sources that could not be read completely. is_slice: True if the run made only a slice of the shards.
    unfinished_elsewhere: sources of unfinished shards that the run does not name.
    repeated: number of requests to object stores that were repeated; None if the run used none.
    """

    shards: int
    built: int
    counts: dict[str, Any]
    seconds: float
    images_built: int
    replaced: Mapping[Replaced, int] | None = None
    damaged: tuple[str, ...] = ()
    is_slice: bool = False
    unfinished_elsewhere: tuple[str, ...] = ()
    repeated: int | None = None

    @classmethod
    def of(
        cls,
        shards: Iterable[ShardCounts],
        *,
        built: int,
        images_built: int,
        seconds: float,
        with_text: bool = True,
        replaced: Mapping[Replaced, int] | None = None,
    ) -> "Totals":
        """Sums the counts of shards."""
        shards = list(shards)
        return cls(
            shards=len(shards),
            counts=sum(shards, ShardCounts()).to_json(with_text=with_text),
            built=built,
            seconds=seconds,
            images_built=images_built,
            replaced=replaced,
        )

    @property
    def failure(self) -> str | None:
        """One line if no image was labelled; None otherwise. A slice of a data set may have no labelled image."""
        counts = self.counts
        if self.is_slice or counts["ok"]:
            return None
        if not counts["input"]:
            return "the sources have no image"
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts["reasons"].items())
        return f"none of {counted(counts['input'], 'image')} was labelled ({reasons})"

    @property
    def images_per_s(self) -> float:
        """Speed of this run, including its start; 0 if all shards were finished before."""
        return self.images_built / self.seconds if self.images_built else 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        return {
            "shards": self.shards,
            "shards_built": self.built,
            **self.counts,
            "images_built": self.images_built,
            "seconds": round(self.seconds, 3),
            "images_per_s": round(self.images_per_s, 3),
            **({"damaged_sources": list(self.damaged)} if self.damaged else {}),
            **({"unfinished_sources": list(self.unfinished_elsewhere)} if self.unfinished_elsewhere else {}),
            **self._replaced_json(),
            **({} if self.repeated is None else {"store_requests_repeated": self.repeated}),
        }

    def _replaced_json(self) -> dict[str, Any]:
        if self.replaced is None:
            return {}
        return {"workers_replaced": {reason.value: self.replaced.get(reason, 0) for reason in Replaced}}

    def format(self) -> str:
        """Returns a few lines for the user."""
        counts = self.counts
        lines = [
            f"{counted(counts['input'], 'image')} in {counted(self.shards, 'shard')}: {counts['ok']:,} ok, "
            f"{counts['dropped']:,} dropped, {counts['quarantined']:,} quarantined; "
            f"{counted(counts['ignored'], 'other file')} ignored",
            *(f"  {reason}: {count:,}" for reason, count in counts["reasons"].items()),
            *_list_sources("damaged", self.damaged),
            *_list_sources("other sources of the data set that are unfinished", self.unfinished_elsewhere),
            *self._contents(),
            *self._repeated_line(),
        ]
        if not self.built:
            these = " of these sources" if self.unfinished_elsewhere else ""
            return "\n".join([*lines, f"nothing to do: all shards{these} are finished"])
        done_before = self.shards - self.built
        before = f" ({counted(done_before, 'shard')} finished before)" if done_before else ""
        return "\n".join(
            [
                *lines,
                f"{counted(self.images_built, 'image')} in {self.seconds:.1f} s: "
                f"{self.images_per_s:.2f} images/s{before}",
                *self._replaced_line(),
            ]
        )

    def _replaced_line(self) -> list[str]:
        parts = [f"{count} {_REPLACED[reason]}" for reason, count in sorted((self.replaced or {}).items()) if count]
        return [f"worker processes replaced: {', '.join(parts)}"] if parts else []

    def _repeated_line(self) -> list[str]:
        if not self.repeated:
            return []
        return [f"{counted(self.repeated, 'request')} to the store {'was' if self.repeated == 1 else 'were'} repeated"]

    def _contents(self) -> list[str]:
        """Returns lines about the text and tags of the images."""
        counts = self.counts
        return [
            f"{counted(counts['lines'], 'line')}, {counted(counts['words_found'], 'word')}, "
            f"{counts['words_in_vocabulary']:,} of them in the vocabulary, "
            f"{counted(counts['tags'], 'tag')} (distinct in each image)"
        ]


def _list_sources(title: str, sources: Sequence[str]) -> list[str]:
    """Returns a line with the first sources, none if there are no sources."""
    if not sources:
        return []
    more = f" and {len(sources) - _SHOWN:,} more" if len(sources) > _SHOWN else ""
    return [f"{title}: {', '.join(map(for_terminal, sources[:_SHOWN]))}{more}"]

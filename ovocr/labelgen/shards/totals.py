"""Counts: of a shard as it is written, of a data set as it is reported."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ovocr.dataset.outcome import Outcome, Status


class Replaced(str, Enum):
    """Why a worker was replaced. IMAGES, MEMORY: it was past that limit. TIMEOUT: killed at a deadline. DIED: by itself
    or by another's hand."""

    IMAGES = "images"
    MEMORY = "memory"
    TIMEOUT = "timeout"
    DIED = "died"


_IMAGES = ("input", "ok", "dropped", "quarantined", "ignored")
_REPLACED = {
    Replaced.IMAGES: "after --worker-images",
    Replaced.MEMORY: "above --worker-memory",
    Replaced.TIMEOUT: "past --image-timeout",
    Replaced.DIED: "that died",
}
_TEXT = ("lines", "words_found", "words_in_vocabulary")


def count_names(with_text: bool) -> tuple[str, ...]:
    """The counts of a data set. with_text: whose pictures were read."""
    return (*_IMAGES, *(_TEXT if with_text else ()), "tags")


@dataclass
class ShardCounts:
    """input: images of the shard. ignored: files beside them that are none. tags: distinct class ids, summed over the
    images that are ok. reasons: how many images were dropped or quarantined for each."""

    input: int = 0
    ok: int = 0
    dropped: int = 0
    quarantined: int = 0
    ignored: int = 0
    lines: int = 0
    words_found: int = 0
    words_in_vocabulary: int = 0
    tags: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one image."""
        self.input += 1
        if outcome.status is Status.OK:
            self.ok += 1
        elif outcome.status is Status.DROPPED:
            self.dropped += 1
        else:
            self.quarantined += 1
        if outcome.reason is not None:
            self.reasons[outcome.reason.value] += 1
        self.lines += len(outcome.lines)
        self.words_found += outcome.words_found
        self.words_in_vocabulary += outcome.words_in_vocabulary
        self.tags += len(outcome.tags)

    def to_json(self, *, with_text: bool = True) -> dict[str, Any]:
        """All counts, of text where it was read. Raises ValueError where they do not add up: the program is wrong."""
        if self.input != self.ok + self.dropped + self.quarantined:
            raise ValueError(f"counts do not add up: {self}")
        counts: dict[str, Any] = {name: getattr(self, name) for name in count_names(with_text)}
        return {**counts, "reasons": dict(sorted(self.reasons.items()))}


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a run reports.

    shards: of this run's slice. built: those that this run made; the others were finished before. counts: sums over
    all of them. seconds, images_built: of this run alone, and so is replaced: how many worker processes were, and why;
    None for a run without such workers.
    """

    shards: int
    built: int
    counts: dict[str, Any]
    seconds: float
    images_built: int
    replaced: Mapping[Replaced, int] | None = None

    @classmethod
    def of(
        cls,
        stats: Iterable[dict[str, Any]],
        *,
        built: int,
        images_built: int,
        seconds: float,
        with_text: bool = True,
        replaced: Mapping[Replaced, int] | None = None,
    ) -> "Totals":
        """Sums over the shards' statistics."""
        stats = list(stats)
        reasons: Counter[str] = Counter()
        for shard in stats:
            reasons.update(shard["reasons"])
        counts: dict[str, Any] = {name: sum(shard[name] for shard in stats) for name in count_names(with_text)}
        counts["reasons"] = dict(sorted(reasons.items()))
        return cls(
            shards=len(stats),
            built=built,
            counts=counts,
            seconds=seconds,
            images_built=images_built,
            replaced=replaced,
        )

    @property
    def images_per_s(self) -> float:
        """Speed of this run, start-up included; 0 where it had nothing to do."""
        return self.images_built / self.seconds if self.images_built else 0.0

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "shards": self.shards,
            "shards_built": self.built,
            **self.counts,
            "images_built": self.images_built,
            "seconds": round(self.seconds, 3),
            "images_per_s": round(self.images_per_s, 3),
            **self._replaced_json(),
        }

    def _replaced_json(self) -> dict[str, Any]:
        if self.replaced is None:
            return {}
        return {"workers_replaced": {reason.value: self.replaced.get(reason, 0) for reason in Replaced}}

    def format(self) -> str:
        """For a person, a few lines."""
        counts = self.counts
        lines = [
            f"{counts['input']} images in {self.shards} shards: {counts['ok']} ok, {counts['dropped']} dropped, "
            f"{counts['quarantined']} quarantined; {counts['ignored']} other files ignored",
            *(f"  {reason}: {count}" for reason, count in counts["reasons"].items()),
            *self._contents(),
        ]
        if not self.built:
            return "\n".join([*lines, "nothing to do: all shards are finished"])
        done_before = self.shards - self.built
        before = f" ({done_before} shards were finished before)" if done_before else ""
        return "\n".join(
            [
                *lines,
                f"{self.images_built} images in {self.seconds:.1f} s: {self.images_per_s:.2f} images/s{before}",
                *self._replaced_line(),
            ]
        )

    def _replaced_line(self) -> list[str]:
        parts = [f"{count} {_REPLACED[reason]}" for reason, count in sorted((self.replaced or {}).items()) if count]
        return [f"worker processes replaced: {', '.join(parts)}"] if parts else []

    def _contents(self) -> list[str]:
        """Lines on what is in the pictures that are ok."""
        counts = self.counts
        return [
            f"{counts['lines']} lines, {counts['words_found']} words, {counts['words_in_vocabulary']} of them in the "
            f"vocabulary, {counts['tags']} tags (distinct in each image)"
        ]

"""The report of a split."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ovocr.base.plural import counted
from ovocr.dataset.holdout.rule import KEY
from ovocr.dataset.manifest import HELD_OUT, PARTS
from ovocr.dataset.statistics import ShardCounts


@dataclass(frozen=True, kw_only=True)
class PartTotals:
    """The figures of one part. groups: number of its groups. words: number of distinct tags. shards: number of them."""

    counts: ShardCounts
    groups: int
    words: int
    shards: int

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        counts = {name: getattr(self.counts, name) for name in ("ok", "dropped", "quarantined")}
        return {
            "images": self.counts.input,
            **counts,
            "groups": self.groups,
            "words": self.words,
            "shards": self.shards,
        }


@dataclass(frozen=True, kw_only=True)
class SplitTotals:
    """The report of a split.

    by: what images of a group have in common. parts: figures by part. words_only_held_out: number of distinct words of
    the held-out part that no image of the training part has. images_without_group: number of images that have no row
    in the table of groups; None without a table.
    linked, copied, divided: numbers of whole shards that this run placed by hard links and by copies, and of shards
    whose images are in both parts. has_text: whether tags are words. seconds: duration of this run.
    """

    by: str
    parts: dict[str, PartTotals]
    words_only_held_out: int
    images_without_group: int | None
    linked: int
    copied: int
    divided: int
    has_text: bool
    seconds: float

    @property
    def share(self) -> float:
        """Share of the images that are held out."""
        return self.parts[HELD_OUT].counts.input / sum(part.counts.input for part in self.parts.values())

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        return {
            "parts": {name: self.parts[name].to_json() for name in PARTS},
            "share": self.share,
            "words_only_held_out": self.words_only_held_out,
            "images_without_group": self.images_without_group,
            "shards_linked": self.linked,
            "shards_copied": self.copied,
            "shards_divided": self.divided,
            "seconds": round(self.seconds, 3),
        }

    def format(self) -> str:
        """Returns a few lines for the user."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        noun = "word" if self.has_text else "class"
        plural = None if self.has_text else "classes"
        for name in PARTS:
            part, counts = self.parts[name], self.parts[name].counts
            groups = "" if self.by == KEY else f"{counted(part.groups, 'source' if self.by == 'source' else 'group')}, "
            yield (
                f"{name + ':':<10}{counted(counts.input, 'image')} ({counts.ok:,} ok, {counts.dropped:,} dropped, "
                f"{counts.quarantined:,} quarantined), {groups}{counted(part.words, noun, plural)}, "
                f"{counted(part.shards, 'shard')}"
            )
        unseen, words = self.words_only_held_out, self.parts[HELD_OUT].words
        yield (
            f"held out: {self.share:.1%} of the images; {unseen:,} of their {counted(words, noun, plural)} "
            f"{'is' if unseen == 1 else 'are'} in no training image, so "
            f"{'it' if unseen == 1 else 'they'} cannot be learned"
        )
        if self.images_without_group:
            yield f"{counted(self.images_without_group, 'image')} without a row in the table, each a group of its own"
        if not (self.linked or self.copied or self.divided):
            yield "nothing to do: all shards are finished"
            return
        yield (
            f"{counted(self.linked, 'shard')} linked, {self.copied:,} copied, {self.divided:,} divided "
            f"in {self.seconds:.1f} s"
        )

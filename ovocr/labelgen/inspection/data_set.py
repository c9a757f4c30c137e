"""The inspected data set: its manifest, its finished shards and their counts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.opening import open_data_set
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.dataset.outcome import Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.statistics import ShardCounts
from ovocr.labelgen.tagging.run_words import stored_vocabulary
from ovocr.vocab import Segmentation, Vocabulary


@dataclass(frozen=True)
class InspectedDataSet:
    """A data set and its finished shards. shards: their numbers, in order. shard_counts: maps numbers to counts."""

    files: LabelledDataSet
    manifest: Manifest
    shards: tuple[int, ...]
    shard_counts: dict[int, ShardCounts]

    @classmethod
    def open(cls, root: Path | str) -> "InspectedDataSet":
        """Opens a data set. Raises OvocrError if ``root`` is not a data set of this format or has no finished shard."""
        files = open_data_set(root)
        manifest = files.manifest()
        shards = tuple(files.finished_shards())
        if not shards:
            raise OvocrError(f"{files}: no finished shard yet; finish one with `ovocr {manifest.command}`")
        return cls(files, manifest, shards, {number: files.counts(number) for number in shards})

    @property
    def packed(self) -> bool:
        """True if class ids come from a table, so there are no words, lines or boxes."""
        return not self.manifest.has_text

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of a labelled data set. Raises OvocrError if it does not match the manifest."""
        with self.files.errors():
            return stored_vocabulary(self.files)

    @cached_property
    def segmentation(self) -> Segmentation:
        """The rules that cut lines into words."""
        return Segmentation.of(self.vocabulary.settings)

    @cached_property
    def counts(self) -> dict[str, Any]:
        """Sums over the finished shards."""
        return sum(self.shard_counts.values(), ShardCounts()).to_json(with_text=not self.packed)

    def status_counts(self) -> list[tuple[str, str | None, int]]:
        """Returns rows of status, reason (None for ok) and number of images, in descending order of the number.

        Raises OvocrError for a reason that this version does not know.
        """
        rows: list[tuple[str, str | None, int]] = [(Status.OK.value, None, self.counts["ok"])]
        for name, count in self.counts["reasons"].items():
            rows.append((self._status_of(name), name, count))
        return sorted((row for row in rows if row[2]), key=lambda row: (-row[2], row[0], row[1] or ""))

    def _status_of(self, reason: str) -> str:
        try:
            return (Status.DROPPED if Reason(reason).drops else Status.QUARANTINED).value
        except ValueError:
            raise OvocrError(
                f"{self.files}: unknown reason {reason!r}; use the version of ovocr that wrote the data set"
            ) from None

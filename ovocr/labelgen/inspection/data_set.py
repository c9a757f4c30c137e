"""The data set that is inspected: its settings, its finished shards and their counts, checked once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.outcome import Status
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.shards.manifest import FORMAT
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.tagging.run_words import stored_vocabulary
from ovocr.vocab import Segmentation, Vocabulary


@dataclass(frozen=True)
class InspectedDataSet:
    """manifest: as it stands in the file. shards: numbers of the finished ones, in order. stats: of each of them."""

    files: LabelledDataSet
    manifest: dict[str, Any]
    shards: tuple[int, ...]
    stats: dict[int, dict[str, Any]]

    @classmethod
    def open(cls, root: Path) -> "InspectedDataSet":
        """Raises OvocrError where ``root`` is no data set, another format's, or has no finished shard."""
        files = LabelledDataSet.open(root)
        manifest = files.manifest()
        if manifest.get("format") != FORMAT:
            raise OvocrError(f"{files.manifest_path}: format {manifest.get('format')!r}; this version reads {FORMAT}")
        shards = tuple(files.finished_shards())
        if not shards:
            raise OvocrError(f"{root}: no finished shard yet; let the command that makes it finish one")
        return cls(files, manifest, shards, {number: files.stats(number) for number in shards})

    @property
    def packed(self) -> bool:
        """Are its class ids from a table? Then there are no words, no lines and no boxes."""
        return "labels" in self.manifest

    @cached_property
    def max_pixels(self) -> int:
        """No picture of more is decoded. Raises OvocrError where the manifest does not say."""
        return self._option("max_pixels")

    @cached_property
    def slots(self) -> int:
        """Tags that each record holds. Raises OvocrError where the manifest does not say."""
        return self._option("tags")

    def check(self) -> None:
        """Raises OvocrError where what all shards go by cannot be read."""
        _ = self.max_pixels, self.slots
        if not self.packed:
            _ = self.segmentation

    def _option(self, name: str) -> int:
        try:
            return int(self.manifest["options"][name])
        except (KeyError, TypeError, ValueError) as error:
            raise OvocrError(
                f"{self.files.manifest_path}: options.{name} is missing or no number; put it back"
            ) from error

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Of a data set that is not packed. Raises OvocrError where it is not the one that the manifest names."""
        return stored_vocabulary(self.files)

    @cached_property
    def segmentation(self) -> Segmentation:
        """How its lines became words."""
        return Segmentation.of(self.vocabulary.settings)

    @cached_property
    def counts(self) -> dict[str, Any]:
        """Sums over the finished shards. Raises OvocrError, naming the file, where a count is missing."""
        for number, stats in self.stats.items():
            try:
                self._sum([stats])
            except (KeyError, TypeError, ValueError) as error:
                raise OvocrError(
                    f"{self.files.stats_path(number)}: lacks a count that ovocr writes; put the file back"
                ) from error
        return self._sum(list(self.stats.values()))

    def _sum(self, stats: list[dict[str, Any]]) -> dict[str, Any]:
        return Totals.of(stats, built=0, images_built=0, seconds=0.0, with_text=not self.packed).counts

    def fates(self) -> list[tuple[str, str | None, int]]:
        """Status, reason and number of images, by falling number; of ok there is no reason. No row counts nothing.

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
                f"{self.files.root / 'stats'}: {reason!r} is no reason that this version of ovocr knows; use the one "
                "that wrote it"
            ) from None

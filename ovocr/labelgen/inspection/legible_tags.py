"""Counts the tags of the finished shards by the height of their text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ovocr.base.errors import OvocrError, StoreError
from ovocr.dataset.text import TextShard
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.processes.shard_map import map_shards
from ovocr.views.legibility import Legibility, measure_legibility

# One process counts 20,000 images in 1 to 3 seconds, longer for smaller shards; starting others takes about a second.
IMAGES_FOR_ONE_PROCESS = 20_000
# Of more shards, this many are measured, evenly spread: a million images of shards of 10,000, in half a minute.
MEASURED_SHARDS = 100


@dataclass(frozen=True, kw_only=True)
class LegibleTags:
    """The tags of a labelled data set.

    found: counts over the measured shards that are readable. left_out: maps each unreadable shard to its error.
    measured: number of measured shards, including unreadable ones. finished: number of finished shards.
    """

    found: Legibility
    left_out: dict[int, str]
    measured: int
    finished: int

    @classmethod
    def count(cls, data_set: InspectedDataSet, progress: bool) -> "LegibleTags | None":
        """Counts the tags of up to MEASURED_SHARDS shards; None for a packed data set, whose tags have no lines.

        progress: show a bar on a terminal.
        """
        if data_set.packed:
            return None
        numbers = spread(data_set.shards, MEASURED_SHARDS)
        shards = [TextShard(data_set.files.root, number, url=data_set.files.url) for number in numbers]
        images = sum(data_set.shard_counts[number].input for number in numbers)
        workers = 1 if images <= IMAGES_FOR_ONE_PROCESS else None
        left_out: dict[int, str] = {}

        def readable() -> Iterator[Legibility]:
            counted = map_shards(_count, shards, workers=workers, progress="tags" if progress else None)
            for shard, found in zip(shards, counted, strict=True):
                if isinstance(found, Legibility):
                    yield found
                else:
                    left_out[shard.number] = found

        found = Legibility.sum(readable())
        return cls(found=found, left_out=left_out, measured=len(shards), finished=len(data_set.shards))

    @property
    def is_sample(self) -> bool:
        """True if not all finished shards were measured."""
        return self.measured < self.finished

    @property
    def scope(self) -> str:
        """What was measured, for the page."""
        if self.is_sample:
            readable = "the readable ones of " if self.left_out else ""
            return f"{readable}{self.measured:,} of {self.finished:,} shards, evenly spread"
        return "the readable shards" if self.left_out else "the whole data set"

    def format(self) -> list[str]:
        """Returns the lines of a table for a terminal; no lines if there are no tags."""
        lines = self.found.format()
        if lines and self.is_sample:
            lines.append(f"measured in {self.measured:,} of {self.finished:,} shards, evenly spread")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        shards = {"shards_measured": self.measured, "shards": self.finished}
        return {**self.found.to_json(), **shards, "left_out": name_shards(self.left_out)}


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """Returns at most ``most`` of the numbers, at equal distances, the first one among them."""
    count = min(most, len(numbers))
    return [numbers[each * len(numbers) // count] for each in range(count)]


def name_shards(errors: dict[int, str]) -> list[str]:
    """Returns a line for each shard that cannot be read. errors: maps numbers of shards to their errors."""
    return [f"shard {number}: {why}" for number, why in errors.items()]


def _count(shard: TextShard) -> Legibility | str:
    """Returns the counts of a shard, or the error of a shard that cannot be read."""
    try:
        return measure_legibility(shard)
    except StoreError:
        raise
    except OvocrError as error:
        return str(error)

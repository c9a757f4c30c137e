"""Counts the tags of all finished shards by the height of their text."""

from dataclasses import dataclass
from typing import Any

from ovocr.base.errors import OvocrError, StoreError
from ovocr.dataset.text import TextShard
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.processes.shard_map import map_shards
from ovocr.views.legibility import Legibility, measure_legibility

# One process counts 20,000 images in 1 to 3 seconds, longer for smaller shards; starting others takes about a second.
IMAGES_FOR_ONE_PROCESS = 20_000


@dataclass(frozen=True, kw_only=True)
class LegibleTags:
    """The tags of a labelled data set.

    found: counts over the readable shards. left_out: maps each unreadable shard to its error.
    """

    found: Legibility
    left_out: dict[int, str]

    @classmethod
    def count(cls, data_set: InspectedDataSet, progress: bool) -> "LegibleTags | None":
        """Counts the tags; None for a packed data set, whose tags have no lines. progress: show a bar on a terminal."""
        if data_set.packed:
            return None
        shards = [TextShard(data_set.files.root, number, url=data_set.files.url) for number in data_set.shards]
        workers = 1 if data_set.counts["input"] <= IMAGES_FOR_ONE_PROCESS else None
        total, left_out = Legibility(), {}
        counted = map_shards(_count, shards, workers=workers, progress="tags" if progress else None)
        for shard, found in zip(shards, counted, strict=True):
            if isinstance(found, Legibility):
                total += found
            else:
                left_out[shard.number] = found
        return cls(found=total, left_out=left_out)

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        return {**self.found.to_json(), "left_out": name_shards(self.left_out)}


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

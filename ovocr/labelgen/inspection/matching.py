"""Finds the images of a shard that match the options of an inspection."""

from dataclasses import dataclass

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.record_columns import find_positions
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.vocab import load_segmenter


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Conditions on an image.

    status: a status; None for any. tag: a class id; None for any. keys: allowed keys; empty for any.
    """

    status: str | None = None
    tag: int | None = None
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: InspectOptions, data_set: InspectedDataSet) -> "Filter":
        """Returns the conditions in the options. Raises UsageError or OvocrError if the word is not a class."""
        tag = None if options.word is None else _class_id(options.word, data_set)
        return cls(status=options.status, tag=tag, keys=options.keys)

    def count(self, data_set: InspectedDataSet, shard: int) -> int:
        """Returns the number of matching images, from the statistics if they suffice, otherwise from the rows."""
        if self.tag is None and not self.keys:
            return int(getattr(data_set.shard_counts[shard], self.status or "input"))
        return len(self.positions(data_set, shard))

    def positions(self, data_set: InspectedDataSet, shard: int) -> list[int]:
        """Returns the positions of the matching images in the shard's records. Raises OvocrError if it is damaged."""
        with shard_on_disk(data_set.files, shard, ["records"]) as files:
            return find_positions(
                files.records_path(shard),
                with_text=not data_set.packed,
                status=self.status,
                keys=self.keys,
                class_id=self.tag,
            )


def _class_id(word: str, data_set: InspectedDataSet) -> int:
    if data_set.packed:
        if not word.isdecimal():
            raise UsageError(f"--word {word}: {data_set.files} has class ids but no words; give a class id")
        return int(word)
    id = data_set.vocabulary.id(load_segmenter(data_set.segmentation).normalise(word))
    if id is None:
        raise OvocrError(f"--word {word}: is not in {data_set.files.name_of(data_set.files.vocabulary_path)}")
    return id

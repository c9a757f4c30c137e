"""Finds the images of a shard that an inspection asks for."""

from dataclasses import dataclass

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.record_columns import find_places
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.vocab import load_segmenter


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Conditions on an image. status: None for any. tag: a class id; None for any. keys: empty for any."""

    status: str | None = None
    tag: int | None = None
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: InspectOptions, data_set: InspectedDataSet) -> "Filter":
        """Returns the conditions of the options. Raises UsageError or OvocrError for a word that is no class."""
        tag = None if options.word is None else _class_id(options.word, data_set)
        return cls(status=options.status, tag=tag, keys=options.keys)

    def count(self, data_set: InspectedDataSet, shard: int) -> int:
        """Returns the number of images that match, from the statistics if they suffice, else from the rows."""
        if self.tag is None and not self.keys:
            return int(getattr(data_set.shard_counts[shard], self.status or "input"))
        return len(self.places(data_set, shard))

    def places(self, data_set: InspectedDataSet, shard: int) -> list[int]:
        """Returns the places of those images in the shard's records. Raises OvocrError if these cannot be read."""
        path = data_set.files.records_path(shard)
        with_text = not data_set.packed
        return find_places(path, with_text=with_text, status=self.status, keys=self.keys, class_id=self.tag)


def _class_id(word: str, data_set: InspectedDataSet) -> int:
    if data_set.packed:
        if not word.isdecimal():
            raise UsageError(f"--word {word}: {data_set.files.root} has class ids and no words; give a class id")
        return int(word)
    id = data_set.vocabulary.id(load_segmenter(data_set.segmentation).normalise(word))
    if id is None:
        raise OvocrError(f"--word {word}: is no word of {data_set.files.vocabulary_path}")
    return id

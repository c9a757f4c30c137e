"""Which images of a shard an inspection asks for."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.outcome import Status
from ovocr.dataset.schemas import PACKED_RECORDS, RECORDS
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.rows import read_columns
from ovocr.vocab import load_segmenter


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What must be true of an image. status: None for any. tag: a class id that it has. keys: none for any."""

    status: str | None = None
    tag: int | None = None
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: InspectOptions, data_set: InspectedDataSet) -> "Filter":
        """What the options ask for. Raises UsageError for a word that is no class of the data set."""
        tag = None if options.word is None else _class_id(options.word, data_set)
        return cls(status=options.status, tag=tag, keys=options.keys)

    def count(self, data_set: InspectedDataSet, shard: int) -> int:
        """Images of the shard that match: by its statistics where they tell, else by its rows."""
        if self.tag is None and not self.keys:
            return int(data_set.stats[shard][self.status or "input"])
        return len(self.places(data_set, shard))

    def places(self, data_set: InspectedDataSet, shard: int) -> list[int]:
        """Those images, by their place in the shard's records. Raises OvocrError where they cannot be read."""
        schema = PACKED_RECORDS if data_set.packed else RECORDS
        names = ["status", *(["key"] if self.keys else []), *([] if self.tag is None else ["tags"])]
        rows = read_columns(data_set.files.records_path(shard), schema, names)
        matches = np.ones(rows.num_rows, bool)
        if self.status is not None:
            matches &= _booleans(pc.equal(rows["status"], self.status))
        if self.keys:
            matches &= _booleans(pc.is_in(rows["key"], pa.array(self.keys, pa.string())))
        if self.tag is not None:
            matches &= _has_tag(rows["tags"].combine_chunks(), self.tag)
        return np.flatnonzero(matches).tolist()


def ocr_places(data_set: InspectedDataSet, shard: int, places: list[int]) -> dict[int, int]:
    """Of images that were read: their place among the shard's records, and the one in its stored text."""
    status = read_columns(data_set.files.records_path(shard), RECORDS, ["status"])["status"]
    was_read = _booleans(pc.not_equal(status, Status.QUARANTINED.value))
    before: npt.NDArray[np.int64] = np.cumsum(was_read) - was_read
    return {place: int(before[place]) for place in places if was_read[place]}


def _booleans(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """What is null is not so."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)


def _has_tag(tags: pa.ListArray, id: int) -> npt.NDArray[np.bool_]:
    same = _booleans(pc.equal(pc.list_flatten(tags).field("id"), id))
    found = np.zeros(len(tags), bool)
    found[pc.list_parent_indices(tags).to_numpy()[same]] = True
    return found


def _class_id(word: str, data_set: InspectedDataSet) -> int:
    if data_set.packed:
        if not word.isdecimal():
            raise UsageError(f"--word {word}: {data_set.files.root} has class ids and no words; give a class id")
        return int(word)
    id = data_set.vocabulary.id(load_segmenter(data_set.segmentation).normalise(word))
    if id is None:
        raise OvocrError(f"--word {word}: is no word of {data_set.files.vocabulary_path}")
    return id

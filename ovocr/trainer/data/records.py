"""The records of labelled data sets as one list of samples."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import RELATIVE, LabelledDataSet
from ovocr.dataset.record_columns import count_class_ids, find_image
from ovocr.dataset.statistics import FileDescription
from ovocr.recordio import Record, RecordError, RecordReader
from ovocr.trainer.data.crops import Crop, CropPolicy, draw_crops, refill, visible_shares
from ovocr.trainer.data.images import DecodeError, encoded_size, load_crop, load_image
from ovocr.trainer.data.place_boxes import PlaceBoxes, RecordPlaces
from ovocr.trainer.data.samples import Sample

# Maximum number of open readers. A data set may have more shards than a process may open files (often 1024).
_MAX_OPEN_READERS = 128
# Number of records per data set that are tried at the start until one is valid.
_RECORDS_TRIED = 8


class RecordSamples:
    """Images and tags, ordered by data set, shard and index.

    roots: folders of finished data sets; either all have the same vocabulary or all are packed.
    labels_stored, label_select: the slots [label_select : label_select + labels_stored] of each record are used.
    num_classes: number of classes; class ids are less.
    image_size: side of the letterboxed images, in pixels.
    crops: policy that draws crops; None for whole images.
    crop_drops_tags: True keeps only the tags with a place in the crop, if there are any. False keeps all tags, for
        class ids without places.

    Attributes:
        prefixes, readers: path prefix and reader of each shard, in order.
        parts: number of samples of each data set.

    Raises OvocrError that names the folder. Reading a sample raises OvocrError that names the record. Can be pickled
    and used before and after a fork.
    """

    def __init__(
        self,
        roots: Sequence[str | Path],
        *,
        labels_stored: int,
        label_select: int = 0,
        num_classes: int,
        image_size: int = 448,
        crops: CropPolicy | None = None,
        crop_drops_tags: bool = True,
    ) -> None:
        if not roots:
            raise OvocrError("no data sets: at least one is needed")
        self._labels = slice(label_select, label_select + labels_stored)
        self._num_classes, self.image_size = num_classes, image_size
        self._data_sets = [LabelledDataSet.open(Path(root)) for root in roots]
        _check_one_vocabulary(self._data_sets)
        self.vocabulary_path = vocabulary_path(self._data_sets[0])
        shards = [[(data_set, shard) for shard in _all_shards(data_set)] for data_set in self._data_sets]
        self._shards = [shard for own_shards in shards for shard in own_shards]
        self.prefixes = [data_set.rec_prefix(shard) for data_set, shard in self._shards]
        self.readers = [RecordReader(prefix) for prefix in self.prefixes]
        sizes = iter(self.readers)
        self.parts = [sum(len(next(sizes)) for _ in own_shards) for own_shards in shards]
        tables = [data_set.records_path(shard) for data_set, shard in self._shards]
        self._crops, self._place_boxes = crops, PlaceBoxes(tables) if crop_drops_tags else None
        self._ends = np.cumsum([len(reader) for reader in self.readers])
        self._open: OrderedDict[int, None] = OrderedDict()  # shards, least recently used first
        if len(self) == 0:
            raise OvocrError(f"{', '.join(map(str, roots))}: contains no records; none of the images has a tag")
        first = 0
        for size in self.parts:
            self._check_start(range(first, first + size))
            first += size

    def _check_start(self, records: range) -> None:
        """Checks that a record matches the settings. Up to _RECORDS_TRIED - 1 records may be damaged."""
        for number, index in enumerate(records[:_RECORDS_TRIED]):
            try:
                self[index]
                return
            except RecordError:
                if number + 1 == len(records[:_RECORDS_TRIED]):
                    raise

    def __len__(self) -> int:
        """Returns the number of samples."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> tuple[bytes, NDArray[np.int64]]:
        """Returns the encoded image and its tags, int64 [labels_stored]. Raises OvocrError that names the record."""
        record = self._record(index)
        try:
            return record.image, self.select_labels(record.labels)
        except OvocrError as error:
            raise type(error)(f"{self.name(index)}: {error}") from error

    def select_labels(self, stored: NDArray[np.float32]) -> NDArray[np.int64]:
        """Selects the slots that are used: [..., T] -> int64 [..., labels_stored].

        Raises OvocrError if there are too few slots, and RecordError if a label is not a class id. The message does not
        name the record.
        """
        if stored.shape[-1] < self._labels.stop:
            raise OvocrError(
                f"{stored.shape[-1]} slots, but label_select and labels_stored select slots {self._labels.start} to "
                f"{self._labels.stop - 1}"
            )
        labels = stored[..., self._labels]
        invalid = ~((labels >= 0) & (labels < self._num_classes) & (labels == np.floor(labels)))
        if invalid.any():
            raise RecordError(f"tag {labels[invalid][0]:g} is not a class id from 0 to {self._num_classes - 1}")
        return labels.astype(np.int64)

    def load(self, index: int, position: int | None = None) -> Sample:
        """Returns the letterboxed image with its tags.

        If crops are enabled and a position is given, returns the first crop drawn for the position that contains a tag.
        Raises OvocrError that names the record.
        """
        encoded, labels = self[index]
        try:
            if chosen := self.choose_crop(index, encoded, labels, position):
                crop, kept = chosen
                return Sample(load_crop(encoded, crop, self.image_size), refill(labels, kept))
            return Sample(load_image(encoded, self.image_size), labels)
        except DecodeError as error:
            raise DecodeError(f"{self.name(index)}: {error}") from error

    def choose_crop(
        self, index: int, encoded: bytes, labels: NDArray[np.int64], position: int | None
    ) -> tuple[Crop, NDArray[np.bool_]] | None:
        """Returns the first crop that contains a tag, and a mask of the labels in it; None if there is no such crop."""
        for crop in self.draw_crops(encoded, position):
            kept = self.kept_tags(index, labels, crop)
            if kept.any():
                return crop, kept
        return None

    def draw_crops(self, encoded: bytes, position: int | None) -> Iterator[Crop]:
        """Yields the crops drawn for a position, to be tried in order. Raises DecodeError."""
        if self._crops is not None and position is not None:
            yield from draw_crops(*encoded_size(encoded), self._crops, position)

    def places_of(self, index: int) -> RecordPlaces | None:
        """Returns the places of a record; None if crops do not drop tags. Raises OvocrError."""
        if self._place_boxes is None:
            return None
        shard, position = self._locate(index)
        return self._place_boxes.of_record(shard, int(self.readers[shard].ids[position]))

    def kept_tags(self, index: int, labels: NDArray[np.int64], crop: Crop) -> NDArray[np.bool_]:
        """Returns a mask of the labels with a place in the crop: bool [labels_stored]."""
        places = self.places_of(index)
        if places is None:
            return np.ones(len(labels), np.bool_)
        return np.isin(labels, places.ids[self.places_in(crop, places)])

    def places_in(self, crop: Crop, places: RecordPlaces) -> NDArray[np.bool_]:
        """Returns a mask of the places with enough of their box in the crop: bool [M]."""
        least = 0.0 if self._crops is None else self._crops.min_visible
        return visible_shares(places.boxes, crop) >= least

    def name(self, index: int) -> str:
        """Returns the origin of a sample for messages: DIR/rec/00003.rec id 17 (page/12.jpg of pages.tar)."""
        shard, position = self._locate(index)
        record_id = self.readers[shard].ids[position]
        data_set, number = self._shards[shard]
        return f"{self.prefixes[shard]}.rec id {record_id}{_source_of(data_set.records_path(number), record_id)}"

    def class_counts(self) -> NDArray[np.int64]:
        """Returns the number of images with each class id: int64 [largest class id + 1].

        Raises OvocrError if a table of records cannot be read.
        """
        counts = np.zeros(0, dtype=np.int64)
        for data_set, shard in self._shards:
            found = count_class_ids(data_set.records_path(shard))
            larger, smaller = (found, counts) if len(found) > len(counts) else (counts, found)
            larger[: len(smaller)] += smaller
            counts = larger
        return counts

    def _locate(self, index: int) -> tuple[int, int]:
        """Returns the shard and the position in its index. Raises IndexError if the index is out of range."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (int(self._ends[shard - 1]) if shard else 0)

    def _record(self, index: int) -> Record:
        shard, position = self._locate(index)
        self._open[shard] = None
        self._open.move_to_end(shard)
        if len(self._open) > _MAX_OPEN_READERS:
            oldest, _ = self._open.popitem(last=False)
            self.readers[oldest].close()
        return self.readers[shard][position]


def _source_of(records_path: Path, record_id: int) -> str:
    """Returns key and source of a record's image in brackets; empty if the table of records cannot be read."""
    try:
        found = find_image(records_path, record_id)
    except OvocrError:
        return ""
    return f" ({found[1]} of {found[0]})" if found else ""


def vocabulary_path(data_set: LabelledDataSet) -> Path | None:
    """Returns the path of the data set's vocabulary; None if the data set is packed."""
    return data_set.vocabulary_path if data_set.manifest().has_text else None


def _check_one_vocabulary(data_sets: Sequence[LabelledDataSet]) -> None:
    """Raises OvocrError if the data sets have different vocabularies."""
    first, *others = [(data_set, vocabulary_sha256(data_set)) for data_set in data_sets]
    for data_set, sha256 in others:
        if sha256 != first[1]:
            raise OvocrError(
                f"{data_set.root}: has a different vocabulary than {first[0].root}; "
                f"use one head per data set, or relabel one with the {RELATIVE.vocabulary_path} of the other"
            )


def vocabulary_sha256(data_set: LabelledDataSet) -> str:
    """Returns the hash of the data set's vocabulary; empty if the data set is packed.

    Raises OvocrError if the vocabulary is missing or does not match the manifest.
    """
    words, path = data_set.manifest().words, data_set.vocabulary_path
    if words is None:
        return ""
    try:
        found = FileDescription.of(path).sha256
    except OSError as error:
        raise OvocrError(f"{path}: cannot be read: {error.strerror}") from error
    if found != words.sha256:
        raise OvocrError(f"{path}: does not match manifest.json; restore the file")
    return found


def _all_shards(data_set: LabelledDataSet) -> range:
    """Returns the numbers of the shards in the manifest. Raises OvocrError unless all are finished."""
    count = len(data_set.manifest().shards)
    finished = data_set.finished_shards(count)
    if len(finished) < count:
        raise OvocrError(
            f"{data_set.root}: only {len(finished)} of {count} shards are finished; finish it with "
            f"`ovocr {data_set.manifest().command}`"
        )
    return range(count)

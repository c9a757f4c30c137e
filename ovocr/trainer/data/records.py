"""The records of finished shards of labelled data sets as one list of samples."""

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
from ovocr.trainer.data.samples import Sample
from ovocr.trainer.data.tag_boxes import RecordTags, TagBoxes

# Readers that keep their file open: shards may be more than the files a process may open (often 1024).
_OPEN_READERS = 128
# Records of a data set that are looked at for a sound one before anything begins.
_LOOKED_AT = 8


class RecordSamples:
    """Pictures and tags: data set after data set, shard after shard, in the order of the index.

    roots: folders of labelled data sets, all of one vocabulary or all without one, every shard finished.
    labels_stored, label_select: of a record's tags the slice [label_select : label_select + labels_stored] is used.
    num_classes: tags must be less.
    image_size: side of the letterboxed pictures, pixels.
    crops: how a part of a picture is drawn; None: pictures stay whole. crop_drops_tags: keep of a picture's tags those
        that are in the part, if any is, or all of them: what a class id that is no word stands for has no place.

    prefixes, readers: of the shards, in order.

    Raises OvocrError that names the folder, and at a read one that names the record. May be pickled, and used on both
    sides of a fork.
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
        self._shards = [shard for of_one in shards for shard in of_one]
        self.prefixes = [data_set.rec_prefix(shard) for data_set, shard in self._shards]
        self.readers = [RecordReader(prefix) for prefix in self.prefixes]
        sizes = iter(self.readers)
        self.parts = [sum(len(next(sizes)) for _ in of_one) for of_one in shards]
        tables = [data_set.records_path(shard) for data_set, shard in self._shards]
        self._crops, self._tag_boxes = crops, TagBoxes(tables) if crop_drops_tags else None
        self._ends = np.cumsum([len(reader) for reader in self.readers])
        self._open: OrderedDict[int, None] = OrderedDict()  # shards by last use, the latest last
        if len(self) == 0:
            raise OvocrError(f"{', '.join(map(str, roots))}: no records: no picture of it had a tag")
        first = 0
        for size in self.parts:
            self._check_start(range(first, first + size))
            first += size

    def _check_start(self, records: range) -> None:
        """Tags too few or too large for the settings are an error now, not in mid-run; a few records may be damaged."""
        for number, index in enumerate(records[:_LOOKED_AT]):
            try:
                self[index]
                return
            except RecordError:
                if number + 1 == len(records[:_LOOKED_AT]):
                    raise

    def __len__(self) -> int:
        """Records of all shards."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> tuple[bytes, NDArray[np.int64]]:
        """Encoded picture, and tags int64 [labels_stored]. Raises OvocrError naming the record."""
        record = self._record(index)
        try:
            return record.image, self.select_labels(record.labels)
        except OvocrError as error:
            raise type(error)(f"{self.name(index)}: {error}") from error

    def select_labels(self, stored: NDArray[np.float32]) -> NDArray[np.int64]:
        """Of stored tags [..., T] those that are used: int64 [..., labels_stored].

        Raises OvocrError, without naming a record, where there are too few, RecordError where one is no class.
        """
        if stored.shape[-1] < self._labels.stop:
            raise OvocrError(
                f"{stored.shape[-1]} tags, but tags {self._labels.start} to {self._labels.stop - 1} are asked for: see "
                "label_select and labels_stored"
            )
        labels = stored[..., self._labels]
        wrong = ~((labels >= 0) & (labels < self._num_classes) & (labels == np.floor(labels)))
        if wrong.any():
            raise RecordError(f"tag {labels[wrong][0]:g} is no class: there are {self._num_classes}, from 0")
        return labels.astype(np.int64)

    def load(self, index: int, position: int | None = None) -> Sample:
        """Letterboxed picture, or the first part drawn for this position that shows a tag, and its tags.

        Raises OvocrError naming the record.
        """
        encoded, labels = self[index]
        try:
            for crop in self.draw_crops(encoded, position):
                kept = self.kept_tags(index, labels, crop)
                if kept.any():
                    return Sample(load_crop(encoded, crop, self.image_size), refill(labels, kept))
            return Sample(load_image(encoded, self.image_size), labels)
        except DecodeError as error:
            raise DecodeError(f"{self.name(index)}: {error}") from error

    def draw_crops(self, encoded: bytes, position: int | None) -> Iterator[Crop]:
        """The parts of a picture that are drawn for a position, in turn, until a tag is in one. Raises DecodeError."""
        if self._crops is not None and position is not None:
            yield from draw_crops(*encoded_size(encoded), self._crops, position)

    def tags_of(self, index: int) -> RecordTags | None:
        """Where a record's tags are; None where class ids have no place. Raises OvocrError."""
        if self._tag_boxes is None:
            return None
        shard, place = self._locate(index)
        return self._tag_boxes.of_record(shard, int(self.readers[shard].ids[place]))

    def kept_tags(self, index: int, labels: NDArray[np.int64], crop: Crop) -> NDArray[np.bool_]:
        """Which of a record's tags are in the crop: bool [labels_stored]."""
        tags = self.tags_of(index)
        if tags is None or self._crops is None:
            return np.ones(len(labels), np.bool_)
        visible = visible_shares(tags.boxes, crop) >= self._crops.min_visible
        return np.isin(labels, tags.ids[visible])

    def name(self, index: int) -> str:
        """Where a sample comes from, for messages: DIR/rec/00003.rec id 17 (page/12.jpg of pages.tar)."""
        shard, place = self._locate(index)
        record_id = self.readers[shard].ids[place]
        data_set, number = self._shards[shard]
        return f"{self.prefixes[shard]}.rec id {record_id}{_source_of(data_set.records_path(number), record_id)}"

    def class_counts(self) -> NDArray[np.int64]:
        """How many pictures have each tag, by the tables of records: every distinct tag of a picture counts once.

        Raises OvocrError where a table cannot be read.
        """
        counts = np.zeros(0, dtype=np.int64)
        for data_set, shard in self._shards:
            found = count_class_ids(data_set.records_path(shard))
            larger, smaller = (found, counts) if len(found) > len(counts) else (counts, found)
            larger[: len(smaller)] += smaller
            counts = larger
        return counts

    def _locate(self, index: int) -> tuple[int, int]:
        """Shard and place in its index. Raises IndexError beyond the last sample."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (int(self._ends[shard - 1]) if shard else 0)

    def _record(self, index: int) -> Record:
        shard, place = self._locate(index)
        self._open[shard] = None
        self._open.move_to_end(shard)
        if len(self._open) > _OPEN_READERS:
            oldest, _ = self._open.popitem(last=False)
            self.readers[oldest].close()
        return self.readers[shard][place]


def _source_of(records_path: Path, record_id: int) -> str:
    """Returns source and key of a record's image, in brackets; empty if the table of records does not name them."""
    try:
        found = find_image(records_path, record_id)
    except OvocrError:
        return ""
    return f" ({found[1]} of {found[0]})" if found else ""


def vocabulary_path(data_set: LabelledDataSet) -> Path | None:
    """Returns the path of the data set's own vocabulary; None if it is packed: its tags are mere numbers."""
    return data_set.vocabulary_path if data_set.manifest().has_text else None


def _check_one_vocabulary(data_sets: Sequence[LabelledDataSet]) -> None:
    """A tag must have the same meaning in all data sets."""
    first, *others = [(data_set, vocabulary_sha256(data_set)) for data_set in data_sets]
    for data_set, sha256 in others:
        if sha256 != first[1]:
            raise OvocrError(
                f"{data_set.root}: made with another vocabulary than {first[0].root}; "
                f"train on them with a head each, or label one again with the other's {RELATIVE.vocabulary_path}"
            )


def vocabulary_sha256(data_set: LabelledDataSet) -> str:
    """Returns the hash of the data set's own vocabulary; empty if it is packed.

    Raises OvocrError if the vocabulary is missing or not the one that the manifest names.
    """
    words, path = data_set.manifest().words, data_set.vocabulary_path
    if words is None:
        return ""
    try:
        found = FileDescription.of(path).sha256
    except OSError as error:
        raise OvocrError(f"{path}: cannot be read: {error.strerror}") from error
    if found != words.sha256:
        raise OvocrError(f"{path}: not the vocabulary that manifest.json names; put that one back")
    return found


def _all_shards(data_set: LabelledDataSet) -> range:
    """Returns the numbers of the shards in the manifest. Raises OvocrError unless all are finished."""
    count = len(data_set.manifest().shards)
    finished = data_set.finished_shards(count)
    if len(finished) < count:
        raise OvocrError(
            f"{data_set.root}: {len(finished)} of {count} shards finished; let `ovocr build-labels` finish it"
        )
    return range(count)

"""The records of labelled data sets as one list of samples."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.disk_records import DiskRecords
from ovocr.dataset.layout import RELATIVE, LabelledDataSet
from ovocr.dataset.record_columns import count_class_ids, find_image, read_record_keys
from ovocr.dataset.statistics import FileDescription
from ovocr.dataset.text import TextShard
from ovocr.recordio import Record, RecordError
from ovocr.recordio.format import image_sizes
from ovocr.trainer.data.images import DecodeError, encoded_size, load_view
from ovocr.trainer.data.places import Places
from ovocr.trainer.data.samples import NoLegibleTagError, Sample, ShownTags, hash_image
from ovocr.views.random_crops import RandomCrops
from ovocr.views.text_crops import TextCrops
from ovocr.views.view import ImagePlaces, View, shown_in, shown_shares, whole_view

# Number of records per data set that are tried at the start until one is valid.
_RECORDS_TRIED = 8


class Selection(NamedTuple):
    """What a sample shows.

    is_positive: bool [labels_stored], which labels are positives.
    ignored: int64 [n], distinct class ids that are neither positives nor negatives; None if there is no smallest text
        height.
    """

    view: View
    is_positive: NDArray[np.bool_]
    ignored: NDArray[np.int64] | None = None


class _Shard(NamedTuple):
    """A shard of a data set. number: its number there."""

    data_set: LabelledDataSet
    records: DiskRecords
    number: int

    @property
    def size(self) -> int:
        """Number of records."""
        return self.records.counts.item(self.number)

    @property
    def records_path(self) -> Path:
        """Path of the table of records."""
        return self.data_set.records_path(self.number)

    def __str__(self) -> str:
        """Returns the path of the .rec."""
        return f"{self.data_set.rec_prefix(self.number)}.rec"


class RecordSamples:
    """Images and tags, ordered by data set, shard and index.

    roots: folders of finished data sets; either all have the same vocabulary or all are packed.
    labels_stored, label_select: the slots [label_select : label_select + labels_stored] of each record are used.
    num_classes: number of classes; class ids are less.
    image_size: side of the letterboxed images, in pixels.
    pixel_size: side of the pixels of samples, which show the same parts of images as at image_size; None for
        image_size.
    crops: draws crops; None for whole images.
    with_places: whether the tags have places. Class ids without places are all kept in each crop.
    min_visible: share of the area of a place's box that must be inside a crop.
    min_text_height: smallest text height of a positive, in pixels of the input; None for any. The other tags that the
        input shows at least in part are ignored: neither positives nor negatives.

    Attributes:
        parts: number of samples of each data set.
        vocabulary_path: path of the vocabulary; None if the data sets are packed.

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
        pixel_size: int | None = None,
        crops: RandomCrops | TextCrops | None = None,
        with_places: bool = True,
        min_visible: float = 0.0,
        min_text_height: float | None = None,
    ) -> None:
        if not roots:
            raise OvocrError("no data sets: at least one is needed")
        self._labels = slice(label_select, label_select + labels_stored)
        self._num_classes, self.image_size, self._pixel_size = num_classes, image_size, pixel_size or image_size
        self._data_sets = [LabelledDataSet.open(Path(root)) for root in roots]
        _check_one_vocabulary(self._data_sets)
        self.vocabulary_path = vocabulary_path(self._data_sets[0])
        records = [DiskRecords(data_set, len(data_set.all_shards())) for data_set in self._data_sets]
        self.parts = [int(own.counts.sum()) for own in records]
        self._ends = np.cumsum(np.concatenate([own.counts for own in records]))
        self._shards = [
            _Shard(data_set, own, number)
            for data_set, own in zip(self._data_sets, records, strict=True)
            for number in range(len(own.counts))
        ]
        self._crops, self._min_visible, self._min_text_height = crops, min_visible, min_text_height
        text_shards = [TextShard(shard.data_set.root, shard.number) for shard in self._shards]
        self._places = Places(text_shards) if with_places else None
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
        """Returns the sample of a position of the run, or the whole image with all its tags.

        With a position, shows the first crop drawn for it that contains a positive, or else the whole image. Raises
        OvocrError that names the record; NoLegibleTagError if the whole image has no positive either.
        """
        encoded, labels = self[index]
        try:
            shown = self.choose_view(index, encoded, labels, position)
            # Which part of an image a crop chosen by its text shows depends on the size of the input.
            scale = shown.view.scale * (self._pixel_size / self.image_size)
            pixels = load_view(encoded, shown.view._replace(scale=scale), self._pixel_size)
            return Sample(pixels, refill(labels, shown.is_positive), ignored=shown.ignored)
        except (DecodeError, NoLegibleTagError) as error:
            raise type(error)(f"{self.name(index)}: {error}") from error

    def choose_view(self, index: int, encoded: bytes, labels: NDArray[np.int64], position: int | None) -> Selection:
        """Returns the view of a sample and the labels that it keeps; see ``load``."""
        width, height = encoded_size(encoded)
        whole = whole_view(width, height, self.image_size)
        if position is None:
            return Selection(whole, np.ones(len(labels), np.bool_))
        places = self.places_of(index) if self.follows_places else None
        for view in chain(self.draw_views(width, height, labels, places, position), [whole]):
            selection = self.select(view, labels, places)
            if selection.is_positive.any():
                return selection
        raise NoLegibleTagError(self._why_illegible(places))

    def _why_illegible(self, places: ImagePlaces | None) -> str:
        if places is not None and not (places.text_heights > 0).any():
            return "no tag of known text height, because its text was given without boxes; leave min_text_height out"
        other = "raise max_upscale or crop_share" if isinstance(self._crops, TextCrops) else "use crop_text_height"
        least = f"{self._min_text_height:g} pixels"
        return f"no tag with text of at least {least} in the input; lower min_text_height, or {other}"

    def check_text_heights(self) -> None:
        """Raises OvocrError naming a data set in whose first shard no text height is known."""
        for first in np.cumsum([0, *self.parts[:-1]]).tolist():
            if self._places is not None and first < len(self):
                shard, _ = self._locate(first)
                if not self._places.has_known_heights(shard):
                    raise OvocrError(f"{self._shards[shard].data_set.root}: its text was given without boxes")

    def draw_views(
        self, width: int, height: int, labels: NDArray[np.int64], places: ImagePlaces | None, position: int
    ) -> Iterator[View]:
        """Yields the crops drawn for a position, to be tried in order."""
        if isinstance(self._crops, RandomCrops):
            yield from self._crops.draw(width, height, self.image_size, position)
        elif self._crops is not None and places is not None:
            with_slot = places.where(np.isin(places.ids, labels) & (places.text_heights > 0))
            yield from self._crops.draw(width, height, self.image_size, position, with_slot)

    def select(self, view: View, labels: NDArray[np.int64], places: ImagePlaces | None) -> Selection:
        """Returns which labels a view keeps, and which tags are neither positives nor negatives."""
        if places is None or (view.is_whole and self._min_text_height is None):
            return Selection(view, np.ones(len(labels), np.bool_))
        shares = shown_shares(view, places)
        is_visible = shares >= self._min_visible
        if self._min_text_height is None:
            return Selection(view, np.isin(labels, places.ids[is_visible]))
        is_positive = np.isin(labels, places.ids[is_visible & self.legible_in(view, places)])
        # A word that is shown too small, or only in part, is not a word that the image does not have.
        ignored = np.setdiff1d(places.ids[shares > 0], labels[is_positive])
        return Selection(view, is_positive, ignored.astype(np.int64))

    def shown_tags(self, index: int, position: int | None = None) -> ShownTags:
        """Returns all tags that the sample shows, also those without a slot, with the heights of their text.

        A word of which a crop shows less than min_visible at every place, but more than nothing at one, is cut.
        Without places, returns the labels. Raises OvocrError that names the record.
        """
        encoded, labels = self[index]
        places, view = self.places_of(index), self.choose_view(index, encoded, labels, position).view
        if places is None:
            return ShownTags.of_labels(labels, view.is_whole)
        shares = shown_shares(view, places)
        ids, heights = places.where(shares >= self._min_visible).tag_heights()
        heights = np.where(heights < 0, np.float32(np.nan), heights * np.float32(view.scale))
        cut = np.setdiff1d(places.ids[shares > 0], ids)
        return ShownTags(ids.astype(np.int64), heights, view.is_whole, cut.astype(np.int64))

    @property
    def follows_places(self) -> bool:
        """Whether the tags of a sample depend on their places."""
        return self._places is not None and (self._crops is not None or self._min_text_height is not None)

    def places_of(self, index: int) -> ImagePlaces | None:
        """Returns the places of a record; None if tags have no places. Raises OvocrError."""
        if self._places is None:
            return None
        shard, position = self._locate(index)
        return self._places.of_record(shard, position)

    def places_in(self, view: View, places: ImagePlaces) -> NDArray[np.bool_]:
        """Returns a mask of the places with enough of their box in the view: bool [M]."""
        return shown_in(view, places, self._min_visible)

    def legible_in(self, view: View, places: ImagePlaces) -> NDArray[np.bool_]:
        """Returns a mask of the places whose text is known to be large enough in the view: bool [M]."""
        if self._min_text_height is None:
            return np.ones(len(places.ids), np.bool_)
        return places.text_heights * view.scale >= self._min_text_height

    def name(self, index: int) -> str:
        """Returns the origin of a sample for messages: DIR/rec/00003.rec id 17 (page/12.jpg of pages.tar)."""
        shard, position = self._locate(index)
        return f"{self._shards[shard]} id {position}{_source_of(self._shards[shard].records_path, position)}"

    def image_keys(self) -> list[str]:
        """Returns the key of each image inside its source. Raises OvocrError if a table of records cannot be read."""
        return [key for shard in self._shards for key in self._shard_keys(shard)]

    def _shard_keys(self, shard: "_Shard") -> list[str]:
        own = read_record_keys(shard.records_path)
        if sorted(own) != list(range(shard.size)):
            raise OvocrError(f"{shard.records_path}: has other record ids than its .rec; run `ovocr verify`")
        return [own[position] for position in range(shard.size)]

    def image_hashes(self, rank: int = 0, world: int = 1) -> NDArray[np.uint64]:
        """Returns a hash of each image, uint64, of every ``world``-th shard from shard ``rank`` on.

        It follows from the image's key, the name of its source without the folder, and the size of the stored image to
        4 bytes. Reads the keys and the index, but no image. Raises OvocrError if a table of records cannot be read.
        """
        hashes: list[int] = []
        manifests = {data_set: data_set.manifest() for data_set in self._data_sets}
        for shard in self._shards[rank::world]:
            manifest = manifests[shard.data_set]
            source = PurePath(manifest.shards[shard.number].source).name
            sizes = image_sizes(shard.records.bounds(shard.number), manifest.policy.tags).tolist()
            hashes += [hash_image(source, key, size) for key, size in zip(self._shard_keys(shard), sizes, strict=True)]
        return np.array(hashes, np.uint64)

    def class_counts(self, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Returns the number of images with each class id: int64 [largest class id + 1].

        rank, world: counts every ``world``-th shard, from shard ``rank`` on.

        Raises OvocrError if a table of records cannot be read.
        """
        counts = np.zeros(0, dtype=np.int64)
        for shard in self._shards[rank::world]:
            found = count_class_ids(shard.records_path)
            larger, smaller = (found, counts) if len(found) > len(counts) else (counts, found)
            larger[: len(smaller)] += smaller
            counts = larger
        return counts

    def rec_files(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yields the path of each .rec that has records, with their byte offsets: int64 [n], ascending."""
        for shard in self._shards:
            if shard.size:
                yield str(shard), shard.records.bounds(shard.number)[:-1]

    def prefetch(self, indices: Iterable[int]) -> None:
        """Starts to read the records of samples, and returns at once."""
        for index in indices:
            shard, position = self._locate(index)
            self._shards[shard].records.prefetch(self._shards[shard].number, position)

    def _locate(self, index: int) -> tuple[int, int]:
        """Returns the shard and the position in its index. Raises IndexError if the index is out of range."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (int(self._ends[shard - 1]) if shard else 0)

    def _record(self, index: int) -> Record:
        shard, position = self._locate(index)
        return self._shards[shard].records.read(self._shards[shard].number, position)


def refill(labels: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Repeats the kept labels cyclically up to the original number: int64 [T]. kept: bool [T], True at least once."""
    return np.resize(labels[kept], len(labels))


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

"""The records of labelled data sets as one list of samples."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.opening import DataLocation, open_data_set
from ovocr.dataset.access.read_ahead import ReadAhead
from ovocr.dataset.access.store_records import Fetched
from ovocr.dataset.access.stored_records import Reading
from ovocr.recordio import RecordError
from ovocr.trainer.data.images import DecodeError, encoded_size, load_view
from ovocr.trainer.data.places import Places
from ovocr.trainer.data.samples import NoLegibleTagError, Sample, ShownTags
from ovocr.trainer.data.stored.record_shards import DataSetPiece, RecordShards
from ovocr.trainer.data.stored.vocabularies import check_one_vocabulary, vocabulary_path
from ovocr.views.random_crops import RandomCrops
from ovocr.views.text_crops import TextCrops
from ovocr.views.view import ImagePlaces, View, shown_in, shown_shares, whole_view

# Number of records per data set that are tried at the start until one is valid.
_RECORDS_TRIED = 8
# Threads of a process that fetch from stores.
_THREADS = 4


class Selection(NamedTuple):
    """What a sample shows.

    is_positive: bool [labels_stored], which labels are positives.
    ignored: int64 [n], distinct class ids that are neither positives nor negatives; None if there is no smallest text
        height.
    """

    view: View
    is_positive: NDArray[np.bool_]
    ignored: NDArray[np.int64] | None = None


class RecordSamples:
    """Images and tags, ordered by data set, shard and index.

    roots: folders or URLs of finished data sets; either all have the same vocabulary or all are packed.
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
    reading: how data sets in object stores are read.

    Attributes:
        parts: number of samples of each data set.
        vocabulary_path: path of the vocabulary; None if the data sets are packed.

    Raises OvocrError that names the folder or URL. Reading a sample raises OvocrError that names the record. Can be
    pickled and used before and after a fork.
    """

    def __init__(
        self,
        roots: Sequence[DataLocation],
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
        reading: Reading | None = None,
    ) -> None:
        if not roots:
            raise OvocrError("no data sets: at least one is needed")
        self._labels = slice(label_select, label_select + labels_stored)
        self._num_classes, self.image_size, self._pixel_size = num_classes, image_size, pixel_size or image_size
        data_sets = [open_data_set(root) for root in roots]
        check_one_vocabulary(data_sets)
        self.vocabulary_path = vocabulary_path(data_sets[0])
        self._shards = RecordShards(data_sets, reading)
        self.parts = self._shards.parts
        self._crops, self._min_visible, self._min_text_height = crops, min_visible, min_text_height
        all_shards = [(shard.data_set, shard.number) for shard in self._shards.shards]
        self._places = Places(all_shards) if with_places else None
        self._ahead = ReadAhead(self._fetch, _THREADS)
        if len(self) == 0:
            raise OvocrError(f"{', '.join(map(str, roots))}: contains no records; none of the images has a tag")
        first = 0
        for size in self.parts:
            self._check_start(range(first, first + size))
            first += size

    def __getstate__(self) -> dict[str, object]:
        """Returns everything except the threads, which belong to this process."""
        return {key: value for key, value in vars(self).items() if key != "_ahead"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._ahead = ReadAhead(self._fetch, _THREADS)

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
        return len(self._shards)

    def __getitem__(self, index: int) -> tuple[bytes, NDArray[np.int64]]:
        """Returns the encoded image and its tags, int64 [labels_stored]. Raises OvocrError that names the record."""
        record = self._shards.record(index)
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
                shard, _ = self._shards.locate(first)
                if not self._places.has_known_heights(shard):
                    raise OvocrError(f"{self._shards.shards[shard].data_set}: its text was given without boxes")

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
        shard, position = self._shards.locate(index)
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
        return self._shards.name(index)

    def image_keys(self) -> list[str]:
        """Returns the key of each image inside its source. Raises OvocrError if a table of records cannot be read."""
        return self._shards.image_keys()

    def image_hashes(self, rank: int = 0, world: int = 1) -> Iterator[NDArray[np.uint64]]:
        """Yields the hashes of a shard's images, uint64, for every ``world``-th shard from shard ``rank`` on.

        It follows from the image's key, the name of its source without the folder, and the size of the stored image to
        4 bytes. Reads the keys and the index, but no image. Raises OvocrError if a table of records cannot be read.
        """
        return self._shards.image_hashes(rank, world)

    def class_counts(self, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Returns the number of images with each class id: int64 [largest class id + 1].

        rank, world: counts every ``world``-th shard, from shard ``rank`` on.

        Raises OvocrError if a table of records cannot be read.
        """
        return self._shards.class_counts(rank, world)

    def rec_files(self) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yields the path of each .rec that has records, with their byte offsets: int64 [n], ascending."""
        for shard in self._shards.shards:
            if shard.size:
                yield str(shard), shard.records.bounds(shard.number)[:-1]

    def prefetch(self, indices: Iterable[int]) -> None:
        """Starts to read the records of the samples that are loaded next, and returns at once."""
        missing = self._shards.prefetch(indices)
        if missing:
            self._ahead.add(missing, urgent=True)

    def read_ahead(self, indices: NDArray[np.int64]) -> None:
        """Starts to fetch what samples that are loaded later need, and returns at once; from a disk whole blocks."""
        if self._places is not None and self.follows_places:
            self._ahead.add(self._shards.shards_in_stores(indices))
        self._ahead.add(piece for piece in self._shards.pieces(indices) if self._is_for_me(piece))

    def _is_for_me(self, piece: DataSetPiece) -> bool:
        """Returns whether this process fetches a piece in advance.

        The loader processes of a rank share the blocks of a disk by their numbers. Those of a store go to whoever comes
        first, which a lock decides, because the other processes of the machine fetch them too.
        """
        if self._shards.has(piece):
            return False
        worker = get_worker_info()
        if worker is None or self._shards.is_in_store(piece):
            return True
        return bool(hash(piece) % worker.num_workers == worker.id)

    def _fetch(self, wanted: DataSetPiece | int) -> None:
        """Fetches a piece, or the places of the shard with this number. Called by threads."""
        if isinstance(wanted, DataSetPiece):
            self._shards.fetch(wanted)
        elif self._places is not None:
            self._places.prepare(wanted)

    def close(self) -> None:
        """Ends fetching ahead. The samples can still be loaded."""
        self._ahead.close()

    @property
    def fetched(self) -> Fetched:
        """What this process has fetched from stores."""
        return self._shards.fetched

    @property
    def stored_bytes(self) -> int:
        """The size of the records that are in stores."""
        return self._shards.stored_bytes


def refill(labels: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Repeats the kept labels cyclically up to the original number: int64 [T]. kept: bool [T], True at least once."""
    return np.resize(labels[kept], len(labels))

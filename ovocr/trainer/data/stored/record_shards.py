"""The shards of labelled data sets as one list of records."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.base.parallel_reads import in_parallel
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.access.record_blocks import Piece
from ovocr.dataset.access.store_records import Fetched, StoreRecords
from ovocr.dataset.access.stored_records import Reading, StoredRecords, open_records
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.record_columns import count_class_ids, find_image, read_record_keys
from ovocr.recordio import Record
from ovocr.recordio.format import image_sizes
from ovocr.trainer.data.samples import hash_image

Result = TypeVar("Result")

# Number of shards above which the user sees progress.
_MANY_SHARDS = 100
# Shards of a store whose tables are read at the same time.
_SHARDS_AT_ONCE = 8


class Shard(NamedTuple):
    """A shard of a data set. number: its number there."""

    data_set: LabelledDataSet
    records: StoredRecords
    number: int

    @property
    def size(self) -> int:
        """Number of records."""
        return self.records.counts.item(self.number)

    def __str__(self) -> str:
        """Returns the path or URL of the .rec."""
        return self.data_set.name_of(self.data_set.data_files(self.number, with_text=False)["rec"])


class DataSetPiece(NamedTuple):
    """A part of a data set that is fetched or read ahead at once. data_set: its number."""

    data_set: int
    piece: Piece


class RecordShards:
    """The shards of finished data sets; records are numbered by data set, shard and index. Picklable; fork-safe.

    parts: number of records of each data set.

    Raises OvocrError that names the data set. Reading raises OvocrError that names the file.
    """

    def __init__(self, data_sets: Sequence[LabelledDataSet], reading: Reading | None = None) -> None:
        self._data_sets, self._records = list(data_sets), open_records(data_sets, reading)
        self.parts = [int(own.counts.sum()) for own in self._records]
        self._first_shards = np.cumsum([0, *(len(own.counts) for own in self._records)])
        self._ends = np.cumsum(np.concatenate([own.counts for own in self._records]))
        self.shards = [
            Shard(data_set, own, number)
            for data_set, own in zip(self._data_sets, self._records, strict=True)
            for number in range(len(own.counts))
        ]
        self._announced: dict[DataSetPiece, None] = {}  # an ordered set
        self.in_store = any(data_set.url is not None for data_set in self._data_sets)

    def __len__(self) -> int:
        """Returns the number of records."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def fetched(self) -> Fetched:
        """What this process has fetched from stores."""
        stores = [own for own in self._records if isinstance(own, StoreRecords)]
        damaged = sum({id(own.cache): own.cache.damaged for own in stores}.values())
        total = Fetched(damaged=damaged)
        for own in stores:
            total = total.plus(own.fetched)
        return total

    @property
    def stored_bytes(self) -> int:
        """The size of the records that are in stores."""
        stores = (own for own in self._records if isinstance(own, StoreRecords))
        return sum(int(own.bounds(shard)[-1]) for own in stores for shard in range(len(own.counts)))

    def locate(self, index: int) -> tuple[int, int]:
        """Returns the shard and the position in its index. Raises IndexError if the index is out of range."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (int(self._ends[shard - 1]) if shard else 0)

    def record(self, index: int) -> Record:
        """Returns a record. One of a store is fetched alone if it is neither cached nor announced by ``prefetch``."""
        number, position = self.locate(index)
        shard = self.shards[number]
        if not isinstance(shard.records, StoreRecords):
            return shard.records.read(shard.number, position)
        piece = DataSetPiece(self._data_set_of(number), shard.records.blocks.piece(shard.number, position))
        return shard.records.read(shard.number, position, alone=piece not in self._announced)

    def prefetch(self, indices: Iterable[int]) -> list[DataSetPiece]:
        """Announces the records that are read next, in place of those announced before.

        Starts to read those on a disk, and returns the pieces of those in stores that must be fetched.
        """
        numbers = np.fromiter(indices, np.int64)
        self._announced = dict.fromkeys(self.pieces(numbers, in_stores=True) if self.in_store else ())
        for index in numbers.tolist():
            number, position = self.locate(index)
            self.shards[number].records.prefetch(self.shards[number].number, position)
        return [piece for piece in self._announced if not self.has(piece)]

    def pieces(self, indices: NDArray[np.int64], *, in_stores: bool = False) -> Iterator[DataSetPiece]:
        """Yields the pieces with these records, data set by data set. in_stores: only of data sets in stores."""
        shards = np.searchsorted(self._ends, indices, side="right")
        positions = indices - np.concatenate([[0], self._ends])[shards]
        data_sets = np.searchsorted(self._first_shards, shards, side="right") - 1
        for number, records in enumerate(self._records):
            if isinstance(records, StoreRecords) or not in_stores:
                own = data_sets == number
                found = records.blocks.pieces(shards[own] - self._first_shards[number], positions[own])
                yield from (DataSetPiece(number, piece) for piece in found)

    def shards_in_stores(self, indices: NDArray[np.int64]) -> list[int]:
        """Returns the shards of those of these records that are in stores, in the order in which they come."""
        shards = np.searchsorted(self._ends, indices, side="right")
        found, first = np.unique(shards, return_index=True)
        ordered = found[np.argsort(first)].tolist()
        return [number for number in ordered if self.shards[number].data_set.url is not None]

    def is_in_store(self, piece: DataSetPiece) -> bool:
        """Returns whether the data set of a piece is in a store."""
        return self._data_sets[piece.data_set].url is not None

    def has(self, piece: DataSetPiece) -> bool:
        """Returns whether a piece is in the cache, or this process has lately read it ahead from a disk."""
        return self._records[piece.data_set].has(piece.piece)

    def fetch(self, piece: DataSetPiece) -> None:
        """Fetches a piece to the cache, unless it is there or being fetched; starts to read one of a disk."""
        self._records[piece.data_set].fetch(piece.piece)

    def _data_set_of(self, shard: int) -> int:
        return int(np.searchsorted(self._first_shards, shard, side="right")) - 1

    def name(self, index: int) -> str:
        """Returns the origin of a record for messages: DIR/rec/00003.rec id 17 (page/12.jpg of pages.tar)."""
        number, position = self.locate(index)
        shard = self.shards[number]
        source = "" if shard.data_set.url else _source_of(shard.data_set.records_path(shard.number), position)
        return f"{shard} id {position}{source}"

    def image_keys(self) -> list[str]:
        """Returns the key of each image inside its source. Raises OvocrError if a table of records cannot be read."""
        return [key for keys in self._read_tables(self.shards, _keys) for key in keys]

    def image_hashes(self, rank: int, world: int) -> Iterator[NDArray[np.uint64]]:
        """Yields the hashes of a shard's images, for every ``world``-th shard from ``rank`` on; see RecordSamples."""
        manifests = {data_set: data_set.manifest() for data_set in self._data_sets}
        own = self.shards[rank::world]
        progress = "images" if rank == 0 else None
        for shard, keys in zip(own, self._read_tables(own, _keys, progress), strict=True):
            manifest = manifests[shard.data_set]
            source = PurePath(manifest.shards[shard.number].source).name
            sizes = image_sizes(shard.records.bounds(shard.number), manifest.policy.tags).tolist()
            hashes = (hash_image(source, key, size) for key, size in zip(keys, sizes, strict=True))
            yield np.fromiter(hashes, np.uint64, len(keys))

    def class_counts(self, rank: int, world: int) -> NDArray[np.int64]:
        """Returns the number of images with each class id, in every ``world``-th shard from ``rank`` on."""
        counts = np.zeros(0, dtype=np.int64)
        own, progress = self.shards[rank::world], "classes" if rank == 0 else None
        for found in self._read_tables(own, lambda shard, path: count_class_ids(path), progress):
            larger, smaller = (found, counts) if len(found) > len(counts) else (counts, found)
            larger[: len(smaller)] += smaller
            counts = larger
        return counts

    def _read_tables(
        self, shards: Sequence[Shard], read: Callable[[Shard, Path], Result], progress: str | None = None
    ) -> Iterator[Result]:
        """Yields what ``read`` returns for each shard and its table of records. Several of a store are read at once.

        progress: name of a bar on a terminal, which is shown for many shards; None for no bar.
        """
        hidden = None if progress is not None and len(shards) > _MANY_SHARDS else True
        found = self._read_each(shards, read)
        yield from tqdm(found, total=len(shards), desc=progress, unit="shard", leave=False, disable=hidden)

    def _read_each(self, shards: Sequence[Shard], read: Callable[[Shard, Path], Result]) -> Iterator[Result]:
        def on_disk(shard: Shard) -> Result:
            with shard_on_disk(shard.data_set, shard.number, ["records"]) as own:
                return read(shard, own.records_path(shard.number))

        if not self.in_store:
            return map(on_disk, shards)
        return in_parallel(on_disk, shards, at_once=_SHARDS_AT_ONCE, wait=True)  # each has a folder to remove


def _keys(shard: Shard, path: Path) -> list[str]:
    own = read_record_keys(path)
    if sorted(own) != list(range(shard.size)):
        table = shard.data_set.name_of(shard.data_set.records_path(shard.number))
        raise OvocrError(f"{table}: has other record ids than its .rec; run `ovocr verify`")
    return [own[position] for position in range(shard.size)]


def _source_of(records_path: Path, record_id: int) -> str:
    """Returns key and source of a record's image in brackets; empty if the table of records cannot be read."""
    try:
        found = find_image(records_path, record_id)
    except OvocrError:
        return ""
    return f" ({found[1]} of {found[0]})" if found else ""

"""Searches the key columns of a data set's records."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError, StoreError
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.record_columns import find_text_positions, read_keys
from ovocr.dataset.records import RecordRow, find_records
from ovocr.dataset.text import StoredText, read_texts_at

# Limits of the search for keys similar to a key that no image has: keys from the start of the data set, keys with the
# same file name, and characters of a key.
_MAX_FIRST_KEYS = 20_000
_MAX_NAMED_KEYS = 1_000
_MAX_KEY_CHARACTERS = 300
# Tables of records that are fetched from a store at the same time.
_TABLES_FETCHED = 8

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image with the key. shard: number of its shard. row: its row of records. text: None if it was not read."""

    shard: int
    row: RecordRow
    text: StoredText | None


@dataclass(frozen=True)
class FoundImages:
    """The images with a key. left_out: a line for each unreadable file; it may contain more images with the key."""

    images: list[FoundImage]
    left_out: list[str]


class _TextError(OvocrError):
    """The text of an image with the key cannot be read."""


def find_images(data_set: LabelledDataSet, key: str, shards: list[int], *, with_text: bool) -> FoundImages:
    """Returns all images with this key in ``shards``, in the order of shards and rows.

    Reads columns other than the key only from row groups that contain the key. Raises OvocrError that names the
    unreadable files if no readable image has the key.
    """
    images: list[FoundImage] = []
    errors: dict[int, OvocrError] = {}
    with _each_shard(data_set, partial(_search, data_set, key, with_text), shards) as results:
        for number, (found, error) in zip(shards, results, strict=True):
            images += found
            if error is not None:
                errors[number] = error
    if images:
        return FoundImages(images, list(map(str, errors.values())))
    if text_error := next((error for error in errors.values() if isinstance(error, _TextError)), None):
        raise text_error
    close = ", ".join(_close_keys(data_set, [number for number in shards if number not in errors], key))
    hint = f"; similar keys: {close}" if close else "; a key is the path inside the source with its extension"
    shards_searched = "the readable shards" if errors else "the finished shards"
    left_out = "".join(f"; left out: {error}" for error in errors.values())
    raise OvocrError(f"{data_set}: no image in {shards_searched} has the key {key}{left_out}{hint}")


@contextmanager
def _each_shard(
    data_set: LabelledDataSet, work: Callable[[int], Result], shards: list[int]
) -> Iterator[Iterator[Result]]:
    """Yields the results of ``work`` for the shards, in order. Tables of a store are fetched concurrently."""
    if data_set.url is None:
        yield map(work, shards)
        return
    executor = ThreadPoolExecutor(_TABLES_FETCHED, thread_name_prefix="ovocr-search")
    try:
        yield executor.map(work, shards)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)  # waits until temporary files are removed


def _search(
    data_set: LabelledDataSet, key: str, with_text: bool, number: int
) -> tuple[list[FoundImage], OvocrError | None]:
    """Returns the images of a shard with the key, and the error if a file cannot be read. Raises StoreError."""
    images: list[FoundImage] = []
    try:
        images.extend(_find_in_shard(data_set, number, key, with_text))
    except StoreError:
        raise
    except OvocrError as error:
        return images, error
    return images, None


def _find_in_shard(data_set: LabelledDataSet, number: int, key: str, with_text: bool) -> Iterator[FoundImage]:
    with shard_on_disk(data_set, number, ["records"]) as files:
        path = files.records_path(number)
        rows = find_records(path, key, with_text=with_text)
        positions = find_text_positions(path, [row.position for row in rows]) if rows and with_text else {}
    for row in rows:
        position = positions.get(row.position)
        text = None if position is None else _read_text(data_set, number, position, key)
        yield FoundImage(shard=number, row=row, text=text)


def _read_text(data_set: LabelledDataSet, number: int, position: int, key: str) -> StoredText:
    try:
        with shard_on_disk(data_set, number, ["ocr"]) as files:
            ((found, text),) = read_texts_at(files.ocr_path(number), [position])
    except StoreError:
        raise
    except OvocrError as error:
        raise _TextError(str(error)) from error
    if found != key:
        path = data_set.name_of(data_set.ocr_path(number))
        raise _TextError(f"{path}: row {position} has a different key than {key}; see `ovocr verify`")
    return text


def _close_keys(data_set: LabelledDataSet, shards: list[int], key: str) -> list[str]:
    """Returns up to three similar keys among keys with the same file name and the first keys of the data set."""
    if len(key) > _MAX_KEY_CHARACTERS:
        return []
    named: list[str] = []
    first: list[str] = []
    with _each_shard(data_set, partial(_candidates, data_set, key.rpartition("/")[2]), shards) as results:
        for with_name, at_start in results:
            named += with_name[: _MAX_NAMED_KEYS - len(named)]
            for keys in at_start if len(first) < _MAX_FIRST_KEYS else ():
                first += islice(keys.to_pylist(), _MAX_FIRST_KEYS - len(first))
    return _closest(key, [candidate for candidate in [*named, *first] if len(candidate) <= _MAX_KEY_CHARACTERS])


def _candidates(data_set: LabelledDataSet, name: str, number: int) -> tuple[list[str], list[pa.Array]]:
    """Returns the keys of a shard with this file name, up to the limit, and all keys."""
    named: list[str] = []
    own: list[pa.Array] = []
    # Other row groups may be damaged; their keys are only a hint.
    with suppress(OvocrError), shard_on_disk(data_set, number, ["records"]) as files:
        for keys in read_keys(files.records_path(number)):
            matching = keys.filter(pc.ends_with(keys, name)).to_pylist() if name else []
            named += islice(matching, _MAX_NAMED_KEYS - len(named))
            own.append(keys)
    return named, own


def _closest(key: str, candidates: list[str]) -> list[str]:
    """Returns up to three similar keys. Compares whole keys and file names, ignoring case."""
    spelled = {candidate.casefold(): candidate for candidate in candidates}
    for candidate in candidates:
        spelled.setdefault(candidate.rpartition("/")[2].casefold(), candidate)
    close = get_close_matches(key.casefold(), spelled, 6)
    return list(dict.fromkeys(spelled[spelling] for spelling in close))[:3]

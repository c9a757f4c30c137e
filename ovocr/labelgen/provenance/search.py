"""Finds the images with a key through the key columns of a data set's records."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.record_columns import find_text_places, read_keys
from ovocr.dataset.records import RecordRow, find_records
from ovocr.dataset.text import StoredText, read_texts_at

# Keys that are compared with a key that no image has, to name similar ones.
_KEYS_COMPARED = 20_000
_KEYS_OF_THE_NAME = 1_000
_LONGEST_COMPARED = 300


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image with the key. shard: its number. row: of the records. text: None for an image that was not read."""

    shard: int
    row: RecordRow
    text: StoredText | None


@dataclass(frozen=True)
class FoundImages:
    """The images with a key. left_out: a line for each file that cannot be read and may hold others."""

    images: list[FoundImage]
    left_out: list[str]


class _TextError(OvocrError):
    """The text of an image with the key cannot be read."""


def find_images(data_set: LabelledDataSet, key: str, shards: list[int], *, with_text: bool) -> FoundImages:
    """Returns all images with this key in ``shards``, in the order of shards and rows.

    Reads columns other than the key only of row groups that hold the key. Raises OvocrError, naming the files that
    cannot be read, if no image that can be read has the key.
    """
    images: list[FoundImage] = []
    errors: dict[int, OvocrError] = {}
    for number in shards:
        try:
            images.extend(_find_in_shard(data_set, number, key, with_text))
        except OvocrError as error:
            errors[number] = error
    if images:
        return FoundImages(images, list(map(str, errors.values())))
    if of_the_image := next((error for error in errors.values() if isinstance(error, _TextError)), None):
        raise of_the_image
    close = ", ".join(_close_keys(data_set, [number for number in shards if number not in errors], key))
    hint = f"; close to it are: {close}" if close else "; a key is the path inside the source, ending included"
    where = "a shard that can be read" if errors else "a finished shard"
    left_out = "".join(f"; left out: {error}" for error in errors.values())
    raise OvocrError(f"{data_set.root}: no image of {where} has the key {key}{left_out}{hint}")


def _find_in_shard(data_set: LabelledDataSet, number: int, key: str, with_text: bool) -> Iterator[FoundImage]:
    path = data_set.records_path(number)
    rows = find_records(path, key, with_text=with_text)
    text_places = find_text_places(path, [row.place for row in rows]) if rows and with_text else {}
    for row in rows:
        place = text_places.get(row.place)
        text = None if place is None else _read_text(data_set, number, place, key)
        yield FoundImage(shard=number, row=row, text=text)


def _read_text(data_set: LabelledDataSet, number: int, place: int, key: str) -> StoredText:
    path = data_set.ocr_path(number)
    try:
        ((found, text),) = read_texts_at(path, [place])
    except OvocrError as error:
        raise _TextError(str(error)) from error
    if found != key:
        raise _TextError(f"{path}: row {place} is not of {key}; see `ovocr verify`")
    return text


def _close_keys(data_set: LabelledDataSet, shards: list[int], key: str) -> list[str]:
    """Returns up to three similar keys: among those with the same file name, and the first of the data set."""
    if len(key) > _LONGEST_COMPARED:
        return []
    name = key.rpartition("/")[2]
    named: list[str] = []
    first: list[str] = []
    for number in shards:
        with suppress(OvocrError):  # row groups that cannot hold the key may be damaged; their keys are only a hint
            for keys in read_keys(data_set.records_path(number)):
                of_the_name = keys.filter(pc.ends_with(keys, name)).to_pylist() if name else []
                named += islice(of_the_name, _KEYS_OF_THE_NAME - len(named))
                if len(first) < _KEYS_COMPARED:
                    first += islice(keys.to_pylist(), _KEYS_COMPARED - len(first))
    return _closest(key, [candidate for candidate in [*named, *first] if len(candidate) <= _LONGEST_COMPARED])


def _closest(key: str, candidates: list[str]) -> list[str]:
    """Returns up to three similar keys, ignoring case, compared whole or by their file names."""
    spelled = {candidate.casefold(): candidate for candidate in candidates}
    for candidate in candidates:
        spelled.setdefault(candidate.rpartition("/")[2].casefold(), candidate)
    close = get_close_matches(key.casefold(), spelled, 6)
    return list(dict.fromkeys(spelled[spelling] for spelling in close))[:3]

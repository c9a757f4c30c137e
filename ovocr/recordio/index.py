"""The index of a .rec: one line per record with id, tab and byte offset (mxnet's MXIndexedRecordIO)."""

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovocr.base.files import written_aside
from ovocr.recordio.format import MAX_RECORD_ID, PART, RecordError, shard_paths
from ovocr.recordio.recfile import RecFile

_INT64_DIGITS = 18  # any number with as many digits fits int64
_LINE = re.compile(rb"([0-9]{1,20})\t([0-9]{1,20})\n")


def format_index(offsets: dict[int, int]) -> bytes:
    """Returns the bytes of an index that maps each id to its byte offset."""
    return "".join(f"{id}\t{offset}\n" for id, offset in offsets.items()).encode("ascii")


def read_index(path: Path, rec_size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Returns ids [N] and byte offsets [N], in the order of the lines.

    Raises RecordError naming the line if one is malformed, repeats an id, or points outside a .rec of ``rec_size``
    bytes.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; create it from the .rec with rebuild_index") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_index(data, path, rec_size)


def parse_index(data: bytes, path: Path | str, rec_size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Returns ids and offsets of the content of an index; see ``read_index``. path: its name in messages."""
    columns = _parse_columns(data)
    if columns is None:
        return _parse_lines(data, path, rec_size)
    ids, offsets = columns
    are_distinct = np.array_equal(ids, np.arange(len(ids))) or len(np.unique(ids)) == len(ids)
    are_in_file = not len(offsets) or int(offsets.max()) + PART.size <= rec_size
    if not are_distinct or not are_in_file or (offsets % 4).any():
        return _parse_lines(data, path, rec_size)
    return ids.astype(np.uint64), offsets


def _parse_columns(data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Returns the two columns of an index whose numbers fit int64; None if a line is malformed or a number larger.

    A hundred times as fast as line by line.
    """
    characters = np.frombuffer(data, np.uint8)
    separators = np.flatnonzero(characters < ord("0"))
    found = characters[separators]
    lengths = np.diff(separators, prepend=-1) - 1
    well_formed = (
        len(found) % 2 == 0
        and (not data or data.endswith(b"\n"))
        and bool((found[0::2] == ord("\t")).all() and (found[1::2] == ord("\n")).all())
        and bool((characters <= ord("9")).all() and (lengths > 0).all() and (lengths <= _INT64_DIGITS).all())
    )
    if not well_formed:
        return None
    numbers = np.fromstring(data.decode("ascii"), np.int64, len(found), sep=" ") if data else np.empty(0, np.int64)
    return numbers[0::2].copy(), numbers[1::2].copy()


def _parse_lines(data: bytes, path: Path | str, rec_size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Parses an index line by line, and raises RecordError for the first invalid one."""
    offsets: dict[int, int] = {}
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise RecordError(f"{path}:{number}: not an index line: id, tab, byte offset, line end")
        id, offset = int(match[1]), int(match[2])
        if id > MAX_RECORD_ID:
            raise RecordError(f"{path}:{number}: id {id} is larger than 2**64 - 1")
        if id in offsets:
            raise RecordError(f"{path}:{number}: id {id} is already in an earlier line")
        if offset + PART.size > rec_size:
            raise RecordError(f"{path}:{number}: id {id} points to byte {offset} of a .rec of {rec_size} bytes")
        if offset % 4:
            raise RecordError(f"{path}:{number}: id {id} points to byte {offset}, but records start at multiples of 4")
        offsets[id] = offset
    return np.fromiter(offsets, np.uint64, len(offsets)), np.fromiter(offsets.values(), np.int64, len(offsets))


def rebuild_index(prefix: str | os.PathLike[str]) -> int:
    """Writes PREFIX.idx from PREFIX.rec, atomically; returns the number of records.

    Reads headers only. Raises RecordError if the .rec is broken or contains an id twice.
    """
    rec_path, idx_path = shard_paths(prefix)
    rec = RecFile(rec_path)
    offsets: dict[int, int] = {}
    offset, size = 0, rec.size()
    while offset < size:
        id, end = rec.id(offset)
        if id in offsets:
            raise RecordError(f"{rec_path}: record id {id} occurs twice, at bytes {offsets[id]} and {offset}")
        offsets[id] = offset
        offset = end
    with written_aside(idx_path) as partial:
        partial.write_bytes(format_index(offsets))
    return len(offsets)

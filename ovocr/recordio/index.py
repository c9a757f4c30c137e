"""The index of a .rec: one line per record with id, tab and byte offset (mxnet's MXIndexedRecordIO)."""

import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovocr.base.files import written_aside
from ovocr.recordio.format import MAX_RECORD_ID, PART, RecordError, shard_paths
from ovocr.recordio.recfile import RecFile

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

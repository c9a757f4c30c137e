"""Zip archives, read member by member and never unpacked. Format: PKWARE's APPNOTE.TXT."""

import errno
import lzma
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from stat import S_ISLNK
from typing import IO, cast

from ovocr.base.escape import as_text
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.input_shard import InputShard, file_shard
from ovocr.labelgen.sources.items import MAX_FILE_BYTES, Found, Ignored, Lost, SourceItem, is_image_name, too_large
from ovocr.labelgen.sources.source_path import SourcePath

# zipfile holds the list of all members in memory. A member takes some hundred bytes of the file.
MAX_DIRECTORY_BYTES = 128 * 2**20
# zipfile limits the output of these methods only. A few bytes of the others may become gigabytes at once.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_LOCAL_HEADER_BYTES = 30
# macOS adds members that have an image's name and are none.
_NO_IMAGES = "__MACOSX/"
# Errors that zipfile and its decoders raise on broken archives, and OSError with EINVAL or without a number.
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    IndexError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the archive as one shard, with an unknown number of images."""
    return [file_shard(found.path, "zip", images=None)]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the image members in the order of the archive's list. A damaged member is one Lost item.

    An archive whose list of members cannot be read, because it is truncated, is one Lost item that names the file.
    Raises OvocrError if the file cannot be opened or read.
    """
    with path.open() as file:
        try:
            archive = _open(file)
        except (*_DAMAGE, OSError) as error:
            _raise_system_error(error)
            yield Lost("", Reason.DAMAGED_SOURCE, f"{path.name}: no zip archive can be read ({error})")
            return
        with archive:
            yield from _read_members(archive, path.name)


class _Reader:
    """A file that zipfile reads. limit: the most bytes of one read, or None."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.limit: int | None = None
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if self.limit is not None and size > self.limit:
            raise zipfile.BadZipFile(f"a list of members of {size} bytes, at most {self.limit} are read")
        return self._file.read(size)


def _open(file: IO[bytes]) -> zipfile.ZipFile:
    reader = _Reader(file)
    reader.limit = MAX_DIRECTORY_BYTES
    archive = zipfile.ZipFile(cast(IO[bytes], reader))  # reads the list of members at once
    reader.limit = None
    return archive


def _read_members(archive: zipfile.ZipFile, name: str) -> Iterator[SourceItem]:
    starts = sorted([*(member.header_offset for member in archive.infolist()), archive.start_dir])
    for member in archive.infolist():
        key = as_text(member.filename)
        if member.filename.endswith("/"):  # is_dir() fails for an empty name before Python 3.12
            continue
        if not is_image_name(member.filename) or member.filename.startswith(_NO_IMAGES):
            yield Ignored()
        elif S_ISLNK(member.external_attr >> 16):
            yield Lost(key, Reason.UNREADABLE, "a link: pack the image itself")
        elif member.flag_bits & _ENCRYPTED:
            yield Lost(key, Reason.UNREADABLE, "is encrypted; unpack the archive with its password and pack it again")
        elif member.compress_type not in _METHODS:
            detail = f"is compressed with method {member.compress_type}; pack it again with deflate, the usual method"
            yield Lost(key, Reason.UNREADABLE, detail)
        elif member.file_size > MAX_FILE_BYTES:
            yield too_large(key, member.file_size)
        elif _overlaps(member, starts):
            yield Lost(key, Reason.DAMAGED_SOURCE, f"{name}: the member overlaps another one")
        else:
            yield _read_member(archive, member, key, name)


def _overlaps(member: zipfile.ZipInfo, starts: list[int]) -> bool:
    """Returns True if the data of the member reaches into the next member.

    starts: offsets of all members and of the list of members, sorted.
    Overlapping members multiply the data of an archive without limit.
    """
    end = member.header_offset + _LOCAL_HEADER_BYTES + len(member.orig_filename) + member.compress_size
    position = bisect_right(starts, member.header_offset)
    twice = position >= 2 and starts[position - 2] == member.header_offset
    return twice or (position < len(starts) and end > starts[position])


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, key: str, name: str) -> SourceItem:
    try:
        with archive.open(member) as content:
            data = content.read(member.file_size)  # without a size, zipfile decompresses up to 2 GB at once
    except (*_DAMAGE, OSError) as error:
        _raise_system_error(error)
        return Lost(key, Reason.DAMAGED_SOURCE, f"{name}: {error}")
    if len(data) != member.file_size:
        detail = f"{name}: the member has {len(data)} bytes, {member.file_size} in the list of members"
        return Lost(key, Reason.DAMAGED_SOURCE, detail)
    return Found(key, data)


def _raise_system_error(error: Exception) -> None:
    """Re-raises the error if the file system failed: that ends the run."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error

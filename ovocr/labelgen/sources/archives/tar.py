"""Tar archives, such as WebDataset shards: read from front to back as a stream, never unpacked."""

import errno
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from ovocr.base.escape import as_text
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.archives.decompression import DecompressionError, decompressed
from ovocr.labelgen.sources.archives.tar_headers import HeaderReader
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.input_shard import InputShard, file_shard
from ovocr.labelgen.sources.items import (
    MAX_FILE_BYTES,
    Found,
    Ignored,
    Lost,
    SourceItem,
    is_image_name,
    too_large,
)
from ovocr.labelgen.sources.source_path import SourcePath

# Errors that tarfile raises on hostile headers, and OSError with EINVAL: a seek to before the start of the file.
_DAMAGE = (tarfile.TarError, ValueError, OverflowError, EOFError, IndexError)
# An archive ends in blocks of zeros, padded to a multiple of 10 KiB or of the writer's block size.
_PADDING = 2**20


class _DamagedError(Exception):
    """The rest of the archive cannot be read."""


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the archive as one shard, with an unknown number of images."""
    return [file_shard(found.path, "tar", images=None)]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the image members in order. Damage ends the archive with one Lost item that names file and offset.

    Offsets in a compressed archive are those of the uncompressed one. Raises OvocrError if the file cannot be opened or
    read.
    """
    with path.open() as file, decompressed(file) as (content, compression):
        name = f"{path.name} (uncompressed from {compression})" if compression else path.name
        yield from _read_members(content, name)


def _read_members(file: IO[bytes], name: str) -> Iterator[SourceItem]:
    key = ""
    try:
        headers = HeaderReader(file)
        archive = _open(file, headers)
        while (member := _next_member(archive, headers)) is not None:
            key = as_text(member.name)
            yield from _read_member(archive, member, key)
            key = ""
        _check_end(file, archive.offset)
    except DecompressionError as error:
        yield Lost(key, Reason.DAMAGED_SOURCE, f"{name}: offset {file.tell()}: {error}")
    except _DamagedError as error:
        yield Lost(key, Reason.DAMAGED_SOURCE, f"{name}: {error}")


def _open(file: IO[bytes], headers: HeaderReader) -> tarfile.TarFile:
    if not file.read(1):
        raise _DamagedError("offset 0: the file is empty")
    file.seek(0)
    try:
        with headers.bounded():
            return tarfile.open(fileobj=cast(IO[bytes], headers), mode="r:")
    except _DAMAGE as error:
        raise _DamagedError(f"offset 0: no tar archive ({error})") from error


def _next_member(archive: tarfile.TarFile, headers: HeaderReader) -> tarfile.TarInfo | None:
    offset = archive.offset
    vars(archive)["members"].clear()  # tarfile keeps every header, of which an archive may have millions
    try:
        with headers.bounded():
            member = archive.next()
    except _DAMAGE as error:
        raise _DamagedError(f"offset {offset}: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        if offset == 0:  # Python 3.10 seeks to before the start of an archive without members
            return None
        raise _DamagedError(f"offset {offset}: a header points out of the file") from error
    if member is not None and (member.size < 0 or archive.offset <= offset < member.offset):
        raise _DamagedError(f"offset {offset}: a header points backwards")
    return member


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, key: str) -> Iterator[SourceItem]:
    if member.isdir():
        return
    if (member.islnk() or member.issym()) and is_image_name(member.name):
        yield Lost(key, Reason.UNREADABLE, f"a link to {as_text(member.linkname)}: pack the image itself")
    elif not member.isreg() or not is_image_name(member.name):
        yield Ignored()
    elif member.size > MAX_FILE_BYTES:
        yield too_large(key, member.size)
    else:
        yield Found(key, _data(archive, member))


def _data(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    try:
        content = archive.extractfile(member)
        data = content.read() if content is not None else b""
    except _DAMAGE as error:
        raise _DamagedError(f"offset {member.offset_data}: the file ends inside a member ({error})") from error
    if len(data) != member.size:
        raise _DamagedError(f"offset {member.offset_data}: the file ends inside a member")
    return data


def _check_end(file: IO[bytes], offset: int) -> None:
    """Raises _DamagedError unless the archive ends in blocks of zeros: tarfile also stops at a broken header."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if not block:
        raise _DamagedError(f"offset {offset}: the file ends without the archive's end mark")
    if any(block):
        raise _DamagedError(f"offset {offset}: a header is broken")
    while block:
        offset = file.tell()
        block = file.read(_PADDING)
        if any(block):
            raise _DamagedError(
                f"offset {offset}: the archive's end mark, but not the file's end; nothing behind it is read"
            )

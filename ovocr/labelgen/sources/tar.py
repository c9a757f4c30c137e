"""Images of a WebDataset shard: a plain tar file, read from front to back, never unpacked."""

import errno
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from ovocr.base.errors import UsageError
from ovocr.base.escape import as_text
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.files import file_state, opened, read_start
from ovocr.labelgen.sources.plan import (
    MAX_FILE_BYTES,
    Found,
    Ignored,
    InputShard,
    Lost,
    SourceItem,
    is_image_name,
    too_large,
)
from ovocr.labelgen.sources.tar_headers import HeaderReader

_COMPRESSED = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd"}
# What tarfile raises on hostile headers, by its source; OSError with EINVAL is a seek to before the file's start.
_DAMAGE = (tarfile.TarError, ValueError, OverflowError, EOFError)
# An archive ends in blocks of 0, up to a multiple of 10 KiB or what the program that wrote it was told.
_PADDING = 2**20


def plan_tar(source: str) -> InputShard:
    """The file as one shard; how many images it has is not known before it is read. Raises UsageError if compressed."""
    start = read_start(source, 6)
    for name, magic in _COMPRESSED.items():
        if start.startswith(magic):
            raise UsageError(f"{source}: is compressed ({name}); uncompress it first, a .tar is read as a stream")
    return InputShard(source=source, kind="tar", size=file_state(source).size)


class _DamagedError(Exception):
    """The archive cannot be read on from here."""


def read_tar(shard: InputShard) -> Iterator[SourceItem]:
    """Image members in order; where the file is damaged, one Lost that names file and offset, and the end.

    Raises OvocrError where the file cannot be opened or read at all (that is no damage: it may be mended).
    """
    with opened(shard.source) as file:
        yield from _read_members(file, shard.source)


def _read_members(file: IO[bytes], path: str) -> Iterator[SourceItem]:
    key = ""
    try:
        headers = HeaderReader(file)
        archive = _open(file, headers)
        while (member := _next_member(archive, headers)) is not None:
            key = as_text(member.name)
            yield from _read_member(archive, member, key)
            key = ""
        _check_end(file, archive.offset)
    except _DamagedError as error:
        yield Lost(key, Reason.DAMAGED_SOURCE, f"{path}: {error}")


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
    vars(archive)["members"].clear()  # tarfile keeps every header it has read; an archive may have millions
    try:
        with headers.bounded():
            member = archive.next()
    except _DAMAGE as error:
        raise _DamagedError(f"offset {offset}: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        if offset == 0:  # Python 3.10 steps to before the start of an archive without members
            return None
        raise _DamagedError(f"offset {offset}: a header points out of the file") from error
    if member is not None and (member.size < 0 or archive.offset <= offset < member.offset):
        raise _DamagedError(f"offset {offset}: a header points backwards")
    return member


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, key: str) -> Iterator[SourceItem]:
    if member.isdir():
        return
    if (member.islnk() or member.issym()) and is_image_name(member.name):
        yield Lost(key, Reason.UNREADABLE, f"a link to {as_text(member.linkname)}: pack the picture itself")
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
    """Tarfile takes a broken header, and the file's end anywhere, for the end of the archive; that is a block of 0."""
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

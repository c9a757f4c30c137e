"""The files that sources are: on a disk, or in an object store."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ovocr.base.errors import OvocrError
from ovocr.base.object_store import connect, describe_error, is_url, store_errors

# An object is read in pieces of this size, the next ones while the last one is in work.
_BLOCK_BYTES = 8 * 2**20
_BLOCKS_HELD = 4


@dataclass(frozen=True)
class FileState:
    """Which file is in a place. size: bytes. version: another one after each change."""

    size: int
    version: str


def file_state(source: str) -> FileState:
    """Raises FileNotFoundError, OvocrError where a store does not answer, OSError."""
    if not is_url(source):
        status = os.stat(source)
        return FileState(status.st_size, f"{status.st_mtime_ns} {status.st_ino}")
    system, path = connect(source)
    with store_errors(source):
        return FileState(int(system.info(path)["size"]), str(system.ukey(path)))


@contextmanager
def opened(source: str) -> Iterator[IO[bytes]]:
    """The file, to be read from front to back. Raises OvocrError, naming it, where it cannot be opened or read."""
    try:
        if is_url(source):
            system, path = connect(source)
            with (
                store_errors(source),
                system.open(
                    path,
                    "rb",
                    block_size=_BLOCK_BYTES,
                    cache_type="background",
                    cache_options={"maxblocks": _BLOCKS_HELD},
                ) as file,
            ):
                yield file
        else:
            with open(source, "rb") as file:
                yield file
    except OSError as error:
        raise OvocrError(f"{source}: cannot be read: {describe_error(error)}") from error


def read_start(source: str, size: int) -> bytes:
    """The first bytes of a file. Raises OvocrError, OSError."""
    if not is_url(source):
        with open(source, "rb") as file:
            return file.read(size)
    system, path = connect(source)
    with store_errors(source):
        data: bytes = system.cat_file(path, start=0, end=size)
        return data


@contextmanager
def on_disk(*sources: str) -> Iterator[list[Path]]:
    """Paths of the files: where they are, or of copies for the length of the block, which have the same names.

    Raises OvocrError where an object cannot be had.
    """
    if not is_url(sources[0]):
        yield [Path(source) for source in sources]
        return
    folder = Path(tempfile.mkdtemp(prefix="ovocr-source-"))
    try:
        yield [_copy(source, folder) for source in sources]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: str, folder: Path) -> Path:
    system, path = connect(source)
    copy = folder / path.rpartition("/")[2]
    try:
        with store_errors(source):
            system.get_file(path, str(copy))
    except FileNotFoundError as error:
        raise OvocrError(f"{source}: cannot be read: {describe_error(error)}") from error
    return copy

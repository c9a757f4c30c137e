"""A folder of blocks that were fetched from object stores, shared by the processes of a machine and bounded in size."""

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.files import partial_path
from ovocr.base.user_cache import cache_folder
from ovocr.dataset.access.cache_room import make_room
from ovocr.dataset.access.fetch_lock import lock, try_lock

DEFAULT_GB = 20.0
"""Default size of the cache, 10^9 bytes."""

_FOOTER = struct.Struct("<8sQI")  # magic, number of bytes, CRC-32; after the bytes
_MAGIC = b"ovocrbk1"
_CHUNK_BYTES = 2**20
_PAUSE_S = 0.02
# A block counts as used at most this often, because each time changes its file's inode.
_TOUCH_EVERY_S = 20.0
_ATTEMPTS = 8


class Block(NamedTuple):
    """A range of bytes of an object. name: path in the cache, without suffix. size: number of bytes."""

    name: str
    size: int


class BlockCache:
    """A folder of blocks. Can be pickled, and used before and after a fork.

    folder: made if it does not exist. limit: largest size of all blocks in bytes; the least recently used ones are
    removed before another one is fetched.

    damaged: number of blocks whose files were found damaged by this process, and removed.

    Methods raise OvocrError naming the folder if it cannot be used.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.damaged = 0
        self._checked: dict[str, int] = {}  # the inode of each block whose checksum this process has compared

    @classmethod
    def open(cls, folder: Path | None = None, gb: float = DEFAULT_GB) -> "BlockCache":
        """Returns the cache in a folder, by default the user's. gb: limit in 10^9 bytes."""
        if folder is None:
            user = cache_folder()
            if user is None:
                raise UsageError("loader.cache_folder: missing: there is no home folder for the default; choose one")
            folder = user / "blocks"
        return cls(folder, int(gb * 1e9))

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "damaged": 0, "_checked": {}}

    def has(self, block: Block) -> bool:
        """Returns whether a block is in the folder, undamaged or not."""
        return self._path(block).exists()

    def read(self, block: Block, start: int, end: int, fetch: Callable[[], bytes]) -> bytes:
        """Returns the bytes [start, end) of a block, which is fetched first if it is missing or damaged.

        Waits if another process or thread is fetching it. Raises what ``fetch`` raises.
        """
        with self._errors():
            for _ in range(_ATTEMPTS):
                descriptor = self._open(block)
                if descriptor is not None:
                    try:
                        return os.pread(descriptor, end - start, start)
                    finally:
                        os.close(descriptor)
                while not self.has(block) and not self.ensure(block, fetch):
                    time.sleep(_PAUSE_S)
        raise OvocrError(f"{self.folder}: blocks are removed before they are read; raise loader.cache_gb")

    def ensure(self, block: Block, fetch: Callable[[], bytes]) -> bool:
        """Fetches a block if it is missing. Returns False at once if another process or thread is fetching it."""
        with self._errors():
            try:
                return self._ensure(block, fetch)
            except FileNotFoundError:  # someone has emptied the folder meanwhile
                return self._ensure(block, fetch)

    def _ensure(self, block: Block, fetch: Callable[[], bytes]) -> bool:
        path = self._path(block)
        path.parent.mkdir(parents=True, exist_ok=True)
        with try_lock(path.with_suffix(".lock")) as is_held:
            if is_held and not path.exists():
                self._write(path, block, fetch)
            return is_held

    def remove(self, block: Block) -> None:
        """Removes a block whose bytes are wrong, so that it is fetched again."""
        with self._errors():
            self._path(block).unlink(missing_ok=True)
            self.damaged += 1

    def _write(self, path: Path, block: Block, fetch: Callable[[], bytes]) -> None:
        size = block.size + _FOOTER.size
        if size > self.limit:
            raise OvocrError(
                f"{self.folder}: a block of {block.size / 1e9:.3g} GB is larger than the cache; raise loader.cache_gb"
            )
        partial = partial_path(path)
        with lock(self.folder / "size.lock"):
            make_room(self.folder, partial, size, self.limit)
        try:
            data = fetch()
            with partial.open("r+b") as file:
                file.write(data)
                file.write(_FOOTER.pack(_MAGIC, len(data), zlib.crc32(data)))
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _open(self, block: Block) -> int | None:
        """Returns a descriptor of the block's file; None if it is missing or damaged. A damaged one is removed."""
        path = self._path(block)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        status = os.fstat(descriptor)
        if self._checked.get(block.name) != status.st_ino:
            if not _is_whole(descriptor, status.st_size, block.size):
                os.close(descriptor)
                path.unlink(missing_ok=True)
                self.damaged += 1
                return None
            self._checked[block.name] = status.st_ino
        if time.time() - status.st_mtime > _TOUCH_EVERY_S:
            with suppress(OSError):  # removed meanwhile, or of another user
                os.utime(descriptor)
        return descriptor

    def _path(self, block: Block) -> Path:
        return self.folder / f"{block.name}.block"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            advice = "choose another loader.cache_folder, on a local disk, or a smaller loader.cache_gb"
            raise OvocrError(f"{error.filename or self.folder}: {error.strerror}; {advice}") from error


def _is_whole(descriptor: int, file_size: int, size: int) -> bool:
    """Returns whether a file contains a block of ``size`` bytes and their checksum."""
    if file_size != size + _FOOTER.size:
        return False
    checksum = 0
    for start in range(0, size, _CHUNK_BYTES):
        checksum = zlib.crc32(os.pread(descriptor, min(_CHUNK_BYTES, size - start), start), checksum)
    return os.pread(descriptor, _FOOTER.size, size) == _FOOTER.pack(_MAGIC, size, checksum)

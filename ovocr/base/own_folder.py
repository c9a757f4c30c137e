"""A folder of one writer of a result that several processes may want to write, also where locks do not work.

A lock can be lost while its holder lives: the lease of an NFS lock expires while a host is cut off, a file system is
mounted without shared locks, someone removes the lock file. The fence holds nevertheless. Every writer

1. makes a folder of its own, whose name no other writer has, with a file that names the writer,
2. then lists the folders of all writers of this result and removes all others,
3. then looks whether the result is complete, writes all files of the result in its folder, and
4. renames the file that names it, then renames its files to their final names, the one that completes the result last.

A removed writer can do nothing to the final files: every rename of step 4 begins in its folder, or ends there if a file
of an earlier result makes room, so the rename fails with ENOENT, or with ESTALE on NFS. What it renamed before it was
removed, its successor sees: as a complete result in step 3 if that was all, else the successor replaces it in step 4.
Code that writes files may make missing folders, so a removed writer may make its folder again; the file that names it
is then missing, and the first rename of step 4 fails. Nothing is made in the folder after that rename.

Of two writers that begin at the same moment, at least one finds the other in step 2, because each makes its folder
before it lists. So at most one goes on; if both find the other, neither does, and both say so.

A folder is removed by a rename first, so that it is gone at one moment. A host may still know the renamed folder (NFS
keeps what it looked up), so the removal is repeated until nothing is left that can be renamed.
"""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ovocr.base.errors import OvocrError
from ovocr.base.files import fsync, process_name

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
_OWNER = "owner"
_PLACING = "placing"
_REMOVED = ".removed"
_REMOVE_TIMEOUT_S = 5.0
_REMOVE_PAUSE_S = 0.05


class OwnFolder:
    """A new folder of this process. A context manager, which removes the folder at the end.

    Fences all other writers of the result; see above. root: existing folder in which the writers have theirs.
    prefix: beginning of the names of the folders of all writers of this result. what: the result, for messages.

    path: the folder. Raises OvocrError if another writer has taken over, else OSError.
    """

    def __init__(self, root: Path, prefix: str, what: str) -> None:
        self._root = root
        self._prefix = prefix
        self._what = what
        self.path = root / f"{prefix}{secrets.token_hex(8)}"

    def __enter__(self) -> "OwnFolder":
        self.path.mkdir()
        try:
            with self.errors():
                with open(self.path / _OWNER, "x", encoding="utf-8") as file:
                    file.write(process_name())
                remove_folders(self._root, self._prefix, kept=self.path)
            self.check()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        with suppress(OSError):  # the next writer removes it
            _remove(self.path)

    def check(self) -> None:
        """Raises OvocrError if another writer has taken over."""
        if self._is_lost():
            raise self._taken_over()

    def claim(self) -> None:
        """Fails if the folder is not the one that this process made at first. Call it before ``place``."""
        os.rename(self.path / _OWNER, self.path / _PLACING)

    def make_room(self, final: Path) -> None:
        """Moves a file of an earlier result into the folder, where it is removed at the end."""
        if os.path.lexists(final):
            os.rename(final, self.path / f"old-{secrets.token_hex(8)}")
            fsync(final.parent)

    def place(self, path: Path, final: Path) -> None:
        """Gives a complete file of the folder its final name. The caller flushes the final name's folder."""
        os.rename(path, final)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Converts an OSError inside the block as ``explain`` does."""
        try:
            yield
        except OSError as error:
            self.explain(error)
            raise

    def explain(self, error: OSError) -> None:
        """Raises OvocrError if another writer has taken over or this file system cannot rename to the final name.

        Otherwise names the final file in the error, instead of the one in this folder.
        """
        if error.errno == errno.EXDEV and error.filename2 is not None:
            raise self.other_file_system(Path(error.filename2)) from error
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        # A network file system may still show files of a removed folder, but refuses to use them.
        is_refused = error.errno in _GONE and any(name.startswith(str(self.path)) for name in names)
        if (is_refused or self._is_lost()) and self._root.is_dir():
            raise self._taken_over() from error
        if names:
            error.filename = names[0].replace(str(self.path), str(self._root))

    def other_file_system(self, path: Path) -> OvocrError:
        """Returns the error for a final file or folder that is on another file system than this folder."""
        return OvocrError(f"{path}: is on another file system than {self._root}; keep both on the same one")

    def _is_lost(self) -> bool:
        """Returns True if this folder is not the one that this process made at first."""
        return not any(_exists(self.path / name) for name in (_OWNER, _PLACING))

    def _taken_over(self) -> OvocrError:
        taker = ""
        for path in sorted(self._root.glob(f"{self._prefix}*/{_OWNER}")):
            with suppress(OSError):
                taker = f" ({path.read_text(encoding='utf-8')})"
        return OvocrError(
            f"{self._what} was taken over by another process{taker}; run the same command again when it has ended"
        )


def remove_folders(root: Path, prefix: str, *, kept: Path | None = None) -> None:
    """Removes the folders of all writers of a result, dead or alive, except ``kept``. Raises OSError."""
    for path in root.glob(f"{prefix}*"):
        if path != kept:
            _remove(path)


def _remove(path: Path) -> None:
    """Removes a folder whose writer may still make files in it, see above. Raises OSError."""
    removed = path.with_name(f"{path.name}-{secrets.token_hex(4)}{_REMOVED}")
    try:
        os.rename(path, removed)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        if error.errno != errno.EXDEV:  # a folder of the lower layer of an overlay file system
            raise
        removed = path
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    while True:
        try:
            shutil.rmtree(removed)
            return
        except OSError:  # a file was made meanwhile, or another process removes the same folder
            if not _exists(removed):
                return
            if time.monotonic() > deadline:
                raise
        time.sleep(_REMOVE_PAUSE_S)


def _exists(path: Path) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    return True

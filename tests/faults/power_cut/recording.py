"""The operations of a file system that shows a folder and logs every change and every fsync."""

import errno
import os
import pickle
import stat
import threading
from pathlib import Path

from tests.faults.power_cut import log as entries
from tests.faults.power_cut.log import FILE, FOLDER, LINK, Begin, Create, Entry, Link, Remove, Rename, Sync
from tests.faults.power_cut.passthrough import Passthrough
from tests.faults.power_cut.protocol import ROOT_ID


class Recording(Passthrough):
    """Passes operations to a folder and logs them, one after another. fsync is logged and does nothing else.

    The log starts with the content of the folder. Nodes stay open, so that each number means one file for ever.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        super().__init__(folder)
        self._log = log.open("wb", buffering=0)
        self._change = threading.Lock()
        self._describe(folder, ROOT_ID)
        self._append(Begin())

    def _append(self, entry: Entry) -> None:
        self._log.write(pickle.dumps(entry))

    def _describe(self, folder: Path, number: int) -> None:
        """Logs the content of a folder, and that it is on disk."""
        for path in sorted(folder.iterdir()):
            name = os.fsencode(path.name)
            node = self.lookup(number, name)
            self._log_created(number, name, node)
            if path.is_symlink():
                continue
            if path.is_dir():
                self._describe(path, node)
            else:
                self._append(entries.Write(node, 0, path.read_bytes()))
                self._append(Sync(node))
        self._append(Sync(number))

    def _log_created(self, parent: int, name: bytes, node: int) -> None:
        mode = self.stat(node).st_mode
        kind = stat.S_IFMT(mode)
        if kind not in (FILE, FOLDER, LINK):
            raise OSError(errno.EPERM, "")
        target = self.readlink(node) if kind == LINK else b""
        self._append(Create(parent, name, node, kind, stat.S_IMODE(mode), target))

    def forget(self, node: int, lookups: int) -> None:
        """Keeps the node."""

    def mknod(self, parent: int, name: bytes, mode: int, device: int) -> int:
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "")
        with self._change:
            node = super().mknod(parent, name, mode, device)
            self._log_created(parent, name, node)
            return node

    def mkdir(self, parent: int, name: bytes, mode: int) -> int:
        with self._change:
            node = super().mkdir(parent, name, mode)
            self._log_created(parent, name, node)
            return node

    def symlink(self, parent: int, name: bytes, target: bytes) -> int:
        with self._change:
            node = super().symlink(parent, name, target)
            self._log_created(parent, name, node)
            return node

    def create(self, parent: int, name: bytes, flags: int, mode: int) -> tuple[int, int]:
        with self._change:
            last = self._last
            node, handle = super().create(parent, name, flags, mode)
            if node > last:  # otherwise another process made it first
                self._log_created(parent, name, node)
            return node, handle

    def link(self, node: int, parent: int, name: bytes) -> int:
        with self._change:
            super().link(node, parent, name)
            self._append(Link(parent, name, node))
            return node

    def unlink(self, parent: int, name: bytes) -> None:
        with self._change:
            super().unlink(parent, name)
            self._append(Remove(parent, name))

    def rmdir(self, parent: int, name: bytes) -> None:
        with self._change:
            super().rmdir(parent, name)
            self._append(Remove(parent, name))

    def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes) -> None:
        with self._change:
            super().rename(parent, name, new_parent, new_name)
            self._append(Rename(parent, name, new_parent, new_name))

    def truncate(self, node: int, size: int) -> None:
        with self._change:
            super().truncate(node, size)
            self._append(entries.Truncate(node, size))

    def write(self, node: int, handle: int, data: memoryview, offset: int) -> int:
        with self._change:
            written = super().write(node, handle, data, offset)
            self._append(entries.Write(node, offset, bytes(data[:written])))
            return written

    def fsync(self, node: int, handle: int) -> None:
        with self._change:
            self._append(Sync(node))

    def fsyncdir(self, node: int, handle: int) -> None:
        with self._change:
            self._append(Sync(node))

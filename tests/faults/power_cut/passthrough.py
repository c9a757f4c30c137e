"""The operations of a file system that shows a folder."""

import os
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.power_cut.protocol import ROOT_ID


@dataclass
class Node:
    """A file or folder that the kernel knows. descriptor: opened with O_PATH, so its inode is not used again.

    lookups: how often the kernel was given the node.
    """

    descriptor: int
    key: tuple[int, int]
    lookups: int = 0

    @property
    def path(self) -> str:
        """Returns a path by which the file can be opened, renamed or removed as it may be."""
        return f"/proc/self/fd/{self.descriptor}"


class Passthrough:
    """Passes operations to the files of a folder. Methods raise OSError, whose errno the caller sees.

    Numbers of nodes are never used twice. Methods may be called by several threads.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[int, Node] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._last = ROOT_ID - 1
        self._folders: dict[int, list[os.DirEntry[str]]] = {}
        self._add(os.open(folder, os.O_PATH))

    def _add(self, descriptor: int) -> int:
        found = os.fstat(descriptor)
        key = (found.st_dev, found.st_ino)
        with self._lock:
            number = self._numbers.get(key)
            if number is None:
                self._last += 1
                number = self._last
                self._nodes[number] = Node(descriptor, key)
                self._numbers[key] = number
            else:
                os.close(descriptor)
            self._nodes[number].lookups += 1
        return number

    def _at(self, node: int) -> int:
        return self._nodes[node].descriptor

    def lookup(self, parent: int, name: bytes) -> int:
        """Returns the node of an entry and counts the lookup."""
        return self._add(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._at(parent)))

    def forget(self, node: int, lookups: int) -> None:
        """Takes back lookups; a node without any is closed."""
        with self._lock:
            known = self._nodes.get(node)
            if known is None or node == ROOT_ID:
                return
            known.lookups -= lookups
            if known.lookups <= 0:
                del self._nodes[node], self._numbers[known.key]
                os.close(known.descriptor)

    def stat(self, node: int) -> os.stat_result:
        """Returns the attributes of a node."""
        return os.fstat(self._at(node))

    def statfs(self, node: int) -> os.statvfs_result:
        """Returns the space of the file system."""
        return os.fstatvfs(self._at(node))

    def chmod(self, node: int, mode: int) -> None:
        """Sets the permissions."""
        os.chmod(self._nodes[node].path, stat.S_IMODE(mode))

    def chown(self, node: int, uid: int, gid: int) -> None:
        """Sets owner and group; -1 keeps one."""
        os.chown(self._nodes[node].path, uid, gid)

    def set_times(self, node: int, times_ns: tuple[int, int]) -> None:
        """Sets the times of access and change, in nanoseconds."""
        os.utime(self._nodes[node].path, ns=times_ns)

    def truncate(self, node: int, size: int) -> None:
        """Sets the size in bytes."""
        os.truncate(self._nodes[node].path, size)

    def readlink(self, node: int) -> bytes:
        """Returns the target of a symbolic link."""
        return os.readlink(b"", dir_fd=self._at(node))

    def mknod(self, parent: int, name: bytes, mode: int, device: int) -> int:
        """Makes a file, pipe or socket and returns its node."""
        os.mknod(name, mode, device, dir_fd=self._at(parent))
        return self.lookup(parent, name)

    def mkdir(self, parent: int, name: bytes, mode: int) -> int:
        """Makes a folder and returns its node."""
        os.mkdir(name, mode, dir_fd=self._at(parent))
        return self.lookup(parent, name)

    def symlink(self, parent: int, name: bytes, target: bytes) -> int:
        """Makes a symbolic link and returns its node."""
        os.symlink(target, name, dir_fd=self._at(parent))
        return self.lookup(parent, name)

    def link(self, node: int, parent: int, name: bytes) -> int:
        """Gives a file another name and returns its node."""
        os.link(self._nodes[node].path, name, dst_dir_fd=self._at(parent), follow_symlinks=True)
        return self.lookup(parent, name)

    def unlink(self, parent: int, name: bytes) -> None:
        """Removes a name of a file."""
        os.unlink(name, dir_fd=self._at(parent))

    def rmdir(self, parent: int, name: bytes) -> None:
        """Removes an empty folder."""
        os.rmdir(name, dir_fd=self._at(parent))

    def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes) -> None:
        """Renames a file or folder; another one of the new name is replaced."""
        os.rename(name, new_name, src_dir_fd=self._at(parent), dst_dir_fd=self._at(new_parent))

    def create(self, parent: int, name: bytes, flags: int, mode: int) -> tuple[int, int]:
        """Makes and opens a file. Returns its node and a handle."""
        kept = flags & (os.O_ACCMODE | os.O_EXCL)
        handle = os.open(name, kept | os.O_CREAT | os.O_NOFOLLOW, mode, dir_fd=self._at(parent))
        return self.lookup(parent, name), handle

    def open(self, node: int, flags: int) -> int:
        """Opens a file and returns a handle. The kernel sends offsets for O_APPEND and truncates for O_TRUNC."""
        return os.open(self._nodes[node].path, flags & os.O_ACCMODE)

    def read(self, handle: int, size: int, offset: int) -> bytes:
        """Reads up to ``size`` bytes."""
        return os.pread(handle, size, offset)

    def write(self, node: int, handle: int, data: memoryview, offset: int) -> int:
        """Writes bytes and returns their number."""
        return os.pwrite(handle, data, offset)

    def release(self, handle: int) -> None:
        """Closes a handle of a file."""
        os.close(handle)

    def fsync(self, node: int, handle: int) -> None:
        """Flushes a file to disk."""
        os.fsync(handle)

    def opendir(self, node: int) -> int:
        """Opens a folder and returns a handle."""
        handle = os.open(self._nodes[node].path, os.O_RDONLY | os.O_DIRECTORY)
        self._folders[handle] = []
        return handle

    def readdir(self, handle: int, offset: int) -> list[tuple[int, int, bytes]]:
        """Returns inode, type and name of the entries from number ``offset`` on. Number 0 reads the folder again."""
        if offset == 0:
            copy = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY)
            try:
                with os.scandir(copy) as entries:
                    self._folders[handle] = [*entries]
            finally:
                os.close(copy)
        return [(entry.inode(), _kind(entry), os.fsencode(entry.name)) for entry in self._folders[handle][offset:]]

    def releasedir(self, handle: int) -> None:
        """Closes a handle of a folder."""
        with suppress(KeyError):
            del self._folders[handle]
        os.close(handle)

    def fsyncdir(self, node: int, handle: int) -> None:
        """Flushes the entries of a folder to disk."""
        os.fsync(handle)


def _kind(entry: os.DirEntry[str]) -> int:
    """Returns the type of an entry as in readdir(3): the type bits of the mode."""
    if entry.is_symlink():
        return stat.S_IFLNK >> 12
    return (stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else stat.S_IFREG) >> 12

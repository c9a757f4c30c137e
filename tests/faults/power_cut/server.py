"""Serves a FUSE file system: reads requests from /dev/fuse, calls operations and writes answers."""

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from tests.faults.power_cut import protocol
from tests.faults.power_cut.passthrough import Passthrough
from tests.faults.power_cut.protocol import Op

THREADS = 4
_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2
_libc = ctypes.CDLL(None, use_errno=True)


def mount(mount_point: Path) -> int:
    """Mounts a FUSE file system and returns the descriptor of its requests. Needs root. Raises OSError."""
    requests = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={requests},rootmode=40000,user_id=0,group_id=0,allow_other"
    target = os.fsencode(mount_point)
    if _libc.mount(b"power_cut", target, b"fuse", _MS_NOSUID | _MS_NODEV, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(mount_point))
    return requests


def unmount(mount_point: Path) -> None:
    """Unmounts a file system, also if it is in use or its server has died. Does nothing if nothing is mounted."""
    _libc.umount2(os.fsencode(mount_point), _MNT_DETACH)


class Server:
    """Answers the requests of one mount.

    requests: the descriptor that ``mount`` returned. cache_s: seconds for which the kernel may keep names and
    attributes. 0 shows changes of others at once; data are read again whenever a file is opened.
    """

    def __init__(self, requests: int, operations: Passthrough, cache_s: float) -> None:
        self._requests = requests
        self._do = operations
        self._cache_s = cache_s
        self._handlers: dict[int, Callable[[int, memoryview], bytes | None]] = {
            number: getattr(self, f"_{number.name.lower()}") for number in Op
        }

    def serve(self) -> None:
        """Answers requests in several threads until the file system is unmounted."""
        threads = [threading.Thread(target=self._loop) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _loop(self) -> None:
        buffer = bytearray(protocol.BUFFER_BYTES)
        view = memoryview(buffer)
        while True:
            try:
                length = os.readv(self._requests, [buffer])
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue  # the request was interrupted before it was read
                if error.errno == errno.ENODEV:
                    return  # unmounted
                raise
            self._answer(view[:length])

    def _answer(self, request: memoryview) -> None:
        _, number, unique, node, *_ = protocol.IN_HEADER.unpack_from(request)
        failure, answer = 0, b""
        try:
            handler = self._handlers.get(number)
            if handler is None:
                raise OSError(errno.ENOSYS, "")
            found = handler(node, request[protocol.IN_HEADER.size :])
            if found is None:
                return
            answer = found
        except OSError as error:
            failure = error.errno or errno.EIO
        header = protocol.OUT_HEADER.pack(protocol.OUT_HEADER.size + len(answer), -failure, unique)
        try:
            os.writev(self._requests, [header, answer])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # the caller was interrupted or the mount is gone
                raise

    def _init(self, _node: int, body: memoryview) -> bytes:
        _, _, readahead, offered = protocol.INIT_IN.unpack_from(body)
        flags = offered & (protocol.ASYNC_READ | protocol.BIG_WRITES | protocol.PARALLEL_DIROPS)
        return protocol.INIT_OUT.pack(*protocol.VERSION, readahead, flags, 16, 12, protocol.MAX_WRITE, 1, 0, 0, 0)

    def _destroy(self, _node: int, _body: memoryview) -> bytes:
        return b""

    def _interrupt(self, _node: int, _body: memoryview) -> None:
        return None  # operations are short: the interrupted one is answered

    def _forget(self, node: int, body: memoryview) -> None:
        self._do.forget(node, *protocol.FORGET_IN.unpack_from(body))

    def _batch_forget(self, _node: int, body: memoryview) -> None:
        count, _ = protocol.BATCH_FORGET_IN.unpack_from(body)
        for number in range(count):
            start = protocol.BATCH_FORGET_IN.size + number * protocol.FORGET_ONE.size
            self._do.forget(*protocol.FORGET_ONE.unpack_from(body, start))

    def _entry(self, node: int) -> bytes:
        return protocol.pack_entry_out(node, self._do.stat(node), self._cache_s)

    def _lookup(self, node: int, body: memoryview) -> bytes:
        return self._entry(self._do.lookup(node, _names(body)[0]))

    def _getattr(self, node: int, _body: memoryview) -> bytes:
        return protocol.pack_attr_out(self._do.stat(node), self._cache_s)

    def _setattr(self, node: int, body: memoryview) -> bytes:
        fields = protocol.SETATTR_IN.unpack_from(body)
        valid, size, (atime, mtime), (atime_rest, mtime_rest) = fields[0], fields[3], fields[5:7], fields[8:10]
        mode, uid, gid = fields[11], fields[13], fields[14]
        if valid & protocol.SET_MODE:
            self._do.chmod(node, mode)
        if valid & (protocol.SET_UID | protocol.SET_GID):
            self._do.chown(node, uid if valid & protocol.SET_UID else -1, gid if valid & protocol.SET_GID else -1)
        if valid & protocol.SET_SIZE:
            self._do.truncate(node, size)
        if valid & (protocol.SET_ATIME | protocol.SET_MTIME):
            old = self._do.stat(node)
            access = atime * 10**9 + atime_rest if valid & protocol.SET_ATIME else old.st_atime_ns
            change = mtime * 10**9 + mtime_rest if valid & protocol.SET_MTIME else old.st_mtime_ns
            self._do.set_times(node, (access, change))
        return self._getattr(node, body)

    def _readlink(self, node: int, _body: memoryview) -> bytes:
        return self._do.readlink(node)

    def _symlink(self, node: int, body: memoryview) -> bytes:
        name, target = _names(body)
        return self._entry(self._do.symlink(node, name, target))

    def _mknod(self, node: int, body: memoryview) -> bytes:
        mode, device, _, _ = protocol.MKNOD_IN.unpack_from(body)
        return self._entry(self._do.mknod(node, _names(body[protocol.MKNOD_IN.size :])[0], mode, device))

    def _mkdir(self, node: int, body: memoryview) -> bytes:
        mode, _ = protocol.MKDIR_IN.unpack_from(body)
        return self._entry(self._do.mkdir(node, _names(body[protocol.MKDIR_IN.size :])[0], mode))

    def _unlink(self, node: int, body: memoryview) -> bytes:
        self._do.unlink(node, _names(body)[0])
        return b""

    def _rmdir(self, node: int, body: memoryview) -> bytes:
        self._do.rmdir(node, _names(body)[0])
        return b""

    def _rename(self, node: int, body: memoryview) -> bytes:
        (new_parent,) = protocol.RENAME_IN.unpack_from(body)
        name, new_name = _names(body[protocol.RENAME_IN.size :])
        self._do.rename(node, name, new_parent, new_name)
        return b""

    def _rename2(self, node: int, body: memoryview) -> bytes:
        new_parent, flags, _ = protocol.RENAME2_IN.unpack_from(body)
        if flags:
            raise OSError(errno.EINVAL, "")
        name, new_name = _names(body[protocol.RENAME2_IN.size :])
        self._do.rename(node, name, new_parent, new_name)
        return b""

    def _link(self, node: int, body: memoryview) -> bytes:
        (old,) = protocol.LINK_IN.unpack_from(body)
        return self._entry(self._do.link(old, node, _names(body[protocol.LINK_IN.size :])[0]))

    def _create(self, node: int, body: memoryview) -> bytes:
        flags, mode, _, _ = protocol.CREATE_IN.unpack_from(body)
        made, handle = self._do.create(node, _names(body[protocol.CREATE_IN.size :])[0], flags, mode)
        return self._entry(made) + protocol.OPEN_OUT.pack(handle, 0, 0)

    def _open(self, node: int, body: memoryview) -> bytes:
        flags, _ = protocol.OPEN_IN.unpack_from(body)
        return protocol.OPEN_OUT.pack(self._do.open(node, flags), 0, 0)

    def _read(self, _node: int, body: memoryview) -> bytes:
        handle, offset, size, *_ = protocol.READ_IN.unpack_from(body)
        return self._do.read(handle, size, offset)

    def _write(self, node: int, body: memoryview) -> bytes:
        handle, offset, size, *_ = protocol.WRITE_IN.unpack_from(body)
        data = body[protocol.WRITE_IN.size :][:size]
        return protocol.WRITE_OUT.pack(self._do.write(node, handle, data, offset), 0)

    def _flush(self, _node: int, _body: memoryview) -> bytes:
        return b""

    def _release(self, _node: int, body: memoryview) -> bytes:
        self._do.release(*protocol.HANDLE_IN.unpack_from(body))
        return b""

    def _fsync(self, node: int, body: memoryview) -> bytes:
        self._do.fsync(node, *protocol.HANDLE_IN.unpack_from(body))
        return b""

    def _opendir(self, node: int, _body: memoryview) -> bytes:
        return protocol.OPEN_OUT.pack(self._do.opendir(node), 0, 0)

    def _readdir(self, _node: int, body: memoryview) -> bytes:
        handle, offset, size, *_ = protocol.READ_IN.unpack_from(body)
        answer = b""
        for number, (inode, kind, name) in enumerate(self._do.readdir(handle, offset), offset + 1):
            entry = protocol.pack_dirent(inode, number, kind, name)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return answer

    def _releasedir(self, _node: int, body: memoryview) -> bytes:
        self._do.releasedir(*protocol.HANDLE_IN.unpack_from(body))
        return b""

    def _fsyncdir(self, node: int, body: memoryview) -> bytes:
        self._do.fsyncdir(node, *protocol.HANDLE_IN.unpack_from(body))
        return b""

    def _statfs(self, node: int, _body: memoryview) -> bytes:
        return protocol.pack_statfs(self._do.statfs(node))


def _names(body: memoryview) -> list[bytes]:
    """Returns the strings at the end of a request; each ends with a zero byte."""
    return bytes(body).split(b"\0")[:-1]

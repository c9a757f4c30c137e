"""The messages of the FUSE protocol, version 7.31: operation codes, structures and packing.

Source: include/uapi/linux/fuse.h. All structures are little-endian, as on x86 and ARM.
"""

import os
import struct
from enum import IntEnum

VERSION = (7, 31)
MAX_WRITE = 128 * 1024  # bytes: 32 pages, the most without FUSE_MAX_PAGES
BUFFER_BYTES = MAX_WRITE + 4096
ROOT_ID = 1


class Op(IntEnum):
    """Operation codes."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    RENAME2 = 45


# Flags of INIT. FUSE_POSIX_LOCKS and FUSE_FLOCK_LOCKS are not announced: locks are local to a mount.
ASYNC_READ, BIG_WRITES, PARALLEL_DIROPS = 1 << 0, 1 << 5, 1 << 18

# Bits of SetAttr.valid.
SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME, SET_FH, ATIME_NOW, MTIME_NOW = (
    1 << bit for bit in range(9)
)

IN_HEADER = struct.Struct("<IIQQIIII")  # length, operation, unique, node, uid, gid, pid, padding
OUT_HEADER = struct.Struct("<IiQ")  # length, negative errno, unique
INIT_IN = struct.Struct("<IIII")  # major, minor, max_readahead, flags
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
FORGET_IN = struct.Struct("<Q")
BATCH_FORGET_IN = struct.Struct("<II")
FORGET_ONE = struct.Struct("<QQ")
GETATTR_IN = struct.Struct("<IIQ")
SETATTR_IN = struct.Struct("<IIQQQQQQIIIIIIII")
MKNOD_IN = struct.Struct("<IIII")  # mode, rdev, umask, padding
MKDIR_IN = struct.Struct("<II")  # mode, umask
RENAME_IN = struct.Struct("<Q")
RENAME2_IN = struct.Struct("<QII")
LINK_IN = struct.Struct("<Q")
OPEN_IN = struct.Struct("<II")
CREATE_IN = struct.Struct("<IIII")  # flags, mode, umask, open_flags
READ_IN = struct.Struct("<QQIIQII")
WRITE_IN = struct.Struct("<QQIIQII")
HANDLE_IN = struct.Struct("<Q")  # the first field of RELEASE, FLUSH and FSYNC
OPEN_OUT = struct.Struct("<QII")
WRITE_OUT = struct.Struct("<II")
_ENTRY_OUT = struct.Struct("<QQQQII")
_ATTR_OUT = struct.Struct("<QII")
_ATTR = struct.Struct("<6Q10I")
_STATFS_OUT = struct.Struct("<5Q4I24x")
_DIRENT = struct.Struct("<QQII")


def pack_attr(stat: os.stat_result) -> bytes:
    """Returns a struct fuse_attr."""
    times = (stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns)
    seconds = [time // 10**9 for time in times]
    rest = [time % 10**9 for time in times]
    owner = (stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_gid, stat.st_rdev, stat.st_blksize, 0)
    return _ATTR.pack(stat.st_ino, stat.st_size, stat.st_blocks, *seconds, *rest, *owner)


def pack_attr_out(stat: os.stat_result, valid_s: float) -> bytes:
    """Returns the answer to GETATTR and SETATTR. valid_s: seconds for which the kernel may keep it."""
    return _ATTR_OUT.pack(int(valid_s), int(valid_s % 1 * 10**9), 0) + pack_attr(stat)


def pack_entry_out(node: int, stat: os.stat_result, valid_s: float) -> bytes:
    """Returns the answer to LOOKUP, MKNOD, MKDIR, LINK, SYMLINK and the first part of that to CREATE."""
    seconds, rest = int(valid_s), int(valid_s % 1 * 10**9)
    return _ENTRY_OUT.pack(node, 0, seconds, seconds, rest, rest) + pack_attr(stat)


def pack_statfs(stat: os.statvfs_result) -> bytes:
    """Returns the answer to STATFS."""
    counts = (stat.f_blocks, stat.f_bfree, stat.f_bavail, stat.f_files, stat.f_ffree)
    return _STATFS_OUT.pack(*counts, stat.f_bsize, stat.f_namemax, stat.f_frsize, 0)


def pack_dirent(inode: int, offset: int, kind: int, name: bytes) -> bytes:
    """Returns an entry of READDIR, padded to 8 bytes. offset: that of the next entry."""
    entry = _DIRENT.pack(inode, offset, len(name), kind) + name
    return entry + bytes(-len(entry) % 8)

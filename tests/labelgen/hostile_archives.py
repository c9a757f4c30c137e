"""Broken, hostile and unusual tar archives. Format: POSIX.1-2001 pax, GNU tar manual."""

import io
import tarfile

from tests.labelgen.hostile_images import draw, encode

JPEG = encode(draw())
END = bytes(1024)
DAMAGED = ("", "damaged-source")
FIRST = ("first.jpg", "ok")
LAST = ("last.jpg", "ok")


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def member(name: str, data: bytes = JPEG, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), kind) + padded(data)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def record(key: str, value: str) -> bytes:
    """Returns a pax record. Its length includes its own digits."""
    rest = len(f" {key}={value}\n".encode())
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return f"{length} {key}={value}\n".encode()


def pax(*records: tuple[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    return member("pax", b"".join(record(*each) for each in records), kind)


def special(kind: bytes) -> bytes:
    return header("special.jpg", 0, kind, "/etc/passwd")


def between(*parts: bytes) -> bytes:
    return member("first.jpg") + b"".join(parts) + member("last.jpg") + END


# Bytes of an archive, and key and reason of each image in it.
ARCHIVES: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "zero bytes": (b"", [DAMAGED]),
    "only an end mark": (END, []),
    "not an archive": (JPEG, [DAMAGED]),
    "cut in a header": (member("first.jpg") + member("last.jpg")[:300], [FIRST, DAMAGED]),
    "cut in a member": (member("first.jpg") + member("last.jpg")[:1000], [FIRST, ("last.jpg", "damaged-source")]),
    "cut before its end": (member("first.jpg"), [FIRST, DAMAGED]),
    "a lone block of zeros": (between(bytes(512)), [FIRST, DAMAGED]),
    "two archives in one file": (between() + between(), [FIRST, LAST, DAMAGED]),
    "rubbish between members": (between(b"\xff" * 512), [FIRST, DAMAGED]),
    "a member of 4 EiB": (between(header("huge.jpg", 2**62)), [FIRST, ("huge.jpg", "file-too-large"), DAMAGED]),
    "a size below zero": (between(pax(("size", "-5"))), [FIRST, DAMAGED]),
    "a size of 8 EiB in pax": (between(pax(("size", str(2**63)))), [FIRST, ("last.jpg", "file-too-large"), DAMAGED]),
    "a pax header of 4 EiB": (between(header("pax", 2**62, tarfile.XHDTYPE)), [FIRST, DAMAGED]),
    "a long name of 8 GiB": (between(header("././@LongLink", 2**33, tarfile.GNUTYPE_LONGNAME)), [FIRST, DAMAGED]),
    "a long name of 2 MB": (between(member("L", b"n" * 2**21, tarfile.GNUTYPE_LONGNAME)), [FIRST, DAMAGED]),
    "a number of a million digits": (between(member("pax", b"1" * 1_000_000, tarfile.XHDTYPE)), [FIRST, DAMAGED]),
    "3,000 headers in a row": (between(pax(("path", "x.jpg")) * 3000), [FIRST, DAMAGED]),
    "3,000 long names in a row": (between(member("L", b"x.jpg", tarfile.GNUTYPE_LONGNAME) * 3000), [FIRST, DAMAGED]),
    "a record of length 0": (between(member("pax", b"0 a=b\n", tarfile.XHDTYPE)), [FIRST, DAMAGED]),
    "a sparse map of nothing": (between(pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"))), [FIRST, DAMAGED]),
    "a name for all": (
        between(pax(("path", "../../all.jpg"), kind=tarfile.XGLTYPE)),
        [FIRST, ("../../all.jpg", "ok")],
    ),
    "a link": (between(special(tarfile.SYMTYPE)), [FIRST, ("special.jpg", "unreadable"), LAST]),
    "a hard link": (between(special(tarfile.LNKTYPE)), [FIRST, ("special.jpg", "unreadable"), LAST]),
    "a pipe": (between(special(tarfile.FIFOTYPE)), [FIRST, LAST]),
    "a device": (between(special(tarfile.CHRTYPE)), [FIRST, LAST]),
    "a folder": (between(special(tarfile.DIRTYPE)), [FIRST, LAST]),
    "an unknown kind": (between(member("z.jpg", kind=b"Z")), [FIRST, LAST]),
    "a sparse file without data": (
        between(header("s.jpg", 0, tarfile.GNUTYPE_SPARSE)),
        [FIRST, ("s.jpg", "empty"), LAST],
    ),
    "an archive in an archive": (between(member("inner.tar", between())), [FIRST, LAST]),
    "a name that ends at a zero": (between(member("fox\0.jpg")), [FIRST, LAST]),
    "no name": (between(member("")), [FIRST, LAST]),
}

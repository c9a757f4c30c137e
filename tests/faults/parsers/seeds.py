"""Valid and unusual inputs that the search begins with."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

import pyarrow as pa

from ovocr.dataset.access import record_index
from ovocr.recordio import RecordWriter
from ovocr.recordio.format import MAGIC_BYTES
from tests.faults.parsers import bundle
from tests.labelgen.hostile_archives import ARCHIVES

IMAGE = b"\xff\xd8\xff" + bytes(range(60))


def records() -> list[bytes]:
    """Returns shards: plain, of many parts, of single labels, empty, and one whose ids are in another order."""
    shards = [
        [(0, [1, 2, 3], IMAGE), (1, [4, 5, 6], b""), (2, [7, 8, 9], IMAGE[:5])],
        [(0, [1], MAGIC_BYTES * 3 + b"ab"), (1, [2], b"abcd" + MAGIC_BYTES), (2, [2], b"abc" + MAGIC_BYTES)],
        [(2**64 - 1, 7, IMAGE), (0, 2**24, MAGIC_BYTES)],
        [(5, [1], b"x"), (3, [1], b"y"), (4, [1], b"z")],
        [(0, list(range(200)), IMAGE * 4)],
        [(0xCED7230A, [1], IMAGE)],  # the magic is in the header
        [],
    ]
    inputs = []
    with tempfile.TemporaryDirectory() as folder:
        for shard in shards:
            with RecordWriter(Path(folder) / "a") as writer:
                for id, labels, image in shard:
                    writer.write(id, labels, image)
            rec, idx = (Path(folder) / f"a.{kind}" for kind in ("rec", "idx"))
            inputs.append(bundle.join(rec.read_bytes(), idx.read_bytes(), _mapped(Path(folder), idx, rec)))
    return inputs


def _mapped(folder: Path, idx: Path, rec: Path) -> bytes:
    offsets = sorted(int(line.split(b"\t")[1]) for line in idx.read_bytes().splitlines())
    lines = b"".join(b"%d\t%d\n" % entry for entry in enumerate(offsets))
    shard = record_index.ShardFiles(rec.stat().st_size, lines, "a")
    path = folder / "mapped.bin"
    record_index._write(path, bytes(32), mock.Mock(shards=2, read=lambda: [shard, shard]))
    return path.read_bytes()


def archives() -> list[bytes]:
    """Returns tars of every format and compression, and zips of every kind, each with the byte of its kind."""
    tars = [_tar(format) for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    tars += [_sparse_old(), *_sparse_pax()]
    tars += [data for data, _ in ARCHIVES.values() if len(data) < 20_000]
    pack = pa.compress(tars[0], "zstd", asbytes=True)
    compressed = [gzip.compress(tars[0]), bz2.compress(tars[0]), lzma.compress(tars[0]), pack]
    compressed += [gzip.compress(tars[1][:700]) + gzip.compress(tars[1][700:]), lzma.compress(tars[2], check=0)]
    return [b"t" + data for data in (*tars, *compressed)] + [b"z" + data for data in _zips()]


def _tar(format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        names = ["a.jpg", "folder/", "b.txt", "中文.png"]
        names += ["long/" * 30 + "c.jpg"] if format != tarfile.USTAR_FORMAT else ["p" * 90 + "/" + "c" * 60 + ".jpg"]
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name.rstrip("/"))
            info.size = 0 if name.endswith("/") else len(IMAGE) * number
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mtime = 0.5 if format == tarfile.PAX_FORMAT else 0
            archive.addfile(info, io.BytesIO(IMAGE * number))
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg" if format == tarfile.USTAR_FORMAT else "x/" * 80 + "a.jpg"
            archive.addfile(info)
    return buffer.getvalue()[:-8192]


def _sparse_old() -> bytes:
    """Returns an archive with a sparse file of GNU tar's old format: two pieces, one in an extra block."""
    info = tarfile.TarInfo("sparse.jpg")
    info.size, info.type = 1024, tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    piece = b"%011o\0" * 2
    header[386 : 386 + 24] = piece % (0, 512)
    header[482:483] = b"\1"  # an extra block of pieces follows
    header[483 : 483 + 12] = b"%011o\0" % 4096
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    extra = (piece % (2048, 512)).ljust(512, b"\0")
    return bytes(header) + extra + IMAGE.ljust(1024, b"s") + bytes(1024)


def _sparse_pax() -> list[bytes]:
    """Returns archives with sparse files in the formats 0.0, 0.1 and 1.0 of pax."""
    from tests.labelgen.hostile_archives import END, member, pax, record

    old = b"".join(record(f"GNU.sparse.{key}", value) for key, value in [("size", "2048"), ("numblocks", "1")])
    old += record("GNU.sparse.offset", "512") + record("GNU.sparse.numbytes", "512")
    zero_one = [("GNU.sparse.size", "2048"), ("GNU.sparse.map", "0,256,1024,256"), ("GNU.sparse.name", "s.jpg")]
    one = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s.jpg")]
    one += [("GNU.sparse.realsize", "4096")]
    return [
        member("pax", old, tarfile.XHDTYPE) + member("s.jpg", bytes(512)) + END,
        pax(*zero_one) + member("x.jpg", bytes(512)) + END,
        pax(*one) + member("x.jpg", b"2\n0\n256\n1024\n256\n".ljust(512, b"\0") + bytes(512)) + END,
        pax(("hdrcharset", "BINARY"), ("path", "\udcffa.jpg"[1:]), ("size", "63")) + member("x.jpg") + END,
    ]


class _Pipe(io.BytesIO):
    """A file without ``seek``: zipfile then writes data descriptors."""

    def seekable(self) -> bool:
        return False

    def seek(self, *arguments: int) -> int:
        raise OSError("no seek")

    def tell(self) -> int:
        raise OSError("no tell")


def _zips() -> list[bytes]:
    members = [
        ("a.jpg", IMAGE),
        ("folder/b.png", IMAGE * 40),
        ("c.txt", b"text"),
        ("empty.jpg", b""),
        ("中.webp", IMAGE),
    ]
    zips = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        for buffer in (io.BytesIO(), _Pipe()):
            with zipfile.ZipFile(buffer, "w", method) as file:
                file.comment = b"comment"
                for name, data in members:
                    with file.open(name, "w", force_zip64=method == zipfile.ZIP_STORED) as content:
                        content.write(data)
            zips.append(buffer.getvalue())
    zips.append(_encrypted(zips[0]))
    zips.append(_zip64(zips[2]))
    zips.append(b"prefix" * 10 + zips[0])
    return zips


def _encrypted(data: bytes) -> bytes:
    """Returns a zip whose list says that all members are encrypted."""
    return data.replace(b"PK\1\2\x2d\3\x2d\0\0\0", b"PK\1\2\x2d\3\x2d\0\1\0")


def _zip64(data: bytes) -> bytes:
    """Returns a zip whose end is that of archives of more than 4 GB."""
    end = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<HII", data, end + 10)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    ending = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    return data[:end] + record + locator + ending


def scratch() -> str | None:
    """Returns a folder in memory for the files of inputs, if there is one."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None

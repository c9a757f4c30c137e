"""Real mxnet 1.9.1 against ovocr.recordio: the same bytes from the same input, and each reads the other's files."""

import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ovocr.recordio import RecordReader, RecordWriter, rebuild_index, scan_records

MAGIC = struct.pack("<I", 0xCED7230A)
Records = list[tuple[int, list[float] | float, bytes]]

pytestmark = pytest.mark.interop


def labels_of_any_length(noise: random.Random) -> Records:
    """Returns records with 100, few and one label or a number in the header; images of all lengths modulo 4."""
    kinds: list[list[float] | float] = [[float(2**24 - i) for i in range(100)], [0.0], [5.0, 2.0**24, 7.0], 11.0]
    return [(i, kinds[i // 8 % 4], noise.randbytes(i % 8 + (60_000 if i % 5 == 0 else 0))) for i in range(64)]


def payloads_with_magics(noise: random.Random) -> Records:
    """Returns records with the magic in the id and the image: at both ends, repeated, aligned or not, alone."""
    images = [MAGIC, MAGIC * 2, b"x" + MAGIC, MAGIC + b"x", b"abcd" + MAGIC, MAGIC * 1000, b"abc" + MAGIC * 3 + b"z"]
    for _ in range(100):
        data = bytearray(noise.randbytes(noise.randrange(8, 200)))
        for _ in range(noise.randrange(1, 5)):
            at = noise.randrange(len(data)) & ~noise.choice([0, 3])
            data[at : at + 4] = MAGIC
        images.append(bytes(data))
    unusual = [2**64 - 1, 0xCED7230A, 0xCED7230A << 32, 0xCED7230A_CED7230A]
    ids = [*noise.sample(range(10**6), len(images) - len(unusual)), *unusual]
    return [(id, [float(id % 1000)] * noise.choice([1, 2, 100]), image) for id, image in zip(ids, images, strict=True)]


@pytest.fixture(params=[labels_of_any_length, payloads_with_magics])
def records(request: pytest.FixtureRequest) -> Records:
    made: Records = request.param(random.Random(1))
    return made


def write_ours(prefix: Path, records: Records) -> None:
    with RecordWriter(prefix) as writer:
        for id, labels, image in records:
            writer.write(id, np.float32(labels) if isinstance(labels, list) else labels, image)


def test_same_records_give_the_same_bytes_as_mxnet(
    tmp_path: Path, mxnet_side: Callable[..., None], records: Records
) -> None:
    (tmp_path / "records").write_bytes(pickle.dumps(records))
    mxnet_side("write", tmp_path / "records", tmp_path / "theirs")
    write_ours(tmp_path / "ours", records)
    theirs = (tmp_path / "theirs.rec").read_bytes()
    assert len(theirs) > sum(len(image) for _, _, image in records)
    assert (tmp_path / "ours.rec").read_bytes() == theirs
    assert (tmp_path / "ours.idx").read_bytes() == (tmp_path / "theirs.idx").read_bytes()


def test_mxnet_reads_our_files(tmp_path: Path, mxnet_side: Callable[..., None], records: Records) -> None:
    write_ours(tmp_path / "ours", records)
    mxnet_side("read", tmp_path / "ours", tmp_path / "read")
    indexed, scanned = pickle.loads((tmp_path / "read").read_bytes())
    expected = [
        (
            id,
            len(labels) if isinstance(labels, list) else 0,
            labels,
            image,
        )  # flag: number of labels; 0 if in the header
        for id, labels, image in records
    ]
    assert scanned == expected
    assert indexed == [(record[0], *record) for record in expected]


def test_reader_reads_files_of_mxnet(tmp_path: Path, mxnet_side: Callable[..., None], records: Records) -> None:
    (tmp_path / "records").write_bytes(pickle.dumps(records))
    mxnet_side("write", tmp_path / "records", tmp_path / "theirs")
    expected = [(id, labels if isinstance(labels, list) else [labels], image) for id, labels, image in records]
    index = (tmp_path / "theirs.idx").read_bytes()

    with RecordReader(tmp_path / "theirs") as reader:
        assert [(r.id, r.labels.tolist(), r.image) for r in (reader[i] for i in range(len(reader)))] == expected
    assert [(r.id, r.labels.tolist(), r.image) for _, r in scan_records(tmp_path / "theirs")] == expected
    (tmp_path / "theirs.idx").unlink()
    assert rebuild_index(tmp_path / "theirs") == len(records)
    assert (tmp_path / "theirs.idx").read_bytes() == index


def test_reader_accepts_labels_that_the_writer_refuses(tmp_path: Path, mxnet_side: Callable[..., None]) -> None:
    """Foreign files may have other labels, such as regression targets."""
    records: Records = [(0, [0.5, -1.0], b"image"), (1, 14.25, b""), (2, [3e9] * 3, b"\0")]
    (tmp_path / "records").write_bytes(pickle.dumps(records))
    mxnet_side("write", tmp_path / "records", tmp_path / "theirs")
    read = [record.labels.tolist() for record in RecordReader(tmp_path / "theirs")]
    assert read == [[0.5, -1.0], [14.25], [3e9] * 3]

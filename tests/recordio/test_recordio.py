"""The .rec codec against bytes computed by hand, and as used by labelling and training."""

import concurrent.futures
import math
import multiprocessing
import operator
import os
import pickle
import random
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.recordio import Record, RecordError, RecordReader, RecordWriter, rebuild_index, scan_records
from ovocr.recordio.format import image_sizes
from ovocr.recordio.index import _parse_lines, parse_index

MAGIC = struct.pack("<I", 0xCED7230A)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "recordio.md"


def part(flag: int, data: bytes) -> bytes:
    return MAGIC + struct.pack("<I", flag << 29 | len(data)) + data + bytes(-len(data) % 4)


def header(labels: int, id: int, label: float = 0.0) -> bytes:
    return struct.pack("<IfQQ", labels, label, id, 0)


def write_shard(prefix: Path, records: list[tuple[int, object, bytes]]) -> bytes:
    with RecordWriter(prefix) as writer:
        for record in records:
            writer.write(*record)
    return Path(f"{prefix}.rec").read_bytes()


def simple_shard(prefix: Path, count: int = 6) -> list[tuple[int, list[float], bytes]]:
    records = [(i, [float(i), 7.0], bytes([i]) * 12) for i in range(count)]
    write_shard(prefix, records)
    return records


def same(record: Record, expected: tuple[int, object, bytes]) -> bool:
    id, labels, image = expected
    return record.id == id and record.labels.tolist() == np.atleast_1d(labels).tolist() and record.image == image


def planted(noise: random.Random, length: int) -> bytes:
    """Returns random bytes with the magic at random positions: aligned or not, at the start, at the end, adjacent."""
    data = bytearray(noise.randbytes(length))
    for _ in range(noise.randrange(4)):
        at = noise.choice([0, length - 4, noise.randrange(length + 1), noise.randrange(length + 1) & ~3])
        copies = noise.choice([1, 1, 2, 3])
        data[max(at, 0) : max(at, 0) + 4 * copies] = MAGIC * copies
    return bytes(data)


def test_bytes_of_a_record(tmp_path: Path) -> None:
    labels = [3.0, 0.0, 2.0**24]
    written = write_shard(tmp_path / "a", [(5, labels, b"abcde"), (2**64 - 1, [1], b"")])
    first = part(0, header(3, 5) + struct.pack("<3f", *labels) + b"abcde")
    assert written == first + part(0, header(1, 2**64 - 1) + struct.pack("<f", 1))
    assert (tmp_path / "a.idx").read_bytes() == b"5\t0\n%d\t%d\n" % (2**64 - 1, len(first))


def test_bytes_of_a_record_in_parts(tmp_path: Path) -> None:
    image = MAGIC + b"12345678" + MAGIC + MAGIC + b"x" + MAGIC  # the last one is not aligned
    written = write_shard(tmp_path / "a", [(1, [9], image)])
    beginning = header(1, 1) + struct.pack("<f", 9)
    assert written == part(1, beginning) + part(2, b"12345678") + part(2, b"") + part(3, b"x" + MAGIC)
    assert RecordReader(tmp_path / "a")[0].image == image


@pytest.mark.parametrize("id", [0xCED7230A, 0xCED7230A << 32, 0xCED7230A_CED7230A])
def test_magic_in_the_id(tmp_path: Path, id: int) -> None:
    written = write_shard(tmp_path / "a", [(id, [4, 5], b"image"), (3, [6, 7], b"")])
    assert struct.unpack_from("<I", written, 4)[0] >> 29 == 1, "the header itself must be split"
    (tmp_path / "a.idx").unlink()
    assert rebuild_index(tmp_path / "a") == 2
    reader = RecordReader(tmp_path / "a")
    assert same(reader.by_id(id), (id, [4, 5], b"image"))
    assert same(reader[1], (3, [6, 7], b""))


def test_single_label_is_stored_in_the_header(tmp_path: Path) -> None:
    written = write_shard(tmp_path / "a", [(0, 12, b"i"), (1, [12], b"i"), (2, np.float32(3), b"")])
    assert written.startswith(part(0, header(0, 0, 12.0) + b"i") + part(0, header(1, 1) + struct.pack("<f", 12) + b"i"))
    assert [record.labels.tolist() for record in RecordReader(tmp_path / "a")] == [[12.0], [12.0], [3.0]]


@pytest.mark.parametrize("seed", range(20))
def test_random_payloads_round_trip(tmp_path: Path, seed: int) -> None:
    noise = random.Random(seed)
    ids = noise.sample([*range(200), 2**64 - 1, 0xCED7230A], 40)
    records = [
        (
            id,
            noise.choices(range(2**24 + 1), k=noise.choice([1, 2, 100, 100, 300])),
            planted(noise, noise.randrange(300)),
        )
        for id in ids
    ]
    write_shard(tmp_path / "a", records)
    reader = RecordReader(tmp_path / "a")
    assert reader.ids.tolist() == ids
    assert all(same(reader[i], records[i]) for i in noise.sample(range(40), 40))
    assert all(map(same, reader, records))
    assert all(same(reader.by_id(id), record) for id, record in zip(ids, records, strict=True))
    scanned = list(scan_records(tmp_path / "a"))
    assert [offset for offset, _ in scanned] == reader.offsets.tolist()
    assert all(same(record, expected) for (_, record), expected in zip(scanned, records, strict=True))
    index = (tmp_path / "a.idx").read_bytes()
    (tmp_path / "a.idx").unlink()
    assert rebuild_index(tmp_path / "a") == 40
    assert (tmp_path / "a.idx").read_bytes() == index


def test_image_of_magics_alone_and_larger_than_a_batch(tmp_path: Path) -> None:
    records = [(0, [1], MAGIC * 5000), (1, [2], random.Random(1).randbytes(900_001)), (2, [3], MAGIC * 3 + b"end")]
    write_shard(tmp_path / "a", records)
    assert all(map(same, RecordReader(tmp_path / "a"), records))


def test_labels_are_float32_and_any_buffer_is_accepted(tmp_path: Path) -> None:
    kinds = [np.arange(3, dtype=dtype) for dtype in ("f2", "f4", ">f4", "f8", "i1", "u2", ">i8", "u8")]
    records = [(i, labels, b"123") for i, labels in enumerate(kinds)]
    records += [(20, (0, 1, 2), bytearray(b"123")), (21, np.arange(6)[::2] // 2, memoryview(b"0123")[1:])]
    write_shard(tmp_path / "a", records)
    for record in RecordReader(tmp_path / "a"):
        assert record.labels.dtype == np.float32
        assert record.labels.tolist() == [0, 1, 2]
        assert record.image == b"123"
        assert type(record.image) is bytes


def test_labels_are_writable_and_belong_to_the_caller(tmp_path: Path) -> None:
    images = [b"image", b"1234" + MAGIC + b"5678"]  # a record of one part, and one of two
    write_shard(tmp_path / "a", [(0, [1, 2], images[0]), (1, 3, images[0]), (2, [4, 5], images[1])])
    reader = RecordReader(tmp_path / "a")
    for record in reader:
        assert record.labels.flags.writeable
        record.labels[:] = 9
    assert [record.labels.tolist() for record in reader] == [[1, 2], [3], [4, 5]]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([1, 2**24 + 1], "label 1 is 16777217, not a class id"),
        (np.array([0, 5, -1]), "label 2 is -1, not a class id"),
        ([0.5], "label 0 is 0.5, not a class id"),
        (np.array([1, 2.0000000001]), "label 1 is 2.0000000001, not a class id"),
        ([math.nan, 1], "label 0 is nan, not a class id"),
        ([1, math.inf], "label 1 is inf, not a class id"),
        (np.array([np.nan, 7], np.float16), "label 0 is nan, not a class id"),
        (np.array([2**63], np.uint64), "label 0 is 9223372036854775808, not a class id"),
        (-3, "label 0 is -3, not a class id"),
        ([], "not shape [0]"),
        ([[1, 2], [3, 4]], "not shape [2, 2]"),
        ([2**70], "not object"),
        (["7"], "not <U1"),
        ([True], "not bool"),
    ],
)
def test_invalid_labels_raise(tmp_path: Path, labels: object, reason: str) -> None:
    with RecordWriter(tmp_path / "a") as writer:
        writer.write(1, [1], b"one")
        with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/a.rec: record 17: ")) as caught:
            writer.write(17, labels, b"image")
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
        writer.write(17, [2], b"two")  # the failed call changed nothing
    assert [(r.id, r.labels.tolist(), r.image) for r in RecordReader(tmp_path / "a")] == [
        (1, [1.0], b"one"),
        (17, [2.0], b"two"),
    ]


def test_invalid_ids_raise(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "a") as writer:
        writer.write(np.int64(4), [1], b"0123")
        for id, reason in [(-1, "record id -1 is not"), (2**64, "is not from 0"), (4, "already written, at byte 0")]:
            with pytest.raises(RecordError, match=reason):
                writer.write(id, [1], b"")
        with pytest.raises(TypeError):
            writer.write("5", [1], b"")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            writer.write(5, [1], 100)  # type: ignore[arg-type]
        assert len(writer) == 1
    with pytest.raises(ValueError, match="closed"):
        writer.write(6, [1], b"")


def test_payload_of_half_a_gibibyte_raises(tmp_path: Path) -> None:
    zeros = bytes(2**29 - 24 - 4)  # untouched pages take no memory
    with RecordWriter(tmp_path / "a") as writer:
        with pytest.raises(RecordError, match=r"a\.rec: record 3: 536870912 bytes .* smaller than 2\*\*29"):
            writer.write(3, [1], zeros)
        assert len(writer) == 0


def test_largest_payload_is_accepted(tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def write_and_give_up() -> None:
        with RecordWriter(tmp_path / "a") as writer:
            writer.write(3, [1], bytes(2**29 - 1 - 24 - 4))
            size = (tmp_path / "a.rec.partial").stat().st_size
            raise EnoughError(size)

    with pytest.raises(EnoughError, match=str(8 + 2**29)):
        write_and_give_up()


def test_files_appear_complete_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(f"replace {Path(b).name}"), replace(a, b)))
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}"), fsync(fd))
    )
    folder = tmp_path / "new" / "rec"
    with RecordWriter(folder / "00.v1") as writer:
        writer.write(0, [1], b"x" * 300_000)
        assert [path.name for path in folder.iterdir()] == ["00.v1.rec.partial"]
    assert sorted(path.name for path in folder.iterdir()) == ["00.v1.idx", "00.v1.rec"]
    order = ["fsync 00.v1.rec.partial", "replace 00.v1.rec", "fsync 00.v1.idx.partial", "replace 00.v1.idx"]
    assert calls[:2] == ["fsync new", f"fsync {tmp_path.name}"], "new folders are flushed before files are in them"
    assert [call for call in calls[2:] if call != "fsync rec"] == order
    assert calls[-1] == "fsync rec", "the folder's entries are flushed last"
    writer.close()  # a second call does nothing
    assert calls[-1:] == ["fsync rec"]


def test_block_that_raises_keeps_the_old_files(tmp_path: Path) -> None:
    simple_shard(tmp_path / "a")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def overwrite_and_fail() -> None:
        with RecordWriter(tmp_path / "a") as writer:
            writer.write(0, [1], b"x" * 600_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        overwrite_and_fail()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_new_rec_is_never_paired_with_an_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simple_shard(tmp_path / "a")
    replace = os.replace

    def replace_rec_only(source: Path, target: Path) -> None:
        if Path(target).suffix == ".idx":
            raise OSError("the power failed")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_rec_only)
    writer = RecordWriter(tmp_path / "a")
    writer.write(9, [1], b"new")
    with pytest.raises(OSError, match="power"):
        writer.close()
    assert not (tmp_path / "a.idx").exists()
    assert [record.id for _, record in scan_records(tmp_path / "a")] == [9]


def test_killed_writer_leaves_no_final_files(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from ovocr.recordio import RecordWriter\n"
        "writer = RecordWriter(sys.argv[1])\n"
        "for i in range(9): writer.write(i, [1], bytes(200_000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert run.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["a.rec.partial"]
    records = simple_shard(tmp_path / "a")  # a rerun overwrites the remains
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.idx", "a.rec"]
    assert all(map(same, RecordReader(tmp_path / "a"), records))


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = random.Random(2)
    records = [(i, [i], noise.randbytes(90_000 + i)) for i in range(7)]
    expected = write_shard(tmp_path / "a", records)
    sizes: list[int] = []

    def take_a_part(descriptor: int, pieces: list[bytes]) -> int:
        sizes.append(sum(map(len, pieces)))
        return os.write(descriptor, b"".join(pieces)[:70_001])

    monkeypatch.setattr(os, "writev", take_a_part)
    assert write_shard(tmp_path / "b", records) == expected
    assert max(sizes) > 70_001


def test_order_of_the_index_and_order_of_the_file(tmp_path: Path) -> None:
    records = simple_shard(tmp_path / "a")
    lines = (tmp_path / "a.idx").read_text().splitlines(keepends=True)
    (tmp_path / "a.idx").write_text(lines[4] + lines[0] + lines[3])
    reader = RecordReader(str(tmp_path / "a"))
    assert len(reader) == 3
    assert [reader[i].id for i in range(3)] == [4, 0, 3]
    assert same(reader[-1], records[3])
    assert [record.id for record in reader] == [0, 3, 4]
    assert reader.by_id(3).id == 3
    for id in (5, -1, 2**64):
        with pytest.raises(RecordError, match=re.escape(f"{tmp_path}/a.idx: there is no record {id}")):
            reader.by_id(id)
    for position in (3, -4):
        with pytest.raises(IndexError):
            reader[position]


def test_shard_without_records(tmp_path: Path) -> None:
    assert write_shard(tmp_path / "a", []) == b""
    assert rebuild_index(tmp_path / "a") == 0
    reader = RecordReader(tmp_path / "a")
    assert len(reader) == 0
    assert list(reader) == list(scan_records(tmp_path / "a")) == []


def descriptors(path: Path) -> int:
    """Returns how often this process has the file open."""
    links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return links.count(os.path.realpath(path))


def test_file_is_opened_on_first_read_and_closed(tmp_path: Path) -> None:
    records = simple_shard(tmp_path / "a")
    reader = RecordReader(tmp_path / "a")
    assert descriptors(tmp_path / "a.rec") == 0
    with reader:
        assert same(reader[2], records[2])
        assert descriptors(tmp_path / "a.rec") == 1
        assert sum(1 for _ in reader) == 6
        assert descriptors(tmp_path / "a.rec") == 1
    assert descriptors(tmp_path / "a.rec") == 0
    assert same(reader[3], records[3])
    copy = pickle.loads(pickle.dumps(reader))
    assert descriptors(tmp_path / "a.rec") == 1
    assert same(copy[1], records[1])
    del reader, copy
    assert descriptors(tmp_path / "a.rec") == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reading_in_forked_and_spawned_processes(tmp_path: Path, method: str) -> None:
    records = simple_shard(tmp_path / "a", 40)
    reader = RecordReader(tmp_path / "a")
    assert same(reader[0], records[0])  # opened before the processes start
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        theirs = pool.map(operator.getitem, [reader] * 40, range(40))
        ours = [reader[i] for i in reversed(range(40))][::-1]
        assert all(map(same, theirs, records))
    assert all(map(same, ours, records))


def test_reading_in_threads(tmp_path: Path) -> None:
    records = simple_shard(tmp_path / "a", 40)
    reader = RecordReader(tmp_path / "a")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        positions = [random.Random(3).randrange(40) for _ in range(400)]
        assert all(map(same, pool.map(reader.__getitem__, positions), [records[i] for i in positions]))
    assert descriptors(tmp_path / "a.rec") == 1


def test_prefetch_reads_only_the_records_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [(i, [i], random.Random(i).randbytes(5000 + i)) for i in range(40)]
    total = len(write_shard(tmp_path / "a", records))
    lines = (tmp_path / "a.idx").read_text().splitlines(keepends=True)
    (tmp_path / "a.idx").write_text("".join(reversed(lines)))
    reader = RecordReader(tmp_path / "a")
    asked: list[tuple[int, int]] = []
    prefetch = reader._rec.prefetch
    monkeypatch.setattr(
        reader._rec, "prefetch", lambda offset, size: (asked.append((offset, offset + size)), prefetch(offset, size))
    )
    reader.prefetch(range(len(reader)))
    starts = reader.offsets.tolist()
    assert asked == list(zip(starts, [total, *starts[:-1]], strict=True))
    assert all(map(same, reader, records))
    with pytest.raises(IndexError):
        reader.prefetch([40])


def test_documentation_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)


def test_image_sizes_follow_from_the_index(tmp_path: Path) -> None:
    """And do not depend on the number of labels, even of an image that is stored in parts."""
    magic = (0xCED7230A).to_bytes(4, "little")
    images = [b"", b"a", b"abcd", b"abcde", b"x" * 1001, b"abcd" + magic + b"abc"]
    found = []
    for labels in (1, 100):
        with RecordWriter(tmp_path / str(labels)) as writer:
            for number, image in enumerate(images):
                writer.write(number, np.arange(labels, dtype=np.float32), image)
        with RecordReader(tmp_path / str(labels)) as reader:
            bounds = np.append(reader.offsets, (tmp_path / f"{labels}.rec").stat().st_size)
            found.append(image_sizes(bounds, labels).tolist())
    assert found[0] == found[1]
    assert found[0][:5] == [0, 4, 4, 8, 1004]


def test_damaged_indexes_are_parsed_as_line_by_line(tmp_path: Path) -> None:
    """Columns at once and line by line give the same ids and offsets, or the same error."""
    rng = random.Random(0)
    lines = b"".join(b"%d\t%d\n" % (number, number * 1700 // 4 * 4) for number in range(30))
    special = [
        b"18446744073709551615\t8\n",
        b"18446744073709551616\t8\n",
        b"3\t99999999999999999999\n",
        b"007\t0012\n",
        b"",
    ]
    cases = [b"", lines, *special, *(lines + end for end in special)]
    for _ in range(2000):
        data = bytearray(lines)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data))
            data[place : place + rng.randint(0, 1)] = rng.choice(
                [b"0", b"9", b"\t", b"\n", b" ", b"\r", b"-", b"\xff", b""]
            )
        cases.append(bytes(data))
    results = [(_parsed(parse_index, data), _parsed(_parse_lines, data)) for data in cases]
    assert all(fast == slow for fast, slow in results)
    assert len({str(slow) for _, slow in results}) > 300


def _parsed(parse: Callable[[bytes, str, int], tuple[NDArray[np.uint64], NDArray[np.int64]]], data: bytes) -> Any:
    try:
        ids, offsets = parse(data, "x.idx", 60_000)
    except RecordError as error:
        return str(error)
    assert (ids.dtype, offsets.dtype) == (np.uint64, np.int64)
    return ids.tolist(), offsets.tolist()

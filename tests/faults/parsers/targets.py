"""What is fuzzed: one function per parser. It takes any bytes, and returns or raises nothing but OvocrError.

An AssertionError means a wrong result: two ways to read the same bytes differ.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.dataset.access import record_index
from ovocr.dataset.manifest import DEFAULT_SOURCE_OPTIONS
from ovocr.labelgen.sources import KINDS, Found, Ignored, Lost
from ovocr.labelgen.sources.archives import decompression, tar, zip_file
from ovocr.labelgen.sources.finding import source_path
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.input_shard import InputShard
from ovocr.recordio import Record, RecordError, RecordReader, rebuild_index, scan_records
from ovocr.recordio.decoding import decode_record
from ovocr.recordio.index import _parse_lines, parse_index
from ovocr.recordio.recfile import RecFile
from tests.faults.parsers import bundle, mutate_archives, mutate_checkpoints, mutate_records, seeds, seeds_of_runs
from tests.faults.parsers.limits import limited

# The most bytes of a member of an archive, so that the limit on memory is small.
MEMBER_BYTES = 2**20


@dataclass(frozen=True)
class Target:
    """A parser.

    parse: reads an input; its files are written to the folder. seeds: valid and unusual inputs. mutate: returns a
    changed input. modules: parts of the paths of the files whose lines guide the search. prepare: loads what the first
    input would load.
    """

    parse: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    modules: tuple[str, ...]
    prepare: Callable[[], None] = lambda: None


def run(target: Target, data: bytes, folder: Path) -> OvocrError | None:
    """Parses an input within the limits; returns the documented error, if there is one. Raises what is a finding."""
    target.prepare()
    found = None
    try:
        with limited(len(data)):
            target.parse(data, folder)
    except OvocrError as error:
        found = error
    # The command line escapes control characters, which names in an input may have.
    assert found is None or len(for_terminal(str(found)).splitlines()) == 1, f"not one line: {found!r}"
    return found


def parse_recordio(data: bytes, folder: Path) -> None:
    """A .rec, an .idx and the file of the mapped offsets."""
    rec, idx, mapped = bundle.split(data, 3)
    for name, content in (("a.rec", rec), ("a.idx", idx), ("mapped.bin", mapped)):
        (folder / name).write_bytes(content)
    _check_index(idx, len(rec))
    _check_mapped(folder / "mapped.bin")
    scanned = dict(_until_error(scan_records(folder / "a")))
    for start, record in scanned.items():
        end = RecFile(folder / "a.rec").id(start)[1]
        assert _same(decode_record(rec[start:end]), record), f"decode_record differs at byte {start}"
    _items("rec", folder / "a.rec")
    try:
        with RecordReader(folder / "a") as reader:
            _read_all(reader, scanned)
    finally:
        (folder / "a.idx").unlink()
        with contextlib.suppress(OvocrError):
            count = rebuild_index(folder / "a")
            with RecordReader(folder / "a") as reader:
                assert len(reader) == count
                _read_all(reader, scanned)
                # It has the records with too few labels, too, at which a scan ends.
                assert sorted(reader.offsets.tolist())[: len(scanned)] == list(scanned)


def _until_error(records: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
    with contextlib.suppress(OvocrError):
        yield from records


def _read_all(reader: RecordReader, scanned: dict[int, Record]) -> None:
    with contextlib.suppress(OvocrError):
        reader.prefetch(range(len(reader)))
    for position in range(len(reader)):
        try:
            record = reader[position]
        except OvocrError:
            continue
        assert record.id == reader.ids.item(position)
        if (start := reader.offsets.item(position)) in scanned:
            assert _same(scanned[start], record), f"the reader differs at byte {start}"


def _same(one: Record, other: Record) -> bool:
    return (one.id, one.labels.tobytes(), one.image) == (other.id, other.labels.tobytes(), other.image)


def _check_index(idx: bytes, rec_size: int) -> None:
    found = []
    for parse in (parse_index, _parse_lines):
        try:
            found.append([column.tolist() for column in parse(idx, "a.idx", rec_size)])
        except RecordError as error:
            found.append([str(error)])
    assert found[0] == found[1], "the fast and the exact parser of an index differ"
    source = mock.Mock(shards=1, name="a", read=lambda: [record_index.ShardFiles(rec_size, idx, "a.idx")])
    with contextlib.suppress(OvocrError):
        index = record_index._in_memory(source, "a test")
        bounds = index.bounds(0)
        assert len(bounds) == index.counts[0] + 1
        assert bounds[-1] == rec_size
        assert (np.diff(bounds) > 0).all()


def _check_mapped(path: Path) -> None:
    index = record_index._map(path, None)
    if index is not None:
        for shard in range(min(100, len(index.counts))):
            assert len(index.bounds(shard)) == index.counts[shard] + 1


def parse_archive(data: bytes, folder: Path) -> None:
    """A first byte that says which kind, and an archive."""
    kind, name = ("zip", "a.zip") if data[:1] == b"z" else ("tar", "a.tar")
    (folder / name).write_bytes(data[1:])
    with (
        mock.patch.object(tar, "MAX_FILE_BYTES", MEMBER_BYTES),
        mock.patch.object(zip_file, "MAX_FILE_BYTES", MEMBER_BYTES),
        mock.patch.object(decompression, "_XZ_MEMORY", 16 * 2**20),
    ):
        _items(kind, folder / name)


def _items(kind: str, path: Path) -> None:
    """Reads a source as `ovocr build` does, without keeping its images."""
    source = source_path(str(path))
    (shard,) = KINDS[kind].plan(FoundSource(source, kind), 100, DEFAULT_SOURCE_OPTIONS)
    assert isinstance(shard, InputShard)
    for item in KINDS[kind].read(source, shard):
        assert isinstance(item, Found | Lost | Ignored)
        if not isinstance(item, Ignored):
            item.key.encode("utf-8")
        if isinstance(item, Lost):
            assert item.detail
            item.detail.encode("utf-8")


def parse_checkpoint(data: bytes, folder: Path) -> None:
    """A first byte that says which files, and the files."""
    from tests.faults.parsers import parse_runs

    parse_runs.parse(data, folder)


def load_torch() -> None:
    """Imports what checkpoints need; the other targets do without torch."""
    from tests.faults.parsers import parse_runs

    parse_runs.prepare()


TARGETS = {
    "recordio": Target(
        parse_recordio,
        seeds.records,
        mutate_records.mutate,
        ("ovocr/recordio/", "ovocr/dataset/access/record_index.py", "archives/rec.py"),
    ),
    "archives": Target(
        parse_archive,
        seeds.archives,
        mutate_archives.mutate,
        ("sources/archives/", f"{os.sep}tarfile.py", f"{os.sep}zipfile.py", "zipfile/__init__.py"),
    ),
    "checkpoint": Target(
        parse_checkpoint,
        seeds_of_runs.checkpoints,
        mutate_checkpoints.mutate,
        (
            "ovocr/trainer/runs/",
            "ovocr/trainer/backbone/vision_transformer.py",
            "torch/_weights_only_unpickler.py",
            "checkpoint/filesystem.py",
        ),
        load_torch,
    ),
    "run": Target(
        parse_checkpoint,
        seeds_of_runs.runs,
        mutate_checkpoints.mutate,
        (
            "ovocr/trainer/runs/",
            "ovocr/trainer/export/measures.py",
            "ovocr/trainer/prior/prior.py",
            "ovocr/trainer/config/",
            "ovocr/trainer/training/model.py",
            "ovocr/trainer/tracking/record.py",
            "ovocr/vocab/",
        ),
        load_torch,
    ),
}

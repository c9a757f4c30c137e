"""The records of a data set on a disk: the mapped index of all shards, and reads through it."""

import multiprocessing
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.access import record_index
from ovocr.dataset.access.disk_records import DiskRecords
from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import RecordError, RecordReader, RecordWriter, rebuild_index


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ovocr" / "indexes"


def write_shards(root: Path, sizes: Sequence[int]) -> LabelledDataSet:
    data_set = LabelledDataSet(root)
    for shard, size in enumerate(sizes):
        with RecordWriter(data_set.rec_prefix(shard)) as writer:
            for number in range(size):
                writer.write(number, [shard, number], b"%d " % shard * number)
    return data_set


def all_records(records: DiskRecords) -> list[tuple[list[float], bytes]]:
    places = [(shard, number) for shard, size in enumerate(records.counts) for number in range(size)]
    return [(found.labels.tolist(), found.image) for found in (records.read(*place) for place in places)]


def parsed_indexes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list to which the name of every index is added when it is parsed."""
    names: list[str] = []
    parse = record_index.parse_index
    monkeypatch.setattr(record_index, "parse_index", lambda *given: names.append(str(given[1])) or parse(*given))
    return names


def test_records_are_those_of_the_shards(tmp_path: Path):
    data_set = write_shards(tmp_path / "set", [3, 0, 5])
    records = DiskRecords(data_set, 3)
    assert records.counts.tolist() == [3, 0, 5]
    expected = [
        (record.labels.tolist(), record.image) for s in range(3) for record in RecordReader(data_set.rec_prefix(s))
    ]
    assert all_records(records) == expected
    for shard in range(3):
        bounds = [*RecordReader(data_set.rec_prefix(shard)).offsets.tolist()]
        assert records.bounds(shard).tolist() == [
            *bounds,
            data_set.rec_prefix(shard).with_suffix(".rec").stat().st_size,
        ]


def test_indexes_are_parsed_once_for_all_processes(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    data_set, parsed = write_shards(tmp_path / "set", [3, 5]), parsed_indexes(monkeypatch)
    first = DiskRecords(data_set, 2)
    assert len(parsed) == 2
    assert all_records(DiskRecords(data_set, 2)) == all_records(first)
    copy = pickle.loads(pickle.dumps(first))
    assert all_records(copy) == all_records(first)
    assert len(parsed) == 2
    assert [path.suffix for path in cache.iterdir()] == [".bin"]
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(all_records, (first,)) == all_records(first)


def test_size_of_a_pickle_does_not_grow_with_the_records(tmp_path: Path):
    sizes = [len(pickle.dumps(DiskRecords(write_shards(tmp_path / str(n), [n] * 2), 2))) for n in (1, 2000)]
    assert abs(sizes[1] - sizes[0]) < 20  # the length of the paths


def test_changed_index_is_parsed_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    data_set, parsed = write_shards(tmp_path / "set", [3, 5]), parsed_indexes(monkeypatch)
    DiskRecords(data_set, 2)
    write_shards(tmp_path / "set", [4])
    records = DiskRecords(data_set, 2)
    assert records.counts.tolist() == [4, 5]
    assert len(all_records(records)) == 9
    assert len(parsed) == 4
    assert len(list(cache.iterdir())) == 1  # the old index of the data set is replaced


def test_damaged_cache_is_written_again(tmp_path: Path, cache: Path):
    data_set = write_shards(tmp_path / "set", [3, 5])
    expected = all_records(DiskRecords(data_set, 2))
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for damaged in (b"", whole[:20], whole[:-8], whole + b"12345678", b"x" * len(whole)):
        path.unlink()
        path.write_bytes(damaged)
        assert all_records(DiskRecords(data_set, 2)) == expected
        assert path.read_bytes() == whole


@pytest.mark.parametrize("make_unusable", [lambda cache: None, lambda cache: cache.write_text("")])
def test_without_a_cache_every_process_has_the_offsets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, make_unusable
):
    data_set = write_shards(tmp_path / "set", [3, 5])
    expected = all_records(DiskRecords(data_set, 2))
    unusable = tmp_path / "unusable"
    make_unusable(unusable)
    monkeypatch.setattr(record_index, "cache_folder", lambda: unusable if unusable.exists() else None)
    records = DiskRecords(data_set, 2)
    assert all_records(pickle.loads(pickle.dumps(records))) == expected
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(record_index, "_MANY_RECORDS", 7)
    DiskRecords(data_set, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"ovocr: {tmp_path}/set: every process keeps 0 MB of offsets in memory, because they cannot be"
    )
    assert line.endswith("; set XDG_CACHE_HOME to a folder that is writable")


def test_several_processes_open_at_once(tmp_path: Path, cache: Path):
    data_set = write_shards(tmp_path / "set", [200] * 20)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(_counts, [(data_set,)] * 8)
    assert found == [[200] * 20] * 8
    assert [path.suffix for path in cache.iterdir()] == [".bin"]


def _counts(data_set: LabelledDataSet) -> list[int]:
    counts: list[int] = DiskRecords(data_set, 20).counts.tolist()
    return counts


def test_records_that_are_not_numbered_from_0_raise(tmp_path: Path):
    data_set = write_shards(tmp_path / "set", [3])
    with RecordWriter(data_set.rec_prefix(0)) as writer:
        writer.write(1, [0], b"")
    with pytest.raises(OvocrError, match=r"rec/00000\.idx: its records are not in the order of their ids, from 0; run"):
        DiskRecords(data_set, 1)


def test_missing_or_damaged_index_raises(tmp_path: Path, cache: Path):
    data_set = write_shards(tmp_path / "set", [3, 3])
    path = data_set.rec_prefix(1).with_suffix(".idx")
    path.write_text("0\t0\nx\n")
    with pytest.raises(RecordError, match=r"rec/00001\.idx:2: not an index line"):
        DiskRecords(data_set, 2)
    path.unlink()
    with pytest.raises(RecordError, match=r"rec/00001\.idx: no such file; create it from the .rec with rebuild_index"):
        DiskRecords(data_set, 2)
    assert not list(cache.glob("*-*"))  # no partial file
    rebuild_index(data_set.rec_prefix(1))
    assert len(all_records(DiskRecords(data_set, 2))) == 6


def test_index_that_points_to_another_record_raises(tmp_path: Path):
    data_set = write_shards(tmp_path / "set", [3])
    prefix = data_set.rec_prefix(0)
    offsets = RecordReader(prefix).offsets.tolist()
    rec = prefix.with_suffix(".rec")
    data = rec.read_bytes()
    sizes = np.diff([*offsets, len(data)])
    DiskRecords(data_set, 1)
    # The last record takes the place of the first one.
    rec.write_bytes(data[offsets[2] :] + bytes(offsets[2]))
    assert sizes[2] > sizes[0]
    with pytest.raises(
        RecordError, match=r"00000\.idx: points for record 0 to record 2; recreate it with rebuild_index"
    ):
        DiskRecords(data_set, 1).read(0, 0)


def test_prefetch_of_a_missing_file_raises_nothing(tmp_path: Path):
    data_set = write_shards(tmp_path / "set", [3])
    records = DiskRecords(data_set, 1)
    records.prefetch(0, 2)
    records = pickle.loads(pickle.dumps(records))
    os.unlink(data_set.rec_prefix(0).with_suffix(".rec"))
    records.prefetch(0, 2)
    with pytest.raises(RecordError, match=r"00000\.rec: cannot be opened: No such file"):
        records.read(0, 2)

"""A split of many shards: what each process gets, how often statistics are read, and counts of groups."""

import pickle
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovocr.dataset import json_objects
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.split import distinct_hashes, sides, split
from ovocr.labelgen.split.distinct_hashes import DistinctHashes
from tests.labelgen.split.dividing import divide


@pytest.mark.parametrize("waiting", [1, 5000, 10**6])
def test_distinct_hashes_are_counted(waiting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct_hashes, "WAITING", waiting)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rng = np.random.default_rng(0)
    all_hashes = np.array([0, 1, 2**57 - 1, 2**57, 2**64 - 1], np.uint64)
    with DistinctHashes() as hashes:
        assert hashes.count() == 0
        hashes.add(all_hashes)
        for _ in range(10):
            found = rng.integers(0, 2**64, 1000, np.uint64)
            hashes.add(found)
            hashes.add(found[:10])
            all_hashes = np.concatenate([all_hashes, found])
        distinct = np.unique(all_hashes)
        assert hashes.count() == len(distinct)
        for below in (0, 1, 2, 2**57 - 1, 2**57, 2**57 + 1, 2**63 + 12345, 2**64 - 1):
            assert hashes.count(below) == (distinct < np.uint64(below)).sum()
    assert not list(tmp_path.iterdir())


def test_processes_get_a_shard_without_the_others(
    whole: LabelledDataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, bytes]] = []

    def map_shards(work: Any, shards: list[Any], **options: object) -> Iterator[Any]:
        name = work.func.__name__ if isinstance(work, partial) else work.__name__
        sent.extend((name, pickle.dumps((work, shard))) for shard in shards)
        return map(work, shards)

    for module in (sides, split):
        monkeypatch.setattr(module, "map_shards", map_shards)
    divide(whole.root, tmp_path / "out")
    entries = whole.manifest().shards
    sources = {entry.source.encode() for entry in entries}
    assert Counter(name for name, _ in sent) == {"_by_key": len(entries), "split_shard": len(entries)}
    assert len(sources) > 1
    for (_, data), entry in zip(sent, [*entries, *entries], strict=True):
        assert [source for source in sources if source in data] == [entry.source.encode()]


@pytest.mark.parametrize("by", ["key", "source"])
def test_statistics_are_read_once(
    by: str, whole: LabelledDataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[Path] = Counter()
    read_bytes = json_objects.read_bytes
    monkeypatch.setattr(json_objects, "read_bytes", lambda path: read.update([path]) or read_bytes(path))
    divide(whole.root, tmp_path / "out", by=by, share=0.5, seed=1)
    own = {path: count for path, count in read.items() if whole.root in path.parents and path.parent.name == "stats"}
    assert own == {whole.stats_path(shard): 1 for shard in whole.all_shards()}

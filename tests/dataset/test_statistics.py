"""Statistics of a shard: counts and their problems."""

import json
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.statistics import ShardCounts, ShardStatistics

ENTRY = ShardEntry(source="x.tar", kind="tar", size=9)


@pytest.fixture(params=[True, False], ids=["labelled", "packed"])
def with_text(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def data_set(tmp_path: Path, with_text: bool) -> LabelledDataSet:
    written = LabelledDataSet(tmp_path)
    box = (0.0,) * 8
    places = [Place(4, 0, box), Place(4, 1, box)] if with_text else [Place(4)]
    with ShardWriter(written, 0, ENTRY, ignored=2, with_text=with_text) as writer:
        writer.add("a.jpg", Outcome(status=Status.OK, jpeg=b"j", places=places, slots=[4, 4]))
        writer.add("b.jpg", quarantined(Reason.EMPTY, "no bytes"))
        writer.ignore()
    return written


def test_written_statistics_are_read_back(data_set: LabelledDataSet, with_text: bool):
    data = read_object(data_set.stats_path(0))
    statistics, problems = ShardStatistics.parse(data, ENTRY, has_text=with_text)
    assert problems == []
    assert statistics.to_json() == data
    assert list(statistics.to_json()) == list(data)
    assert list(statistics.files) == list(data_set.data_files(0, with_text=with_text))
    expected = ShardCounts(input=2, ok=1, quarantined=1, ignored=3, tags=1)
    expected.reasons["empty"] = 1
    assert data_set.counts(0) == statistics.counts == expected


def test_sums_over_shards():
    first, second = ShardCounts(input=3, ok=2, dropped=1), ShardCounts(input=1, quarantined=1)
    first.reasons["no-text"] = 1
    second.reasons["empty"] = 1
    assert (first + second).to_json(with_text=False) == {
        **{"input": 4, "ok": 2, "dropped": 1, "quarantined": 1, "ignored": 0, "tags": 0},
        "reasons": {"empty": 1, "no-text": 1},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ok": None}, "ok: expected a count, found None"),
        ({"tags": 1.5}, "tags: expected a count, found 1.5"),
        ({"input": 3}, r"ok \+ dropped \+ quarantined: expected 3 \(input\), found 2"),
        ({"reasons": {"empty": "1"}}, "reasons: expected counts, found {'empty': '1'}"),
    ],
)
def test_error_of_an_invalid_count_names_the_file(data_set: LabelledDataSet, change: dict[str, Any], message: str):
    path = data_set.stats_path(0)
    path.write_text(json.dumps({**read_object(path), **change}))
    with pytest.raises(OvocrError, match=f"00000.json: {message}; restore the file"):
        data_set.counts(0)


def test_statistics_of_a_different_shard_are_a_problem(data_set: LabelledDataSet, with_text: bool):
    entry = ShardEntry(source="y.tar", kind="tar", size=9)
    _, problems = ShardStatistics.parse(read_object(data_set.stats_path(0)), entry, has_text=with_text)
    assert list(map(str, problems)) == ["source: expected 'y.tar' (from manifest.json), found 'x.tar'"]

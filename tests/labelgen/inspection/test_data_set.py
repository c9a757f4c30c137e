"""Properties of an inspected data set."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import FORMAT
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.shards.totals import Totals


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_status_counts_are_in_descending_order(built: tuple[LabelledDataSet, Totals], hostile: Path) -> None:
    assert InspectedDataSet.open(built[0].root).status_counts() == [
        ("ok", None, 4),
        ("dropped", "no-text", 1),
        ("dropped", "no-word-in-vocabulary", 1),
        ("quarantined", "empty", 1),
        ("quarantined", "truncated", 1),
    ]
    assert InspectedDataSet.open(hostile).status_counts() == [
        ("ok", None, 14),
        ("quarantined", "damaged-source", 12),
        ("dropped", "no-text", 1),
    ]


def test_status_counts_match_the_counts(built: tuple[LabelledDataSet, Totals]) -> None:
    """Each reason belongs to one status."""
    data_set = InspectedDataSet.open(built[0].root)
    for status in ("dropped", "quarantined"):
        assert data_set.counts[status] == sum(number for own, _, number in data_set.status_counts() if own == status)
    assert {reason.value for reason in Reason if reason.drops} == {
        "no-text",
        "no-word",
        "no-word-in-vocabulary",
        "below-min-score",
        "below-min-letters",
        "source-out-of-reach",
        "no-lines-given",
        "no-labels",
    }


def test_data_set_of_a_different_version_is_refused(make_data_set: Callable[..., Path]) -> None:
    root = make_data_set([1])
    change(root / "stats" / "00000.json", reasons={"moon": 1})
    with pytest.raises(OvocrError, match="unknown reason 'moon'"):
        InspectedDataSet.open(root).status_counts()
    change(root / "stats" / "00000.json", lines=None)
    with pytest.raises(OvocrError, match=r"stats/00000.json: lines: expected a count, found None; restore the file"):
        InspectedDataSet.open(root).status_counts()
    change(root / "manifest.json", options={"tags": 4})
    with pytest.raises(OvocrError, match=r"manifest.json: options.seed: expected a whole number from 0 to"):
        InspectedDataSet.open(root)
    change(root / "manifest.json", format=FORMAT + 1)
    with pytest.raises(OvocrError, match=f"format {FORMAT + 1}; this version of ovocr reads format {FORMAT}"):
        InspectedDataSet.open(root)

"""Inputs on which a parser once failed, and short searches; the long searches run with `make faults`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import MakeRow
from tests.faults.parsers import targets
from tests.faults.parsers.fuzz import CASES, fuzz
from tests.faults.parsers.targets import TARGETS

FOUND = sorted(CASES.glob("*/*.bin"))
QUICK = {"recordio": 150, "archives": 300, "checkpoint": 100}
# Findings of the long searches that were mended.
MENDED = {"recordio": 0, "archives": 4, "checkpoint": 9, "run": 9}


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("path", FOUND, ids=[f"{path.parent.name}/{path.stem}" for path in FOUND])
def test_found_case_is_read_or_refused_in_one_line(path: Path, folder: Path) -> None:
    error = targets.run(TARGETS[path.parent.name], path.read_bytes(), folder)
    if path.parent.name in ("checkpoint", "run"):  # of damaged archives and shards, the rest is read
        assert error is not None


@pytest.mark.parametrize("name", QUICK)
def test_changed_inputs_are_read_or_refused(name: str, folder: Path) -> None:
    target, random = TARGETS[name], Random(1)
    seeds = target.seeds()
    assert {targets.run(target, seed, folder) is None for seed in seeds} != {False}
    refused = 0
    for _ in range(QUICK[name]):
        refused += targets.run(target, target.mutate(random.choice(seeds), random), folder) is not None
    assert refused < QUICK[name]  # what is behind the first check has been reached


@pytest.mark.faults
@pytest.mark.parametrize("name", TARGETS)
def test_ten_minutes(name: str, fault_row: MakeRow, tmp_path: Path) -> None:
    what = {"recordio": "RecordIO and its index", "archives": "tar and zip", "checkpoint": "checkpoints and weights"}
    row = fault_row(
        "parsers",
        f"10 minutes of fuzzing {what.get(name, 'the files of a run')}",
        "right results or errors of one line",
    )
    result = fuzz(name, 600, tmp_path)
    row.happened = f"{result}; earlier ones mended: {MENDED[name]}"
    assert result.executions > 1000
    assert not result.findings, result.findings

"""Inputs on which a parser once failed, and short searches; the long searches run with `make faults`."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import MakeRow
from tests.faults.parsers import targets
from tests.faults.parsers.fuzz import CASES, fuzz
from tests.faults.parsers.targets import TARGETS

FOUND = sorted(CASES.glob("*/*.bin"))
QUICK = {"recordio": 150, "archives": 300, "checkpoint": 100}
SECONDS = int(os.environ.get("OVOCR_FUZZ_SECONDS", "600"))
WHAT = {
    "recordio": "RecordIO and its index",
    "archives": "tar and zip",
    "checkpoint": "checkpoints and weights",
    "run": "the files of a run",
}
# Findings of the searches, which were mended.
MENDED = {"recordio": 0, "archives": 4, "checkpoint": 8, "run": 9}


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
def test_ten_minutes_of_each(fault_row: MakeRow, tmp_path: Path) -> None:
    rows = {
        name: fault_row("parsers", f"{SECONDS // 60} minutes of fuzzing {what}", "right results or errors of one line")
        for name, what in WHAT.items()
    }
    with ThreadPoolExecutor() as pool:
        searches = {name: pool.submit(fuzz, name, SECONDS, tmp_path / name) for name in TARGETS}
        results = {name: search.result() for name, search in searches.items()}
    for name, result in results.items():
        rows[name].happened = f"{result}; {MENDED[name]} findings mended before"
        rows[name].seconds = round(result.seconds, 1)
    for name, result in results.items():
        assert result.executions > 100, name
        assert not result.findings, (name, result.findings)

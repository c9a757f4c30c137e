"""The table of faults: what was to happen, what happened, and how long it took."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

# The folder that collects the rows of a run; `make faults` sets it.
ROWS = "OVOCR_FAULT_ROWS"


@dataclass(kw_only=True)
class Row:
    """A row of the table. The seconds are those since the row was made, unless the test sets them.

    area: part of the program, such as "training". fault: what was done to it. expected: what was to happen.
    """

    area: str
    fault: str
    expected: str
    happened: str = "the test failed"
    seconds: float | None = None


MakeRow = Callable[[str, str, str], Row]


@pytest.fixture
def fault_row(request: pytest.FixtureRequest) -> MakeRow:
    """Returns a function that makes a row: ``row = fault_row(area, fault, expected)``, then ``row.happened = ...``.

    The row is written when the test ends, also if it fails.
    """

    def make(area: str, fault: str, expected: str) -> Row:
        row, start = Row(area=area, fault=fault, expected=expected), time.monotonic()

        def write() -> None:
            if row.seconds is None:
                row.seconds = round(time.monotonic() - start, 1)
            if folder := os.environ.get(ROWS):
                Path(folder).mkdir(parents=True, exist_ok=True)
                name = f"{area}-{request.node.name}-{time.time_ns()}.json"
                (Path(folder) / name.replace("/", "-")).write_text(json.dumps(asdict(row)), encoding="utf-8")

        request.addfinalizer(write)
        return row

    return make


@pytest.fixture
def idle() -> Callable[[float], None]:
    """Returns a function that lets a fault last for some seconds."""
    return time.sleep

"""The metrics log: lines survive a kill at any byte, and repeated steps are logged once."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovocr.base.errors import OvocrError
from ovocr.trainer.tracking.background import BackgroundTracker
from ovocr.trainer.tracking.tracker import Ending
from ovocr.trainer.tracking.trackers import Trackers
from ovocr.trainer.training.metrics import MetricsLog, sample_digest
from ovocr.trainer.training.stop_request import StoppedError


def record(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "loss": 2.5,
        "heads": {"ocr": {"loss": 2.5}},
        "lr": 0.1,
        "images_per_s": 8.0,
        "sample_ids": "ab",
    }


def log(path: Path, start: int) -> MetricsLog:
    return MetricsLog(path, start=start, steps=9, log_every=1, trackers=Trackers([]))


def test_truncated_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = json.dumps(record(0)) + "\n"
    second = json.dumps(record(1)) + "\n"
    for cut in range(len(second)):
        path.write_text(whole + second[:cut])
        with log(path, start=2) as lines:
            lines.write(record(2), 4, 0.5)
        kept = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        assert kept == ([0, 1, 2] if cut == len(second) - 1 else [0, 2]), cut


def test_steps_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record(step)) + "\n" for step in range(5)))
    with log(path, start=3) as lines:
        lines.write(record(3), 4, 0.5)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]


def test_flush_writes_lines(tmp_path: Path) -> None:
    with log(tmp_path / "m.jsonl", start=0) as lines:
        lines.write(record(0), 4, 0.5)
        lines.flush()
        assert json.loads((tmp_path / "m.jsonl").read_text())["loss"] == 2.5
        with pytest.raises(ValueError, match="not JSON compliant"):
            lines.write({**record(1), "loss": float("nan")}, 4, 0.5)


class Listener:
    """A tracker that remembers its calls."""

    def __init__(self) -> None:
        self.values: list[tuple[int, dict[str, float]]] = []
        self.endings: list[Ending] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.values.append((step, dict(values)))

    def close(self, ending: Ending) -> None:
        self.endings.append(ending)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (None, Ending.FINISHED),
        (StoppedError("stopped"), Ending.STOPPED),
        (KeyboardInterrupt(), Ending.STOPPED),
        (OvocrError("step 3: the loss is nan"), Ending.FAILED),
    ],
)
def test_trackers_get_every_number(tmp_path: Path, error: BaseException | None, ending: Ending) -> None:
    tracker = Listener()
    trackers = Trackers([BackgroundTracker("listener", tracker)])
    with (
        nullcontext() if error is None else pytest.raises(type(error)),
        MetricsLog(tmp_path / "m.jsonl", start=0, steps=3, log_every=2, trackers=trackers) as lines,
    ):
        for step in range(3):
            lines.write(record(step), 4, 0.5)
        lines.write_evaluation(3, {"evaluation": {}}, {"evaluation/seconds": 2.0}, "no figure")
        if error is not None:
            raise error
    numbers = {"loss": 2.5, "heads/ocr/loss": 2.5, "lr": 0.1, "images_per_s": 8.0}
    assert tracker.values == [(0, numbers), (2, numbers), (2, {"evaluation/seconds": 2.0})]
    assert tracker.endings == [ending]


def test_mfu_is_averaged_over_the_time_of_the_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MetricsLog(tmp_path / "m.jsonl", start=0, steps=3, log_every=2, trackers=Trackers([])) as lines:
        lines.write(record(0), 4, 0.5)
        lines.write({**record(1), "mfu": 0.2}, 4, 1.0)
        lines.write({**record(2), "mfu": 0.4}, 4, 3.0)
    first, second = capsys.readouterr().err.splitlines()
    assert "MFU" not in first
    assert "loss 2.500, 2.0 images/s, MFU 35.0%, " in second


def test_evaluation_is_added_to_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.jsonl"

    def kept() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    entries = {"evaluation": {"ocr": {"evaluation": 0.75}}, "evaluation_s": 2.0}
    with log(path, start=0) as lines:
        lines.write_evaluation(1, entries, {}, "no line")
        assert kept() == []
        lines.write(record(0), 4, 0.5)
        lines.write(record(1), 4, 0.5)
        lines.write_evaluation(2, entries, {}, "word AUC")
        assert kept() == [record(0), {**record(1), **entries}]
        lines.write_evaluation(2, {"evaluation": 3, "evaluation_s": 2.0}, {}, "again")
        assert kept() == [record(0), {**record(1), "evaluation": 3, "evaluation_s": 2.0}]
        lines.write_evaluation(2, entries, {}, "and again")
        lines.write(record(2), 4, 0.5)
    assert kept() == [record(0), {**record(1), **entries}, record(2)]
    assert "step 2/9: word AUC\n" in capsys.readouterr().err


def test_digest_depends_on_order_and_heads() -> None:
    first, second = np.array([1, 2]), np.array([3])
    assert sample_digest([first, second]) == sample_digest([np.array([1, 2, 3])])
    assert sample_digest([first]) != sample_digest([first[::-1]])

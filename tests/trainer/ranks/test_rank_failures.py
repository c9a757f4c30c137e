"""Real ranks of which one dies, hangs, fails or is asked to stop: all exit, it is named, and no step is lost."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ovocr.recordio import RecordWriter
from ovocr.trainer.runs.checkpoint import complete_checkpoints

Launched = "subprocess.Popen[str]"


def error_lines(process: Launched, seconds: float = 90) -> list[str]:
    """Waits for a run that must fail; returns the lines of its standard error."""
    _, errors = process.communicate(timeout=seconds)
    assert process.returncode == 1
    return errors.splitlines()


def test_killed_rank_is_named_and_fewer_ranks_resume(config_file: Path, tmp_path: Path, runs: Any) -> None:
    """One of three ranks gets SIGKILL; two ranks then resume with the same samples."""
    settings = ("run.steps=40", "run.passes_per_step=2")
    runs.finish(config_file, *settings, f"run.output={tmp_path / 'whole'}")
    process = runs.start(config_file, *settings, ranks=3)
    runs.wait_for_checkpoints(tmp_path / "run", 2, process)
    victim = runs.rank_process(process, 1)
    os.kill(victim, signal.SIGKILL)
    lines = error_lines(process)
    messages = [line for line in lines if re.match(r"ovocr: rank [02]: the run ended because rank 1 \(", line)]
    assert len(messages) == 2, lines
    assert f"process {victim}) does not answer: it died or hangs" in messages[0]
    assert lines[-1] == f"ovocr: rank 1 (process {victim}) died of SIGKILL"
    assert not [line for line in lines if "Traceback" in line]
    assert "(from step " in runs.finish(config_file, *settings, ranks=2)
    runs.assert_same_metrics(tmp_path / "run", tmp_path / "whole", 1e-3)


def test_hanging_rank_is_named(config_file: Path, tmp_path: Path, runs: Any) -> None:
    process = runs.start(config_file, "run.steps=100000", "run.collective_timeout_s=4", ranks=2)
    runs.wait_for_checkpoints(tmp_path / "run", 1, process)
    victim = runs.rank_process(process, 1)
    os.kill(victim, signal.SIGSTOP)
    lines = error_lines(process)  # torchrun gives the stopped rank 30 s before it kills it
    (message,) = [line for line in lines if line.startswith("ovocr: rank 0: ")]
    assert f"process {victim}) does not answer: it died or hangs" in message
    assert not [line for line in lines if "Traceback" in line]
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)


def test_failed_rank_is_named_with_its_reason(
    config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path], runs: Any
) -> None:
    """One rank reads a record with fewer tags than the others."""
    root = make_data_set("labels", [17, 7], patterned=True)
    image = cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    with RecordWriter(root / "rec" / "00001") as writer:
        for record in range(7):
            writer.write(record, np.arange(10 if record != 3 else 5, dtype=np.float32), image)
    lines = error_lines(runs.start(config_file, ranks=2))
    place = f"{root}/rec/00001.rec id 3 (3.jpg of source1.tar)"
    reason = f"{place}: 5 slots, but label_select and labels_stored select slots 0 to 9"
    assert f"ovocr: {reason}" in lines
    assert [line for line in lines if re.match(r"ovocr: rank \d: the run ended because rank \d .* failed: ", line)]
    assert not [line for line in lines if "Traceback" in line]


def test_error_of_all_ranks_is_printed_once(config_file: Path, runs: Any) -> None:
    lines = error_lines(runs.start(config_file, "optimizer.lr=1e30", "optimizer.warmup_steps=0", ranks=2))
    assert len([line for line in lines if re.search("head ocr: the loss is (nan|inf); samples: ", line)]) == 1
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGINT, 0)])
def test_signal_saves_on_all_ranks(
    config_file: Path, tmp_path: Path, runs: Any, number: signal.Signals, workers: int
) -> None:
    settings = (
        *("run.steps=100000", "run.checkpoint_every=100000", "run.log_every=1"),
        f"loader.workers={workers}",
    )
    process = runs.start(config_file, *settings, ranks=2)
    for line in process.stderr:
        if line.startswith("step 3/"):
            break
    process.send_signal(number)
    lines = error_lines(process)
    (checkpoint,) = complete_checkpoints(tmp_path / "run" / "checkpoints")
    steps = int(checkpoint.name)
    message = f"ovocr: stopped; {steps} steps saved in {tmp_path / 'run'}; run the same command to resume"
    assert lines.count(message) == 1
    assert lines[-1] == f"ovocr: all ranks were ended by {number.name}"
    assert len(runs.metrics(tmp_path / "run")) == steps
    assert not (tmp_path / "run" / ".lock").exists()


def test_ranks_save_and_exit_when_their_launcher_dies(config_file: Path, tmp_path: Path, runs: Any) -> None:
    settings = ("run.steps=100000", "run.checkpoint_every=100000", "run.log_every=1")
    process = runs.start(config_file, *settings, ranks=2)
    for line in process.stderr:
        if line.startswith("step 3/"):
            break
    process.kill()
    deadline = time.monotonic() + 180
    while not complete_checkpoints(tmp_path / "run" / "checkpoints") or (tmp_path / "run" / ".lock").exists():
        assert time.monotonic() < deadline, "the ranks did not stop"
        time.sleep(0.1)
    process.communicate(timeout=180)  # their end of the pipe is closed as well


def test_killed_loader_worker_is_named(config_file: Path, runs: Any) -> None:
    """The kernel kills workers in the same way if memory runs out."""
    settings = ("run.steps=100000", "run.checkpoint_every=100000", "run.log_every=1", "loader.workers=1")
    process = runs.start(config_file, *settings)
    for line in process.stderr:
        if line.startswith("step 3/"):
            break
    (worker,) = children_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    lines = error_lines(process)
    death = f"loader worker, process {worker}: (is killed by signal: Killed|exited unexpectedly)"
    message = f"ovocr: ({death}|a loader worker died while sending).*; a possible cause is a lack of memory"
    assert re.match(message, lines[-1]), lines
    assert not [line for line in lines if "Traceback" in line]


def test_a_server_that_is_no_store_is_named(config_file: Path) -> None:
    """The server accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        master = f"127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "ovocr", "train", str(config_file), "--set", "run.collective_timeout_s=3"]
        hosts = ["--nnodes", "2", "--node-rank", "1", "--master", master]
        done = subprocess.run([*command, *hosts], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    first, reason, last = done.stderr.splitlines()
    assert first == f"ovocr: machine 1: 2 machines of 1 rank meet at {master}"
    assert reason.startswith(
        f"ovocr: rank 1: cannot meet the other ranks at {master}: what listens there does not answer as the store"
    )
    assert re.fullmatch(r"ovocr: rank 1 \(process \d+\) ended with exit code 1", last)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

"""A torchrun that waits without end is ended by its rank; others are left alone. The launchers are real processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

# A launcher that starts a rank and then handles no signal, as torchrun in a read from its store.
LAUNCHER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
time.sleep(float(sys.argv[2]))
"""
RANK = """
from ovocr.trainer.ranks import stuck_launcher
stuck_launcher._WAIT_S = {wait_s}
stuck_launcher.end_launcher_if_stuck()
"""


def launch(seconds: float, wait_s: float, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "TORCHELASTIC_RUN_ID"}
    path = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-c", LAUNCHER, RANK.format(wait_s=wait_s), str(seconds)],
        env={**environment, "LOCAL_RANK": "0", "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_stuck_launcher_is_ended() -> None:
    done = launch(100, 1, TORCHELASTIC_RUN_ID="run")
    assert done.returncode == -signal.SIGKILL
    assert "which still waits for the store" in done.stderr


def test_launcher_that_ends_by_itself_is_left_alone() -> None:
    done = launch(0, 60, TORCHELASTIC_RUN_ID="run")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variables", [{}, {"TORCHELASTIC_RUN_ID": "run", "LOCAL_RANK": "1"}])
def test_other_parents_are_left_alone(variables: dict[str, str]) -> None:
    done = launch(2, 0, **variables)
    assert (done.returncode, done.stderr) == (0, "")

"""The example batch script starts ranks that find each other. Slurm's own commands are replaced by scripts."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ovocr.trainer.runs.checkpoint import complete_checkpoints

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "slurm" / "train.sbatch"
# Starts the tasks of one machine like srun, numbers them, and exits with the largest exit code.
SRUN = """#!/bin/bash
[ "$1" = --kill-on-bad-exit=0 ] && shift
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & echo $! >> "$PIDS"
done
status=0
for pid in $(cat "$PIDS"); do wait "$pid" || status=$?; done
exit $status
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$REQUEUED"; fi
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def job(tmp_path: Path, config_file: Path) -> Any:
    """Starts the script with these settings, as a job of two tasks with a time limit of ``seconds``."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)

    def start(seconds: int, *settings: str) -> "subprocess.Popen[str]":
        import time

        environment = {
            **os.environ,
            "PATH": f"{commands}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PIDS": str(tmp_path / "pids"),
            "REQUEUED": str(tmp_path / "requeued"),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_JOB_END_TIME": str(int(time.time()) + seconds),
        }
        options = [part for setting in settings for part in ("--set", setting)]
        return subprocess.Popen(
            ["bash", str(SCRIPT), str(config_file), *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_job_finishes(job: Any, tmp_path: Path) -> None:
    output, errors = (process := job(86_400, "run.steps=4")).communicate(timeout=120)
    assert process.returncode == 0, errors
    assert re.fullmatch(rf"{tmp_path}/run: 4 steps in \d+ s, last loss [\d.]+\n", output)


def test_warned_job_saves_and_requeues(job: Any, tmp_path: Path) -> None:
    process = job(300, "run.steps=100000", "run.checkpoint_every=100000", "run.log_every=1")
    for line in process.stderr:
        if line.startswith("step 3/"):
            break
    for pid in (tmp_path / "pids").read_text().split():
        os.kill(int(pid), signal.SIGTERM)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 1
    assert len(re.findall(r"^ovocr: stopped; \d+ steps saved", errors, re.MULTILINE)) == 1
    assert len(complete_checkpoints(tmp_path / "run" / "checkpoints")) == 1
    assert (tmp_path / "requeued").read_text() == f"requeue {os.getpid()}\n"


def test_ranks_exit_if_rank_0_is_missing(job: Any, tmp_path: Path) -> None:
    """Without torchrun, rank 0 hosts the store through which the ranks meet."""
    process = job(86_400, "run.steps=100000", "run.log_every=1")
    for line in process.stderr:
        if line.startswith("step 3/"):
            break
    os.kill(int((tmp_path / "pids").read_text().split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "ovocr: rank 1: the run ended because rank 0" in errors
    assert not (tmp_path / "requeued").exists()

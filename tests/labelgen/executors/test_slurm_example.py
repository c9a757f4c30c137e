"""The example array job makes one data set in slices. Scripts replace the commands of Slurm."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.plural import counted
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions
from tests.labelgen.data_sets import wait_for_writer

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "slurm" / "build_labels.sbatch"
SLICES = 3
# Starts the only task of the job, as srun does.
SRUN = """#!/bin/bash
[ "$1" = --cpus-per-task=1 ] && shift
echo $$ > "$PIDS-$SLURM_ARRAY_TASK_ID"
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "$@" >> "$REQUEUED"
"""
# The installed command.
OVOCR = f"""#!/bin/bash
exec {sys.executable} -m ovocr "$@"
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is missing")

Job = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def job(tmp_path: Path, vocabulary: Path) -> Job:
    """Starts the script for one slice of these sources, as a job that ends in ``seconds``."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("ovocr", OVOCR)):
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)

    def start(sources: list[str], out: Path, number: int, seconds: int = 86_400, **more: str) -> Any:
        environment = {
            **os.environ,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PIDS": str(tmp_path / "pid"),
            "REQUEUED": str(tmp_path / "requeued"),
            "SLURM_JOB_ID": f"{1000 + number}",
            "SLURM_ARRAY_TASK_ID": str(number),
            "SLURM_ARRAY_TASK_MAX": str(SLICES - 1),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_JOB_END_TIME": str(int(time.time()) + seconds),
            **more,
        }
        options = ["--out", str(out), "--vocab", str(vocabulary), "--tags", "5", "--seed", "7"]
        return subprocess.Popen(
            ["bash", str(SCRIPT), *sources, *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def sources(options: BuildOptions, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Returns five archives."""
    folder = tmp_path_factory.mktemp("archives")
    return [str(shutil.copy(options.sources[number % 2], folder / f"{number}.tar")) for number in range(5)]


def digests(root: Path) -> dict[str, str]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_an_array_of_jobs_makes_the_data_set_of_one_run(
    job: Job, sources: list[str], vocabulary: Path, tmp_path: Path
) -> None:
    whole = BuildOptions(sources=tuple(sources), out=tmp_path / "whole", vocab=str(vocabulary), tags=5, seed=7)
    build_labels(whole, progress=False)
    jobs = [job(sources, tmp_path / "sliced", number) for number in range(SLICES)]
    for process, shards in zip(jobs, (2, 2, 1), strict=True):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert f" in {counted(shards, 'shard')}: " in output
    assert digests(tmp_path / "sliced") == digests(whole.out)
    assert not (tmp_path / "requeued").exists()


def test_a_job_near_its_time_limit_keeps_finished_shards_and_requeues_itself(
    job: Job, sources: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = job(sources, out, 1, seconds=120, SLICES="2")
    wait_for_writer(out, 1, process)
    os.kill(int((tmp_path / "pid-1").read_text()), signal.SIGTERM)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 1
    assert errors.startswith(f"ovocr: interrupted; finished shards are kept in {out}")
    assert (tmp_path / "requeued").read_text() == "requeue 1001\n"
    _, errors = (process := job(sources, out, 1, SLICES="2")).communicate(timeout=180)
    assert process.returncode == 0, errors
    assert LabelledDataSet(out).finished_shards() == [1, 3]

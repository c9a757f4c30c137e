"""Runs ovocr commands, which end with the script: they save what they have, and the same command resumes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

INTERRUPTED = "interrupted; run the same command again to resume"
_running: set[subprocess.Popen[bytes]] = set()
_stopped = threading.Event()


def end_with_script() -> None:
    """From now on, SIGTERM and Ctrl-C end the commands that run, and then the script."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    _stopped.set()
    if number == signal.SIGTERM:  # a terminal sends Ctrl-C to the commands too
        for process in list(_running):
            process.terminate()
    sys.exit(INTERRUPTED)


def run_ovocr(
    *arguments: str, cwd: Path | None = None, cores: Sequence[int] = (), output: IO[str] | int | None = None
) -> None:
    """Runs a command. Exits with one line if it fails.

    cwd: the folder to which relative paths refer. cores: run only on these, with one thread in each process; by default
    on all. output: where standard output goes, and for a file also the error messages.
    """
    command = [sys.executable, "-m", "ovocr", *arguments]
    environment = dict(os.environ)
    if cores:
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
        environment |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if _stopped.is_set():
        sys.exit(INTERRUPTED)
    errors = None if output is None or isinstance(output, int) else output
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=errors) as process:
        _running.add(process)
        try:
            code = process.wait()
        finally:
            _running.discard(process)
    if _stopped.is_set():
        sys.exit(INTERRUPTED)
    if code:
        where = "above" if errors is None else f"at the end of {errors.name}"
        sys.exit(f"`ovocr {arguments[0]}` ended with exit code {code}; its message is {where}")

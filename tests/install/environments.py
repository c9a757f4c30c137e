"""Fresh virtual environments, and runs of pip and other programs in them."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Settings of the shell that would change what an installation finds or imports.
_LEFT_OUT = ("PIP_CONSTRAINT", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Outcome:
    """What a program did.

    seconds: elapsed. cpu_s: seconds of a core, which another job on the machine does not change as much. output: both
    streams, and a note if the time limit ended the program.
    """

    ok: bool
    seconds: float
    cpu_s: float
    output: str

    def reason(self) -> str:
        """Returns the line of the output that says best why a run of pip failed."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")]
        return (errors or lines or ["no output"])[-1]


@dataclass(frozen=True)
class Installed:
    """A run of pip. packages: names and versions of everything that it installed, or would install in a dry run."""

    outcome: Outcome
    packages: dict[str, str]


def run(
    command: list[str | Path], *, folder: Path, limit_s: float = 600, settings: dict[str, str] | None = None
) -> Outcome:
    """Runs a program in a folder, without the shell's settings for Python and constraints of pip.

    settings: environment variables beside those of the shell.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT} | (settings or {})
    start, cpu_start = time.monotonic(), _cpu_of_children()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_s)
        except BaseException as error:
            # pip starts another process for the interpreter of --python: both must end.
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            output = f"{process.communicate()[0]}\nERROR: not done after {limit_s:.0f} s"
    ok = process.returncode == 0
    return Outcome(ok, time.monotonic() - start, _cpu_of_children() - cpu_start, output)


def _cpu_of_children() -> float:
    """Returns the seconds of a core that ended child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Pip:
    """One version of pip, in an environment of its own, that installs into others."""

    def __init__(self, requirement: str, folder: Path) -> None:
        """Makes the environment. Raises RuntimeError if this pip cannot be installed.

        requirement: such as "pip==23.2.1".
        """
        self._folder = folder
        self._python = make_environment(folder, pip=True)
        outcome = run([self._python, "-m", "pip", "install", "--quiet", "--upgrade", requirement], folder=folder)
        if not outcome.ok:
            raise RuntimeError(f"{requirement}: {outcome.reason()}")
        version = [self._python, "-c", "from importlib.metadata import version; print(version('pip'))"]
        self.version = run(version, folder=folder).output.strip()

    def install(
        self, python: Path, requirements: list[str], *, dry: bool = False, folder: Path, limit_s: float = 600
    ) -> Installed:
        """Installs requirements with all their dependencies into the environment of an interpreter.

        dry: only resolves them, as for an empty environment. folder: to which their paths are relative.
        """
        report = self._folder / "report.json"
        report.unlink(missing_ok=True)
        command: list[str | Path] = [self._python, "-m", "pip", "--python", python, "install", "--report", report]
        if dry:
            command += ["--dry-run", "--ignore-installed"]
        outcome = run([*command, *requirements], folder=folder, limit_s=limit_s)
        if not outcome.ok:
            return Installed(outcome, {})
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        return Installed(outcome, {each["metadata"]["name"]: each["metadata"]["version"] for each in found})

    def check(self, python: Path) -> Outcome:
        """Checks that the requirements of all packages of an environment are met."""
        return run([self._python, "-m", "pip", "--python", python, "check"], folder=self._folder)


def make_environment(folder: Path, *, pip: bool = False) -> Path:
    """Makes an environment and returns its interpreter. pip: with the pip that comes with Python; else it is empty."""
    without = [] if pip else ["--without-pip"]
    subprocess.run([sys.executable, "-m", "venv", *without, folder], check=True)
    return folder / "bin" / "python"

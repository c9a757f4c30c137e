"""Fuzzes a parser: python -m tests.faults.parsers.fuzz recordio|archives|checkpoint|run [--seconds 600] [--corpus DIR]

Prints executions, coverage and findings; exits with 1 if there are findings. DIR keeps inputs and findings. See
CONTRIBUTING.md.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.parsers.targets import TARGETS

CASES = Path(__file__).parent / "cases"
# An input that takes so long is stuck in code that no signal interrupts.
_STUCK_S = 60


@dataclass
class Result:
    """What a search has done. coverage: features of Atheris, or pairs of lines. findings: a line for each."""

    engine: str
    executions: int = 0
    errors: int = 0
    seconds: float = 0.0
    coverage: int = 0
    findings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        speed = self.executions / max(self.seconds, 1e-9)
        text = f"{self.executions:,} executions ({speed:,.0f}/s, {self.engine}), {self.errors:,} documented errors, "
        return text + f"coverage {self.coverage:,}, {len(self.findings)} findings"


def fuzz(name: str, seconds: float, corpus: Path, *, seed: int = 1, engine: str | None = None) -> Result:
    """Searches in processes of their own: one that crashes or is stuck is a finding, and another one goes on.

    corpus: a folder: seeds has the seeds, inputs the kept cases and what reached new code, findings what failed.
    """
    engine = engine or ("atheris" if importlib.util.find_spec("atheris") else "trace")
    seeds, inputs, findings = (corpus / name for name in ("seeds", "inputs", "findings"))
    for folder in (seeds, inputs, findings):
        folder.mkdir(parents=True, exist_ok=True)
    kept = [path.read_bytes() for path in sorted((CASES / name).glob("*.bin"))]
    for folder, some in ((seeds, TARGETS[name].seeds()), (inputs, kept)):
        for data in some:
            (folder / hashlib.sha256(data).hexdigest()[:20]).write_bytes(data)
    result, end = Result(engine), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 1:
        _search(name, left, corpus, seed, result)
        seed += 1
    return result


def _search(name: str, seconds: float, corpus: Path, seed: int, result: Result) -> None:
    seeds, inputs, findings = (corpus / name for name in ("seeds", "inputs", "findings"))
    status_file, log = findings / "status.json", findings / "log.txt"
    status_file.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults.parsers.engine", name, str(findings), str(seeds), str(inputs)),
                *("--seconds", f"{seconds:.0f}", "--seed", str(seed), "--engine", result.engine),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        )
        stuck = _wait(process, status_file)
    status = json.loads(status_file.read_text(encoding="utf-8")) if status_file.exists() else {}
    result.executions += status.get("executions", 0)
    result.errors += status.get("errors", 0)
    result.seconds += time.monotonic() - began
    result.coverage = max(result.coverage, status.get("coverage", 0), _features(log))
    result.findings |= status.get("findings", {})
    if process.returncode:
        reason = "is stuck" if stuck else f"ends with {process.returncode}"
        if process.returncode < 0 and not stuck:
            reason = f"is killed by {signal.Signals(-process.returncode).name}"
        data = (findings / "current.bin").read_bytes() if (findings / "current.bin").exists() else b"\0\0\0\0"
        data = data[4 : 4 + struct.unpack_from("<I", data)[0]]
        path = findings / f"crash-{hashlib.sha256(data).hexdigest()[:10]}.bin"
        path.write_bytes(data)
        result.findings[path.name] = f"the process {reason}: {path}; {_last_line(log)}"
        if not status:
            raise RuntimeError(f"the search did not begin: {log.read_text(errors='replace')[-2000:]}")


def _wait(process: "subprocess.Popen[bytes]", status: Path) -> bool:
    """Waits for the end. Returns True if the process was killed because nothing has run for a while."""
    started = time.time()
    while True:
        try:
            process.wait(1)
            return False
        except subprocess.TimeoutExpired:
            last = status.stat().st_mtime if status.exists() else started + _STUCK_S
            if time.time() - last > _STUCK_S:
                process.kill()
                process.wait()
                return True


def _features(log: Path) -> int:
    """Returns the last "ft:" that libFuzzer has printed."""
    parts = log.read_text(encoding="utf-8", errors="replace").split(" ft: ")
    return int(parts[-1].split()[0]) if len(parts) > 1 else 0


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--corpus", type=Path, help="folder of inputs and findings (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["atheris", "trace"], help="default: atheris if it is installed")
    options = parser.parse_args()
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="ovocr-fuzz-"))
    result = fuzz(options.target, options.seconds, corpus, seed=options.seed, engine=options.engine)
    print(f"{options.target}: {result}")
    for text in result.findings.values():
        print(f"  {text}")
    if result.findings:
        print(f"inputs and tracebacks: {corpus / 'findings'}")
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())

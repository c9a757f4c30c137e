"""Searches inputs of a target until the time is up: python -m tests.faults.parsers.engine; fuzz.py starts it.

Two engines change inputs with the target's own mutator and keep those that reach new code. Atheris, if it is installed,
is libFuzzer with instrumented modules. The other one traces lines with sys.settrace: slower, but always there.
"""

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

_LENGTH = struct.Struct("<I")
MOST_BYTES = 2**20
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None


class Search:
    """Runs inputs of a target and writes what happens to a folder.

    current.bin is the input that is running, status.json the counts, finding-*.bin and .txt an input of each finding.
    """

    def __init__(self, name: str, folder: Path, scratch: Path) -> None:
        from tests.faults.parsers import targets  # after the modules are instrumented

        self.target, self._run = targets.TARGETS[name], targets.run
        self._folder, self._scratch = folder, scratch
        self.executions = self.errors = 0
        self.coverage = 0
        self.findings: dict[str, str] = {}
        self._began = self._written = time.monotonic()
        with (folder / "current.bin").open("w+b") as file:
            file.truncate(_LENGTH.size + MOST_BYTES)
            self._current = mmap.mmap(file.fileno(), 0)

    def run(self, data: bytes) -> None:
        """Runs an input. A finding is kept, and the search goes on."""
        data = data[:MOST_BYTES]
        self._current[: _LENGTH.size + len(data)] = _LENGTH.pack(len(data)) + data
        self.executions += 1
        try:
            self.errors += self._run(self.target, data, self._scratch) is not None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a parser raises is a finding
            self._keep(data, error)
        if time.monotonic() - self._written > 1:
            self.write_status()

    def _keep(self, data: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if f"{os.sep}ovocr{os.sep}" in frame.filename] or frames
        where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        title = f"{type(error).__name__} at {where}"
        if title in self.findings:
            return
        self.findings[title] = f"{title}: {str(error)[:200]}"
        stem = self._folder / f"finding-{hashlib.sha256(title.encode()).hexdigest()[:10]}"
        stem.with_suffix(".bin").write_bytes(data)
        stem.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        self.write_status()

    def write_status(self) -> None:
        """Writes the counts of this process."""
        self._written = time.monotonic()
        status = {
            "executions": self.executions,
            "errors": self.errors,
            "seconds": round(self._written - self._began, 1),
            "coverage": self.coverage,
            "findings": self.findings,
        }
        partial = self._folder / "status.partial"
        partial.write_text(json.dumps(status), encoding="utf-8")
        partial.replace(self._folder / "status.json")


class _Lines:
    """Which pairs of lines of the target's modules have run one after the other."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._modules = modules
        self._is_traced: dict[Any, bool] = {}
        self.found: set[tuple[int, int, int]] = set()
        self._new = False

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        traced = self._is_traced.get(code)
        if traced is None:
            traced = self._is_traced[code] = any(module in code.co_filename for module in self._modules)
        if not traced:
            return None
        last, key = -1, id(code)

        def local(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            pair = (key, last, frame.f_lineno)
            last = frame.f_lineno
            if pair not in self.found:
                self.found.add(pair)
                self._new = True
            return local

        return local

    def take_new(self) -> bool:
        """Returns whether there are new pairs since the last call."""
        new, self._new = self._new, False
        return new


def search_with_trace(search: Search, seeds: list[bytes], corpus: Path, random: Random, seconds: float) -> None:
    """Changes inputs of the corpus, and adds those that reach new lines to it."""
    lines = _Lines(search.target.modules)
    pool = [*seeds]
    waiting = [*seeds, *(path.read_bytes() for path in sorted(corpus.iterdir()))]
    known = len(waiting)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = waiting.pop() if waiting else changed(search, pool, seeds, random)
        sys.settrace(lines.trace)
        try:
            search.run(data)
        finally:
            sys.settrace(None)
        search.coverage = len(lines.found)
        if lines.take_new() and search.executions > known:
            pool.append(data)
            (corpus / hashlib.sha256(data).hexdigest()[:20]).write_bytes(data)


def changed(search: Search, pool: list[bytes], seeds: list[bytes], random: Random) -> bytes:
    """Returns a changed input: of the newest ones, which have reached what few others have, of all, or a seed.

    What has been found is mostly damaged, and damage hides what is behind it.
    """
    data = random.choice(random.choice([pool, pool[-20:], seeds]))
    for _ in range(random.choice([1, 1, 1, 2, 3, 5])):
        data = search.target.mutate(data, random)
    return data


def search_with_atheris(search: Search, seeds: list[bytes], corpus: Path, random: Random, seconds: float) -> None:
    """Lets libFuzzer choose most inputs; it ends the process."""
    import atheris

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        own = Random(seed)
        data = own.choice(seeds) if own.random() < 0.4 else data
        for _ in range(own.choice([1, 1, 2, 3])):
            data = search.target.mutate(data, own)
        return data[:most]

    arguments = ["fuzz", f"-max_total_time={int(seconds)}", f"-max_len={MOST_BYTES}", "-timeout=100"]
    arguments += [
        "-rss_limit_mb=0",
        f"-seed={random.randrange(1, 2**31)}",
        "-len_control=0",
        "-mutate_depth=1",
        str(corpus),
    ]
    atheris.Setup(arguments, search.run, custom_mutator=mutate, enable_python_coverage=True)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("folder", type=Path, help="where findings and counts are written")
    parser.add_argument("seeds", type=Path, help="folder of inputs")
    parser.add_argument("corpus", type=Path, help="folder of further inputs; those that reach new code are added")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--engine", choices=["atheris", "trace"], required=True)
    options = parser.parse_args()
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve gigabytes of addresses
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        imports = contextlib.nullcontext()
        if options.engine == "atheris":
            import atheris

            for module in ("torch", "pyarrow", "numpy"):  # not instrumented
                with contextlib.suppress(ImportError):
                    __import__(module)
            imports = atheris.instrument_imports(include=["ovocr", "tarfile", "zipfile"])
        with imports:
            search = Search(options.target, options.folder, Path(scratch))
            if options.target in ("checkpoint", "run"):
                from tests.faults.parsers import parse_runs  # noqa: F401 - instrumented here
        seeds = [path.read_bytes() for path in sorted(options.seeds.iterdir())]
        engine = search_with_atheris if options.engine == "atheris" else search_with_trace
        engine(search, seeds, options.corpus, Random(options.seed), options.seconds)
        search.write_status()


if __name__ == "__main__":
    main()

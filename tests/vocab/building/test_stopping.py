"""Vocabulary builds that are interrupted or killed, and the next build after them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovocr.vocab import Vocabulary
from ovocr.vocab.building.build import build_vocabulary
from ovocr.vocab.building.options import VocabularyOptions


@pytest.fixture
def data_set(tmp_path: Path, write_shard: Callable[..., None]) -> Path:
    """Returns a data set with a small shard and a shard that takes a minute to count."""
    write_shard(tmp_path / "a", 0, [["one two"]])
    write_shard(tmp_path / "a", 1, [["three " * 2000]] * 3000)
    return tmp_path / "a"


@contextmanager
def run(data_set: Path, workers: int) -> Iterator[subprocess.Popen[str]]:
    """Yields the running command after it counted the first shard, while it counts the second."""
    out = data_set.parent / "v.txt"
    command = [
        sys.executable,
        "-m",
        "ovocr",
        "vocab",
        "build",
        str(data_set),
        "--out",
        str(out),
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        counted = data_set.parent / "v.txt.building" / "counts" / "0-00000-0.parquet"
        deadline = time.monotonic() + 60
        while not counted.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.5)  # until the file is closed and the second shard has begun
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_build_stops_immediately(data_set: Path, number: int, workers: int) -> None:
    with run(data_set, workers) as process:
        process.send_signal(number)
        out, errors = process.communicate(timeout=15)
    assert (process.returncode, out) == (1, "")
    assert errors == f"ovocr: interrupted; nothing was written to {data_set.parent / 'v.txt'}\n"
    assert [path.name for path in data_set.parent.iterdir()] == ["a"]


def test_next_build_clears_up_after_a_killed_one(data_set: Path, write_shard: Callable[..., None]) -> None:
    folder = data_set.parent
    with run(data_set, 2) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "v.txt.building"]
    # A kill during the merge would also leave these files.
    (folder / "v.txt.building" / "merged" / "words.duckdb").write_bytes(b"half")
    (folder / "v.txt.partial").write_text("ha")
    write_shard(data_set, 1, [["three"]])
    build_vocabulary(VocabularyOptions(data_sets=(data_set,), out=folder / "v.txt", workers=1))
    assert len(Vocabulary.load(folder / "v.txt")) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["a", "v.txt", "v.txt.json"]

"""Runs of the command for tests of several hosts: archives with given text, so that no engine has to start."""

import csv
import io
import subprocess
import sys
import tarfile
from pathlib import Path

from PIL import Image

from ovocr.vocab import Vocabulary
from tests.labelgen.data_sets import digests

SHARDS = 4
TIMEOUT_S = 240
Process = subprocess.Popen[str]


def write_sources(folder: Path, images: int) -> None:
    """Writes archives with this number of images each, a table of their text and a vocabulary."""
    Vocabulary(["fox", "river", "stone"]).save(folder / "v.txt")
    file = io.BytesIO()
    Image.effect_noise((300, 300), 60).convert("RGB").save(file, "PNG")
    with (folder / "t.csv").open("w", newline="") as text:
        table = csv.writer(text)
        table.writerow(["key", "text"])
        for shard in range(SHARDS):
            with tarfile.open(folder / f"{shard}.tar", "w") as tar:
                for number in range(images):
                    member = tarfile.TarInfo(f"{shard}-{number}.png")
                    member.size = len(file.getvalue())
                    tar.addfile(member, io.BytesIO(file.getvalue()))
                    table.writerow([member.name, "river stone"])


def command(sources: Path, out: Path, *options: str) -> list[str]:
    """Returns the command that labels the archives."""
    arguments = ["build-labels", str(sources / "*.tar"), "--lines", str(sources / "t.csv"), "--out", str(out)]
    return [sys.executable, "-m", "ovocr", *arguments, "--vocab", str(sources / "v.txt"), "--workers", "1", *options]


def start(arguments: list[str]) -> Process:
    """Starts a command on this machine."""
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def end(process: Process, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Waits for the end of a command. Returns its exit code and standard error."""
    _, errors = process.communicate(timeout=timeout_s)
    return process.returncode, errors


def check(out: Path, whole: dict[str, str]) -> None:
    """Checks that the data set is complete and sound, and that nothing else is left."""
    assert digests(out) == whole
    code, errors = end(start([sys.executable, "-m", "ovocr", "verify", str(out)]))
    assert code == 0, errors
    assert list(out.glob(".*")) + list(out.glob("stats/.*")) == []

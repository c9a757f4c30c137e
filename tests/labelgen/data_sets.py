"""Rows and file hashes of data sets, changed options, and files of a running command."""

import dataclasses
import hashlib
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.totals import Totals

Built = tuple[LabelledDataSet, Totals]
# Folder and suffix of the files of a shard.
FILES = [("rec", "rec"), ("rec", "idx"), ("ocr", "parquet"), ("records", "parquet"), ("stats", "json")]


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def digests(root: Path) -> dict[str, str]:
    """Returns the hash of every file except the statistics, which contain times."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def again(options: BuildOptions, **changes: Any) -> BuildOptions:
    return dataclasses.replace(options, **changes)


def partial_files(root: Path, shard: int, name: str = "rec/*.rec") -> list[Path]:
    """Returns the unfinished files of a shard, in the folders of the processes that write it."""
    return list(root.glob(f"{LabelledDataSet(root).making_prefix(shard)}*/{name}.partial"))


def wait_for_writer(root: Path, shard: int, process: subprocess.Popen[Any], name: str = "rec/*.rec") -> None:
    """Returns as soon as the running process has begun this file of a shard."""
    deadline = time.monotonic() + 60
    while not partial_files(root, shard, name):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"shard {shard} was not begun"
        time.sleep(0.002)


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    """Returns as soon as the running process has made a file."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)

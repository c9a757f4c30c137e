"""Forks processes that write shard 3 of a data set and stop themselves at a set place.

    python -m tests.dataset.stopping_writer

Reads a JSON list [ROOT, STOP_AT, REPLACE] from each line of standard input, forks the writer and prints its process id.
The writer stops itself with SIGSTOP before its operation STOP_AT (from 1) on files and folders in ROOT, and writes its
result to ROOT.PID: "made", "finished before" or the message of its error. REPLACE: write a finished shard again.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.shard_writer import ShardWriter

SHARD = 3
OPERATIONS = {"open", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir"}


def stop_before(operation: int, root: str) -> None:
    """Stops this process before an operation, counted from 1, on files and folders in ``root``."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in OPERATIONS and any(str(argument).startswith(root) for argument in arguments):
            count += 1
            if count == operation:
                os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(hook)


def write(root: str, replace: bool) -> str:
    entry = ShardEntry(source="x.tar", kind="tar")
    try:
        with ShardWriter(LabelledDataSet(Path(root)), SHARD, entry) as writer:
            if writer.is_finished and not replace:
                writer.leave()
                return "finished before"
            for number in range(3):
                writer.add(
                    f"{number}.jpg", Outcome(status=Status.OK, jpeg=b"x" * 1000, width=9, height=9, slots=(number,))
                )
    except OvocrError as error:
        return str(error)
    except (OSError, ValueError):
        return traceback.format_exc()
    return "made"


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end leave no zombies
    pa.Table.from_pylist([{"a": 1}])  # loads pandas if it is installed, here instead of in each writer
    for line in sys.stdin:
        root, stop_at, replace = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            continue
        stop_before(stop_at, root)
        result = write(root, replace)
        Path(f"{root}.{os.getpid()}").write_text(result)
        os._exit(0)


if __name__ == "__main__":
    main()

"""Measures the commands of the labelling side on data sets of many shards: seconds and memory of all processes.

    python benchmarks/labelling_at_size.py FOLDER [--shards N ...] [--records N] [--repeats N] [--most SECONDS]
        [--only NAME ...] [--before CHECKOUT]

FOLDER gets the data sets, which later calls use again, and about 0.1 GB per 1,000 shards. With --before, the commands
of another checkout of this repository take turns with those of this one. A command is not repeated once it has taken
--most seconds in all.

The table has, for each command and number of shards, the least seconds of the repeats (their number); the least CPU
time of all processes, which other programs on the machine hardly change; and the largest memory, of all processes
together and of the largest one. Memory is resident memory that belongs to no file, in MB (10^6 bytes), read every 10
ms. With 10 shards of few images, a command does little more than start.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from large_data_set import write_source

from ovocr.dataset.layout import LabelledDataSet

IMAGES_OF_A_TAR = 4
PAUSE_S = 0.01
CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Folders:
    """The data sets with a number of shards: ``large`` with many images, the others with few, and their sources."""

    root: Path
    shards: int

    @property
    def large(self) -> Path:
        return self.root / f"large-{self.shards}" / "labels"

    @property
    def small(self) -> Path:
        return self.root / f"small-{self.shards}"

    @property
    def out(self) -> Path:
        """Folder of what a command writes; it is removed before each run."""
        return self.root / f"out-{os.getpid()}"


@dataclass(frozen=True)
class Case:
    """A command to measure.

    arguments: made from the folders. missing: a data set of which a shard is removed first. refusal: part of the error
    with which the command must end; None if it must succeed.
    """

    arguments: Callable[[Folders], list[str]]
    missing: str | None = None
    refusal: str | None = None


def build(folders: Folders) -> list[str]:
    small = folders.small
    return ["build-labels", f"{small}/tars", "--lines", f"{small}/lines.jsonl", "--out", f"{small}/build"]


def relabel(folders: Folders) -> list[str]:
    return ["relabel", f"{folders.small}/build", "--out", f"{folders.small}/relabel", "--min-letters", "2"]


def pack(folders: Folders) -> list[str]:
    small = folders.small
    return ["pack-labels", f"{small}/tars", "--labels", f"{small}/ids.jsonl", "--out", f"{small}/pack"]


CASES = {
    "build-labels, finished": Case(build),
    "build-labels, one shard missing": Case(build, "build"),
    "relabel, finished": Case(relabel),
    "relabel, one shard missing": Case(relabel, "relabel"),
    "pack-labels, finished": Case(pack),
    "pack-labels, one shard missing": Case(pack, "pack"),
    "why, a key": Case(lambda folders: ["why", f"{folders.large}", f"{folders.shards - 1:05d}/000123.jpg"]),
    "why, no such key": Case(
        lambda folders: ["why", f"{folders.large}", "none/000123.jpg"], refusal="no image in the finished shards"
    ),
    "inspect --limit 20": Case(
        lambda folders: ["inspect", f"{folders.large}", "--limit", "20", "--html", f"{folders.out}/page.html"]
    ),
    "split by source": Case(
        lambda folders: [
            "split",
            f"{folders.large}",
            "--by",
            "source",
            "--share",
            "0.5",
            "--out",
            f"{folders.out}/split",
        ]
    ),
    "split by image": Case(lambda folders: ["split", f"{folders.large}", "--out", f"{folders.out}/split"]),
    # Decides on which side each image is, and refuses before it divides.
    "split by image, sides alone": Case(
        lambda folders: ["split", f"{folders.large}", "--share", "1e-15", "--out", f"{folders.out}/split"],
        refusal="holds out none of",
    ),
    "verify --quick": Case(lambda folders: ["verify", f"{folders.large}", "--quick"]),
    "vocab build": Case(lambda folders: ["vocab", "build", f"{folders.large}", "--out", f"{folders.out}/words.txt"]),
    "vocab coverage": Case(lambda folders: ["vocab", "coverage", f"{folders.large}"]),
}


def make_large(folders: Folders, records: int) -> None:
    if folders.large.parent.exists():
        return
    script = CHECKOUT / "benchmarks" / "large_data_set.py"
    options = ["--shards", str(folders.shards), "--records", str(records), "--own-keys"]
    subprocess.run([sys.executable, str(script), str(folders.large.parent), *options], check=True)


def make_small(folders: Folders) -> None:
    """Makes tars of the same images, and a finished data set of each command for them."""
    small = folders.small
    if small.exists():
        return
    (small / "tars").mkdir(parents=True)
    source, table = write_source(small, IMAGES_OF_A_TAR, 64)
    for number in range(folders.shards):
        os.link(source, small / "tars" / f"{number:05d}.tar")
    keys = [json.loads(line)["key"] for line in table.read_text().splitlines()]
    rows = [json.dumps({"key": key, "labels": [number, number + 1]}) for number, key in enumerate(keys)]
    (small / "ids.jsonl").write_text("".join(f"{row}\n" for row in rows))
    for command in (build, relabel, pack):
        run_ovocr(command(folders))


def run_ovocr(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "ovocr", *arguments], check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Measured:
    """seconds: duration. cpu: CPU time of all processes, in seconds.

    together, largest: peak memory of all processes together and of the largest one, in bytes.
    """

    seconds: float
    cpu: float
    together: int
    largest: int


def measure(case: Case, folders: Folders, checkout: Path) -> Measured:
    """Runs a command of a checkout."""
    shutil.rmtree(folders.out, ignore_errors=True)
    folders.out.mkdir()
    if case.missing is not None:
        data_set = LabelledDataSet(folders.small / case.missing)
        data_set.stats_path(folders.shards // 2).unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-m", "ovocr", *case.arguments(folders)]
    start, cpu_before = time.monotonic(), cpu_of_children()
    with (
        open(folders.out / "log", "w") as log,
        subprocess.Popen(command, env=environment, cwd=checkout, stdout=log, stderr=log) as process,
    ):
        together = largest = 0
        while process.poll() is None:
            memory = list(memory_of_tree(process.pid))
            together, largest = max(together, sum(memory)), max(largest, *memory, 0)
            time.sleep(PAUSE_S)
        seconds = time.monotonic() - start
    output = (folders.out / "log").read_text()
    if bool(process.returncode) is not bool(case.refusal) or (case.refusal or "") not in output:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{output}")
    return Measured(seconds, cpu_of_children() - cpu_before, together, largest)


def cpu_of_children() -> float:
    """Returns the CPU time of all processes that this one, or one of them, has started and waited for, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_of_tree(process: int) -> Iterator[int]:
    """Yields the resident memory of a process and its descendants that belongs to no file, in bytes."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = [child for task in os.listdir(f"/proc/{process}/task") for child in read_children(process, task)]
    except OSError:  # it has ended
        return
    values = dict(line.split(":", 1) for line in status.splitlines())
    if "RssAnon" in values:  # a process that has ended but was not waited for has none
        yield int(values["RssAnon"].split()[0]) * 1024
    for child in children:
        yield from memory_of_tree(child)


def read_children(process: int, task: str) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{task}/children").read_text().split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, nargs="+", default=[10, 300, 3000])
    parser.add_argument("--records", type=int, default=10_000, help="images of a shard of the large data sets")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    options = parser.parse_args()
    checkouts = {"after": CHECKOUT} if options.before is None else {"before": options.before, "after": CHECKOUT}
    print("| command | shards | " + " | ".join(f"{name}: s | CPU s | MB | largest MB" for name in checkouts) + " |")
    print("|---|---|" + "---|---|---|---|" * len(checkouts), flush=True)
    all_folders = [Folders(options.folder.resolve(), shards) for shards in options.shards]
    for folders in all_folders:
        make_large(folders, options.records)
        make_small(folders)
    for name in options.only:
        for folders in all_folders:
            found: dict[str, list[Measured]] = defaultdict(list)
            for _ in range(options.repeats):
                for label, checkout in checkouts.items():
                    found[label].append(measure(CASES[name], folders, checkout.resolve()))
                if max(sum(run.seconds for run in runs) for runs in found.values()) > options.most:
                    break
            cells = [cell for label in checkouts for cell in format_cells(found[label])]
            print("| " + " | ".join([name, f"{folders.shards:,}", *cells]) + " |", flush=True)
            shutil.rmtree(folders.out)


def format_cells(found: list[Measured]) -> list[str]:
    seconds, cpu = min(run.seconds for run in found), min(run.cpu for run in found)
    memory = [max(run.together for run in found), max(run.largest for run in found)]
    return [f"{seconds:.1f} ({len(found)})", f"{cpu:.1f}", *(f"{size / 1e6:.0f}" for size in memory)]


if __name__ == "__main__":
    main()

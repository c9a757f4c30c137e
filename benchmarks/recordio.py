"""Random reads and writes of .rec records per second, ovocr and mxnet 1.9.1 alternating in one run.

    python benchmarks/recordio.py --mxnet-python .venv-mxnet/bin/python

Each side runs in its own process and executes commands of this script, so both see the same machine at nearly the same
time. Both read the same file from the page cache, in a new random order each round, and read labels and image of every
record. Both write the same records, and the two files are compared byte for byte.
"""

import argparse
import filecmp
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LABELS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mxnet-python", required=True, help="Python with mxnet 1.9.1")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=60_000, help="size of each image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="folder for temporary files; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ours = Side(sys.executable, "ovocr", Path(folder), options)
        mxnet = Side(options.mxnet_python, "mxnet", Path(folder), options)
        try:
            writes = alternate(ours, mxnet, "write", options.rounds)
            for ending in (".rec", ".idx"):
                if not filecmp.cmp(f"{folder}/ovocr{ending}", f"{folder}/mxnet{ending}", shallow=False):
                    sys.exit(f"the two {ending} files differ")
            reads = alternate(ours, mxnet, "read", options.rounds)
        finally:
            versions = [ours.finish(), mxnet.finish()]
    print(f"{platform.machine()}, {os.cpu_count()} cores; {'; '.join(versions)}")
    print(f"{options.records} records of {options.bytes} bytes + {LABELS} labels, {options.rounds} rounds each")
    print("\n| records/s, median (lowest to highest) | ovocr | mxnet | ratio of medians | lowest ratio of a round |")
    print("|---|---|---|---|---|")
    report("random reads, cached", [r["read"] for r in reads[0]], [r["read"] for r in reads[1]], options.records)
    report("writes, page cache", [w["write"] for w in writes[0]], [w["write"] for w in writes[1]], options.records)
    durable = [[w["write"] + w["sync"] for w in side] for side in writes]
    report("writes, fsync included", *durable, options.records)


def report(what: str, ours: list[float], mxnet: list[float], records: int) -> None:
    def rates(seconds: list[float]) -> str:
        rate = [records / s for s in seconds]
        return f"{statistics.median(rate):,.0f} ({min(rate):,.0f} to {max(rate):,.0f})"

    ratio = statistics.median(mxnet) / statistics.median(ours)
    lowest = min(m / o for o, m in zip(ours, mxnet, strict=True))
    print(f"| {what} | {rates(ours)} | {rates(mxnet)} | {ratio:.2f} | {lowest:.2f} |")


def alternate(ours: "Side", mxnet: "Side", command: str, rounds: int) -> tuple[list[dict], list[dict]]:
    """Runs one unmeasured round, then ``rounds`` of each side; the side that goes first alternates."""
    results: tuple[list[dict], list[dict]] = ([], [])
    for number in range(rounds + 1):
        order = [(ours, results[0]), (mxnet, results[1])]
        for side, kept in order if number % 2 else reversed(order):
            answer = side.ask(command, number)
            if number:
                kept.append(answer)
    return results


class Side:
    """One library in its own process."""

    def __init__(self, python: str, library: str, folder: Path, options: argparse.Namespace) -> None:
        command = [python, "-W", "ignore", __file__, "serve", library, str(folder)]
        command += [str(options.records), str(options.bytes)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str, number: int) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command} {number}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"the process of {self.process.args} ended early")
        return json.loads(answer)

    def finish(self) -> str:
        versions, _ = self.process.communicate("versions 0\n")
        return json.loads(versions)["versions"]


def serve(library: str, folder: Path, records: int, image_bytes: int) -> None:
    """Executes commands from standard input; runs under both Pythons."""
    write, read, version = (ovocr_functions if library == "ovocr" else mxnet_functions)(folder)
    noise = random.Random(0)
    images = [noise.getrandbits(8 * image_bytes).to_bytes(image_bytes, "little") for _ in range(64)]
    for line in sys.stdin:
        command, number = line.split()
        order = list(range(records))
        random.Random(number).shuffle(order)
        if command == "write":
            answer = write(images, records)
        elif command == "read":
            start = time.perf_counter()
            total = read(order)
            answer = {"read": time.perf_counter() - start}
            if total != records * (image_bytes + LABELS):
                sys.exit(f"{library} did not read all labels and images")
        else:
            answer = {"versions": f"{version}, numpy {version_of_numpy()}, Python {platform.python_version()}"}
        print(json.dumps(answer), flush=True)


def clear(paths: list[Path]) -> None:
    """Gives both sides the same start: deletes a side's old files and flushes the other side's."""
    for path in paths:
        path.unlink(missing_ok=True)
    os.sync()


def version_of_numpy() -> str:
    import numpy

    return numpy.__version__


def ovocr_functions(folder: Path):
    import numpy

    import ovocr
    from ovocr.recordio import RecordReader, RecordWriter

    labels = numpy.arange(LABELS, dtype=numpy.float32)
    paths = [folder / "ovocr.idx", folder / "ovocr.rec"]
    opened = []

    def write(images, records):
        clear(paths)
        start = time.perf_counter()
        writer = RecordWriter(folder / "ovocr")
        for i in range(records):
            writer.write(i, labels, images[i % len(images)])
        written = time.perf_counter()
        writer.close()
        return {"write": written - start, "sync": time.perf_counter() - written}

    def read(order):
        if not opened:
            opened.append(RecordReader(folder / "ovocr"))
        reader, total = opened[0], 0
        for i in order:
            record = reader[i]
            total += len(record.image) + len(record.labels)
        return total

    return write, read, f"ovocr {ovocr.__version__}"


def mxnet_functions(folder: Path):
    import mxnet
    import numpy
    from mxnet import recordio

    labels = numpy.arange(LABELS, dtype=numpy.float32)
    paths = [folder / "mxnet.idx", folder / "mxnet.rec"]
    opened = []

    def write(images, records):
        clear(paths)
        start = time.perf_counter()
        writer = recordio.MXIndexedRecordIO(str(paths[0]), str(paths[1]), "w")
        for i in range(records):
            writer.write_idx(i, recordio.pack(recordio.IRHeader(0, labels, i, 0), images[i % len(images)]))
        writer.close()
        written = time.perf_counter()
        for path in paths:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        return {"write": written - start, "sync": time.perf_counter() - written}

    def read(order):
        if not opened:
            opened.append(recordio.MXIndexedRecordIO(str(folder / "ovocr.idx"), str(folder / "ovocr.rec"), "r"))
        reader, total = opened[0], 0
        for i in order:
            header, image = recordio.unpack(reader.read_idx(i))
            total += len(image) + len(header.label)
        return total

    return write, read, f"mxnet {mxnet.__version__}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()

"""Word precision, recall and images per second on folders of images: ovocr compared with RapidOCR's default call.

    python benchmarks/ocr_folders.py FOLDER[:N]... [--before CHECKOUT] [--only-ovocr] [--rounds N] [--json FILE]

FOLDER has images and for each image NAME.txt (its text) or NAME.json (a list of {"text": ...}; null is text that nobody
can read). :N takes the first N images. A folder without texts is timed only. Texts are segmented into words as
``build-labels`` does it; words are compared as multisets per image. Precision is the share of the words read that are
in the text, recall the share of the text's words that were read, over all images of a folder.

Every system reads the same images in whole commands, start-up included, alternating: RapidOCR's default call in one
process that uses all cores, and ``ovocr build-labels``. --before: ``build-labels`` of another checkout of ovocr, too.
The ratio is the median over the rounds of images per second compared with the first system of the table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from ovocr.processes.cores import available_cores
from ovocr.vocab import segment_lines

RAPIDOCR_COMMAND = """
import json, logging, sys
from rapidocr import RapidOCR
logging.disable(logging.CRITICAL)
engine = RapidOCR()
json.dump([list(engine(path).txts or ()) for path in sys.argv[1:]], sys.stdout)
"""
ENDINGS = (".jpg", ".jpeg", ".png")
_Lines = list[list[str]]  # lines of each image
_System = Callable[[Path, list[Path]], _Lines]


def read_with_rapidocr(folder: Path, paths: list[Path]) -> _Lines:
    """Returns the lines of each image, read by RapidOCR's default call. folder: not used."""
    command = [sys.executable, "-c", RAPIDOCR_COMMAND, *map(str, paths)]
    lines: _Lines = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    )
    return lines


def read_with_ovocr(checkout: Path | None, folder: Path, paths: list[Path]) -> _Lines:
    """Returns the lines of each image, read by build-labels.

    checkout: folder with another version of the package; None for this one. folder: contains exactly ``paths``.
    """
    # `python -m` prefers the package of the working folder.
    root = (checkout or Path(__file__).parents[1]).resolve()
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "ovocr", "build-labels", str(folder), "--out", out]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=root, env=environment, **quiet)
        lines = {}
        for path in sorted(Path(out).glob("ocr/*.parquet")):
            for row in pq.read_table(path, columns=["key", "lines"]).to_pylist():
                lines[row["key"]] = [line["text"] for line in row["lines"]]
    return [lines.get(path.name, []) for path in paths]


def true_lines(path: Path) -> list[str] | None:
    """Returns the lines of an image's text; None if it has none."""
    if (text := path.with_suffix(".txt")).is_file():
        return text.read_text(encoding="utf-8").splitlines()
    if (boxes := path.with_suffix(".json")).is_file():
        return [line["text"] for line in json.loads(boxes.read_text(encoding="utf-8")) if line["text"]]
    return None


def score(paths: list[Path], lines: _Lines) -> dict[str, float]:
    """Returns precision and recall of the words of the images with a text; empty without one."""
    read = true = matched = 0
    for path, own in zip(paths, lines, strict=True):
        expected = true_lines(path.resolve())
        if expected is not None:
            own_words, true_words = Counter(segment_lines(own)), Counter(segment_lines(expected))
            read, true = read + own_words.total(), true + true_words.total()
            matched += (own_words & true_words).total()
    return {"precision": round(matched / read, 4), "recall": round(matched / true, 4)} if read and true else {}


def measure_folder(paths: list[Path], systems: dict[str, _System], rounds: int, bar: tqdm) -> list[dict[str, Any]]:
    """Returns a row for each system. paths: the images."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    lines: dict[str, _Lines] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            (Path(folder) / path.name).symlink_to(path.resolve())
        for _ in range(rounds):
            for name, read in systems.items():
                start = time.perf_counter()
                lines[name] = read(Path(folder), paths)
                seconds[name].append(time.perf_counter() - start)
                bar.update()
    first = next(iter(seconds.values()))
    return [
        {
            "system": name,
            "images": len(paths),
            **score(paths, lines[name]),
            "images_per_s": round(len(paths) / statistics.median(own), 3),
            "ratio": round(statistics.median(base / mine for base, mine in zip(first, own, strict=True)), 3),
        }
        for name, own in seconds.items()
    ]


def find_images(argument: str) -> tuple[str, list[Path]]:
    """Returns the name of a folder and its images. argument: FOLDER or FOLDER:N."""
    name, _, count = argument.partition(":")
    paths = sorted(path for path in Path(name).iterdir() if path.suffix.lower() in ENDINGS)
    return Path(name).name, paths[: int(count)] if count else paths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER[:N]")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--only-ovocr", action="store_true", help="leave out RapidOCR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    systems: dict[str, _System] = {} if arguments.only_ovocr else {"RapidOCR, default call": read_with_rapidocr}
    if arguments.before:
        systems["ovocr before"] = partial(read_with_ovocr, arguments.before)
    systems["ovocr"] = partial(read_with_ovocr, None)
    folders = [find_images(argument) for argument in arguments.folders]
    report = {}
    with tqdm(total=len(folders) * len(systems) * arguments.rounds, unit="run") as bar:
        for name, paths in folders:
            report[name] = measure_folder(paths, systems, arguments.rounds, bar)
    print(f"{available_cores()} of {os.cpu_count()} cores, {arguments.rounds} rounds")
    print(f"{'folder':<16}{'images':>7}  {'system':<24}{'precision':>10}{'recall':>8}{'images/s':>10}{'ratio':>7}")
    for name, rows in report.items():
        for row in rows:
            precision, recall = (f"{row[key]:.4f}" if key in row else "" for key in ("precision", "recall"))
            print(
                f"{name:<16}{row['images']:>7}  {row['system']:<24}{precision:>10}{recall:>8}"
                f"{row['images_per_s']:>10.3f}{row['ratio']:>7.2f}"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

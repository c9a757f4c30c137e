"""Images a second of whole commands, start-up included: RapidOCR's default call beside `ovocr build-labels`.

    python benchmarks/ocr_speed.py FOLDER... [--truth FOLDER] [--rounds N] [--json FILE]

Both see the same pictures (those of the folders that RapidOCR's reader opens: .jpg, .jpeg, .png) on the same cores with
the same weights, each in processes of its own, in turn. RapidOCR runs one picture after the other with
``use_cls=False`` and else its defaults. Words are scored as in ocr_accuracy.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# The scripts of this folder are no package.
from ocr_accuracy import read_texts, score_images, total_score

from ovocr.cores import available_cores
from ovocr.dataset import LabelledDataSet

# Prints [name, text] of each picture as JSON.
RAPIDOCR_COMMAND = """
import json, logging, sys
from pathlib import Path
from rapidocr import RapidOCR
logging.disable(logging.CRITICAL)
engine = RapidOCR()
texts = [(Path(path).name, "\\n".join(engine(path, use_cls=False).txts or ())) for path in sys.argv[1:]]
json.dump(texts, sys.stdout)
"""
ENDINGS = (".jpg", ".jpeg", ".png")


def run_rapidocr(folders: list[Path]) -> list[tuple[str, str]]:
    """Name and text of each picture, read by RapidOCR's default call."""
    pictures = [str(path) for folder in folders for path in _pictures(folder)]
    done = subprocess.run(
        [sys.executable, "-c", RAPIDOCR_COMMAND, *pictures],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return [(name, text) for name, text in json.loads(done.stdout)]


def run_ovocr(folders: list[Path]) -> list[tuple[str, str]]:
    """Key and text of each picture, read by build-labels."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "ovocr", "build-labels", *map(str, folders), "--out", out]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return read_texts(LabelledDataSet.open(Path(out)))


def measure(folders: list[Path], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of each round and the texts of the last, by system."""
    systems = {"RapidOCR, default call": run_rapidocr, "ovocr build-labels": run_ovocr}
    measured: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in systems}
    for _ in range(rounds):
        for name, run in systems.items():
            start = time.perf_counter()
            measured[name]["texts"] = run(folders)
            measured[name]["seconds"].append(time.perf_counter() - start)
    return measured


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--truth", type=Path, metavar="FOLDER", help="NNN.txt of the pictures NNN.jpg")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    images = sum(len(_pictures(folder)) for folder in arguments.folders)
    if not images:
        print(f"error: no {', '.join(ENDINGS)} in {', '.join(map(str, arguments.folders))}", file=sys.stderr)
        return 1
    measured = measure(arguments.folders, arguments.rounds)
    baseline = next(iter(measured.values()))["seconds"]
    print(f"{images} images, {available_cores()} of {os.cpu_count()} cores, {arguments.rounds} rounds")
    report = []
    for name, result in measured.items():
        if len(result["texts"]) != images:
            print(f"error: {name} saw {len(result['texts'])} pictures, not the same {images}", file=sys.stderr)
            return 1
        ratios = [first / own for first, own in zip(baseline, result["seconds"], strict=True)]
        row: dict[str, Any] = {
            "system": name,
            "images_per_s": round(images / statistics.median(result["seconds"]), 3),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_lowest": round(min(ratios), 3),
        }
        if arguments.truth:
            words = total_score(score_images(result["texts"], arguments.truth))
            row.update(precision=round(words.precision, 4), recall=round(words.recall, 4))
        report.append(row)
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

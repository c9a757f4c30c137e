"""Images per second of whole commands, start-up included: ovocr compared with calls of RapidOCR and PaddleOCR.

    python benchmarks/ocr_speed.py FOLDER... [--paddle-python PYTHON] [--truth FOLDER] [--rounds N] [--json FILE]

All systems read the same images (.jpg, .jpeg and .png, which RapidOCR's reader opens) on the same cores with the same
weights, PP-OCRv6 small, each in its own processes, alternating. RapidOCR reads one image at a time with
``use_cls=False`` and defaults otherwise. PaddleOCR's ``predict`` does the same on ONNX Runtime, without page and line
orientation, with the models of paddle_models.py, in the environment of PYTHON. ``ovocr build-labels --engine
paddleocr`` also runs there. Words are scored as in ocr_accuracy.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# The scripts of this folder are not a package.
from ocr_accuracy import read_texts, score_images, total_score

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.engines.openvino import check_bfloat16
from ovocr.processes.cores import available_cores

# Each prints [name, text] of each image as JSON.
RAPIDOCR_COMMAND = """
import json, logging, sys
from pathlib import Path
from rapidocr import RapidOCR
logging.disable(logging.CRITICAL)
engine = RapidOCR()
texts = [(Path(path).name, "\\n".join(engine(path, use_cls=False).txts or ())) for path in sys.argv[1:]]
json.dump(texts, sys.stdout)
"""
PADDLEOCR_COMMAND = """
import contextlib, json, sys
from pathlib import Path
with contextlib.redirect_stdout(sys.stderr):
    from paddleocr import PaddleOCR
    models = {
        f"text_{part}_model_{kind}": value
        for part, short in (("detection", "det"), ("recognition", "rec"))
        for kind, value in (("dir", f"{sys.argv[1]}/{short}"), ("name", f"PP-OCRv6_small_{short}"))
    }
    engine = PaddleOCR(
        engine="onnxruntime",
        device="cpu",
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        **models,
    )
    texts = [(Path(path).name, "\\n".join(engine.predict(path)[0]["rec_texts"])) for path in sys.argv[2:]]
json.dump(texts, sys.stdout)
"""
ENDINGS = (".jpg", ".jpeg", ".png")
PADDLE_MODELS = Path(__file__).with_name("paddle_models.py")

Texts = list[tuple[str, str]]


def run_rapidocr(folders: list[Path]) -> Texts:
    """Returns name and text of each image, read by RapidOCR's default call."""
    return _read_by([sys.executable, "-c", RAPIDOCR_COMMAND], folders)


def run_paddleocr(python: Path, models: Path, folders: list[Path]) -> Texts:
    """Returns name and text of each image, read by PaddleOCR's predict."""
    return _read_by([str(python), "-c", PADDLEOCR_COMMAND, str(models)], folders)


def _read_by(command: list[str], folders: list[Path]) -> Texts:
    images = [str(path) for folder in folders for path in _find_images(folder)]
    # Otherwise PaddleOCR tests which model hub answers fastest.
    environment = {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    done = subprocess.run(
        [*command, *images], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    return [(name, text) for name, text in json.loads(done.stdout)]


def run_ovocr(python: Path, options: list[str], folders: list[Path]) -> Texts:
    """Returns key and text of each image, read by build-labels."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(python), "-m", "ovocr", "build-labels", *map(str, folders), "--out", out, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return read_texts(LabelledDataSet.open(Path(out)))


def systems(paddle_python: Path | None, models: Path) -> dict[str, Callable[[list[Path]], Texts]]:
    """Returns the systems by name; the first is the baseline. models: folder to create."""
    ours = Path(sys.executable)
    measured: dict[str, Callable[[list[Path]], Texts]] = {
        "RapidOCR, default call": run_rapidocr,
        "ovocr build-labels": partial(run_ovocr, ours, []),
    }
    try:
        check_bfloat16()
    except OvocrError as error:
        print(f"skipped: {error}")
    else:
        measured["ovocr build-labels --precision bfloat16"] = partial(run_ovocr, ours, ["--precision", "bfloat16"])
    if paddle_python:
        subprocess.run([str(paddle_python), str(PADDLE_MODELS), "onnx", str(models)], check=True)
        options = ["--engine", "paddleocr", "--model-dir", str(models)]
        measured["PaddleOCR, predict"] = partial(run_paddleocr, paddle_python, models)
        measured["ovocr build-labels --engine paddleocr"] = partial(run_ovocr, paddle_python, options)
    return measured


def measure(
    runs: dict[str, Callable[[list[Path]], Texts]], folders: list[Path], rounds: int
) -> dict[str, dict[str, Any]]:
    """Returns the seconds of each round and the texts of the last round, by system."""
    measured: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            measured[name]["texts"] = run(folders)
            measured[name]["seconds"].append(time.perf_counter() - start)
    return measured


def _find_images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--truth", type=Path, metavar="FOLDER", help="folder with NNN.txt for the images NNN.jpg")
    parser.add_argument(
        "--paddle-python", type=Path, metavar="PYTHON", help="Python with PaddleOCR, to measure PaddleOCR as well"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    images = sum(len(_find_images(folder)) for folder in arguments.folders)
    if not images:
        print(f"error: no {', '.join(ENDINGS)} in {', '.join(map(str, arguments.folders))}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        runs = systems(arguments.paddle_python, Path(folder) / "models")
        measured = measure(runs, arguments.folders, arguments.rounds)
    baseline = next(iter(measured.values()))["seconds"]
    print(f"{images} images, {available_cores()} of {os.cpu_count()} cores, {arguments.rounds} rounds")
    report = []
    for name, result in measured.items():
        if len(result["texts"]) != images:
            print(f"error: {name} read {len(result['texts'])} images, expected {images}", file=sys.stderr)
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

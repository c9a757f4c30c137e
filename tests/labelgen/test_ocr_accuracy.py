"""benchmarks/ocr_accuracy.py on a small data set."""

import json
import subprocess
import sys
from pathlib import Path

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.shards.totals import Totals


def test_the_accuracy_benchmark_counts_words(built: tuple[LabelledDataSet, Totals], tmp_path: Path):
    # Read: the quick brown fox the fox (5 of 6 match), violin quartz (both, of 4), over the lazy fox (2, of 6).
    truth = {"fox": "The quick brown FOX, the cat", "unknown": "violin or quartz?\nviola"}
    for name, text in truth.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    script = Path(__file__).parents[2] / "benchmarks" / "ocr_accuracy.py"
    report = tmp_path / "report.json"
    command = [sys.executable, script, built[0].root, tmp_path, "--json", report]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    images = json.loads(report.read_text())["pictures"]
    assert [(image["key"], image["precision"], image["recall"]) for image in images] == [
        ("a/fox.jpg", 0.8333, 0.8333),
        ("b/unknown.png", 1.0, 0.5),
        ("a/fox.jpg", 0.8333, 0.8333),
        ("fox.jpg", 0.5, 0.3333),
    ]
    assert "4 images with a transcription, 4 without" in result.stdout

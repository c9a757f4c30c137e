"""benchmarks/legible_share.py on a small data set."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.trainer.placed_words import BOXES, encoded, flat, painted, write_placed

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "legible_share.py"


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def test_shares_of_whole_images_and_crops(tmp_path: Path):
    """The lines are 30, 30, 40, 25 and 30.6 pixels of 240 high: 56, 56, 74.7, 46.7 and 57.1 of 448."""
    record = (encoded(painted()), [0, 1, 2, 3, 4] * 2, [flat(box) for box in BOXES])
    root = write_placed(tmp_path / "set", [record] * 3)
    figures = tmp_path / "figures.json"
    done = run(tmp_path, root, "--least", 57, "--positions", 4, "--json", figures)
    assert done.returncode == 0, done.stderr
    whole, cropped, by_text = json.loads(figures.read_text())
    assert whole == {
        "data_set": "set",
        "shown": "whole images",
        "samples": 3,
        "tags_per_sample": 5.0,
        "legible_share": 0.4,
        "legible_per_sample": 2.0,
        "samples_without": 0,
    }
    assert "| set | whole images | 3 | 5.0 | 40.0% | 2.0 | 0.0% |" in done.stdout.splitlines()
    assert (cropped["samples"], by_text["samples"]) == (12, 12)
    # Random crops of a square image enlarge. The drawn word of the others has at most 48 pixels.
    assert cropped["legible_share"] > 0.4 > by_text["legible_share"]
    assert 1 <= by_text["tags_per_sample"] <= 5


def test_folder_that_is_no_data_set_is_an_error_in_one_line(tmp_path: Path):
    done = run(tmp_path, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"legible_share: {tmp_path}: not a labelled data set")
    assert len(done.stderr.splitlines()) == 1

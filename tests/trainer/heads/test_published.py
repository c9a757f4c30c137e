"""The loss and gradients of the published head, where both compute the same; needs the user's checkout of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "heads.py"
CHECKOUT = os.environ.get("OVOCR_PUBLISHED_CHECKOUT", "")


@pytest.mark.skipif(not CHECKOUT, reason="OVOCR_PUBLISHED_CHECKOUT does not name a checkout of OneVision-Encoder")
def test_loss_and_gradients_match_the_published_head() -> None:
    options = ["--reference", CHECKOUT, "--classes", "997", "--dim", "16", "--rounds", "1", "--device", "cpu"]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("compared with the published head")]
    assert [re.findall(r"1\.0, (.*?):", line)[0] for line in lines] == ["CosFace, filter", "ArcFace"]
    for line in lines:
        assert all(float(value) < 1e-5 for value in re.findall(r"\d\.\de[-+]\d\d", line)), line

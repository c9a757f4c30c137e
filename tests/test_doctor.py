"""`ovocr doctor` tries everything that it reports as working."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from ovocr import doctor
from ovocr.base.errors import MissingExtraError
from ovocr.cli import main


def test_installed_parts_work() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    lines = {line[8:22].strip(): line for line in result.output.splitlines()}
    optional = {"extra paddle", "paddleocr", "extra dali"}  # installed in other environments
    assert all(line.startswith("ok") for name, line in lines.items() if name not in optional)
    assert all(not lines[name].startswith("failed") for name in optional)
    assert "365,187 words" in lines["lexicon"]
    assert "hello" in lines["rapidocr"].lower()
    assert "onnxruntime" in lines["extra ocr"]


@pytest.mark.slow
def test_distributed_check_sums_over_ranks() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "ovocr", "doctor", "--distributed"], capture_output=True, text=True, timeout=120, check=True
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("ok      ranks          2 on ")


def test_missing_and_broken_parts_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed() -> str:
        raise MissingExtraError("training", "train")

    def broken() -> str:
        raise RuntimeError("no such kernel\nand a long dump")

    monkeypatch.setattr(doctor, "_check_torch", not_installed)
    monkeypatch.setattr(doctor, "_check_rapidocr", broken)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setitem(doctor._PACKAGES, "train", ("torch", "no-such-package"))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert (
        "missing extra train    no-such-package: install the extra \"train\": pip install '.[train]'" in result.output
    )
    assert "failed  rapidocr       RuntimeError: no such kernel\n" in result.output
    assert "missing paddleocr      --engine paddleocr needs packages that are not installed" in result.output
    assert "missing torch          training needs packages that are not installed" in result.output

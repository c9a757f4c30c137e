"""What `ovocr doctor` says is there has been tried for real."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from ovocr import doctor
from ovocr.base.errors import MissingExtraError
from ovocr.cli import main


def test_everything_here_works() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    lines = {line[8:22].strip(): line for line in result.output.splitlines()}
    optional = {"extra paddle", "paddleocr", "extra dali"}  # in an environment of its own
    assert all(line.startswith("ok") for name, line in lines.items() if name not in optional)
    assert all(not lines[name].startswith("failed") for name in optional)
    assert "365,187 words" in lines["lexicon"]
    assert "hello" in lines["rapidocr"].lower()
    assert "onnxruntime" in lines["extra ocr"]


def test_ranks_reach_each_other() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "ovocr", "doctor", "--distributed"], capture_output=True, text=True, timeout=120, check=True
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("ok      ranks          2 on ")


def test_what_is_missing_or_broken_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed() -> str:
        raise MissingExtraError("training", "train")

    def broken() -> str:
        raise RuntimeError("no such kernel\nand a long dump")

    monkeypatch.setattr(doctor, "_torch", not_installed)
    monkeypatch.setattr(doctor, "_rapidocr", broken)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setitem(doctor._PACKAGES, "train", ("torch", "no-such-package"))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "missing extra train    no-such-package: pip install 'ovocr[train]'" in result.output
    assert "failed  rapidocr       RuntimeError: no such kernel\n" in result.output
    assert "missing paddleocr      --engine paddleocr needs packages that are not installed" in result.output
    assert "missing torch          training needs packages that are not installed" in result.output

"""Compiles the Triton kernels for GPUs that need not be present."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.kernels.availability import choose_implementation
from ovocr.trainer.optim.row_adamw import RowAdamW

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "kernel_resources.py"


@pytest.mark.parametrize("arch", [80, 90])
def test_kernels_compile_without_spills(arch: int, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), "--arch", str(arch), "--json", str(tmp_path / "kernels.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    records = {record["kernel"]: record for record in json.loads((tmp_path / "kernels.json").read_text())}
    assert len(records) == 21
    for name, record in records.items():
        assert record["spills"] == 0, name
        assert record["registers"] <= 255
        assert record["shared_bytes"] <= 227 * 1024 if arch == 90 else 163 * 1024, name
        if name.endswith("bf16") and not name.startswith("unit_rows"):
            assert record["tensor_core"] > 0, name


def test_triton_on_a_cpu_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    head = PartialFC(4, 10, labels_per_sample=2, implementation="triton")
    with pytest.raises(ValueError, match=r"implementation 'triton' needs CUDA tensors, not cpu"):
        head(torch.randn(2, 4), torch.zeros(2, 2, dtype=torch.int64))
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="needs CUDA tensors"):
        RowAdamW([parameter], implementation="triton").step()


def test_float64_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose_implementation("auto", torch.zeros(1)) == "torch"
    with pytest.raises(ValueError, match="needs float32, not torch.float64"):
        choose_implementation("triton", torch.zeros(1, dtype=torch.float64))


def test_missing_triton_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovocr.trainer.kernels.availability.has_triton", lambda: False)
    with pytest.raises(ImportError, match="pip install triton"):
        choose_implementation("triton", torch.zeros(1))

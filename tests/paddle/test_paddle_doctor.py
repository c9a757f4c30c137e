"""`ovocr doctor` with PaddleOCR installed."""

from importlib.metadata import version

import pytest

from ovocr import doctor


def test_doctor_names_runtimes_and_devices() -> None:
    finding = doctor._try("paddleocr", doctor._check_paddleocr)
    assert finding.state == "ok"
    assert finding.detail == (
        f"{version('paddleocr')} on onnxruntime {version('onnxruntime')} and paddlepaddle {version('paddlepaddle')}, "
        "CPU only"
    )


def test_doctor_reports_a_paddlepaddle_that_does_not_start(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['paddle'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor._try("paddleocr", doctor._check_paddleocr)
    assert finding.state == "failed"
    assert "PaddlePaddle does not start: ModuleNotFoundError" in finding.detail

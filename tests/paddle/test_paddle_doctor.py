"""What `ovocr doctor` says of PaddleOCR where it is installed."""

from importlib.metadata import version

import pytest

from ovocr import doctor


def test_runtimes_and_devices_are_named() -> None:
    finding = doctor._tried("paddleocr", doctor._paddleocr)
    assert finding.state == "ok"
    assert finding.detail == (
        f"{version('paddleocr')} on onnxruntime {version('onnxruntime')} and paddlepaddle {version('paddlepaddle')}, "
        "CPU only"
    )


def test_a_paddlepaddle_that_does_not_start_has_failed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['paddle'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor._tried("paddleocr", doctor._paddleocr)
    assert finding.state == "failed"
    assert "PaddlePaddle does not start: ModuleNotFoundError" in finding.detail

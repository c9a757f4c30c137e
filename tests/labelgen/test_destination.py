"""Where a data set begins: what is refused before anything is written, and what a failed beginning leaves."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rapidocr

from ovocr.errors import OvocrError
from ovocr.labelgen import build
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions

MODELS = Path(rapidocr.__file__).with_name("models")


def copy_models(folder: Path, det: str, rec: str) -> Path:
    for part, name in (("det", det), ("rec", rec)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(MODELS / f"PP-OCRv6_{name}_small.onnx", folder / part / "x.onnx")
    return folder


def test_models_that_do_not_work_leave_nothing_behind(
    options: BuildOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    models = copy_models(tmp_path / "m", det="rec", rec="rec")
    own = replace(options, sources=options.sources[1:], out=tmp_path / "out", model_dir=models, workers=2)
    with pytest.raises(OvocrError, match=r"det/x\.onnx: not a text detection model"):
        build_labels(own, progress=False)
    assert not own.out.exists()
    copy_models(models, det="det", rec="rec")
    assert build_labels(own, progress=False).counts["ok"] == 1
    assert capfd.readouterr().err == ""  # workers print nothing either


def test_a_model_that_vanishes_while_workers_start_is_one_line(
    options: BuildOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    models = copy_models(tmp_path / "m", det="det", rec="rec")
    start = build._start_workers

    def remove_first(*arguments: Any) -> Any:
        (models / "det" / "x.onnx").unlink()
        return start(*arguments)

    monkeypatch.setattr(build, "_start_workers", remove_first)
    # The plan's hash of the file fails first where the workers are slow.
    with pytest.raises(OvocrError, match=r"det/x\.onnx: [Nn]o such file"):
        build_labels(replace(options, out=tmp_path / "out", model_dir=models, workers=2), progress=False)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "out").exists()

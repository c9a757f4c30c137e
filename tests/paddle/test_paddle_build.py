"""`ovocr build-labels --engine paddleocr`: workers, no network, and a broken PaddlePaddle."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

# PaddlePaddle 3.3 fails in the same way: on a CPU with oneDNN.
BROKEN_ONEDNN = """
import os, warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import paddle.inference
def abort(*_):
    os.abort()
paddle.inference.Config.enable_mkldnn = abort
"""
BROKEN = BROKEN_ONEDNN + "paddle.inference.create_predictor = abort\n"


def files(folder: Path) -> dict[str, bytes]:
    """Returns the files of a data set without the stats, which contain times."""
    paths = [path for name in ("rec", "ocr", "records") for path in (folder / name).iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in [*paths, folder / "manifest.json"]}


@pytest.mark.parametrize("kind", ["paddle", "onnx"])
def test_data_set_does_not_depend_on_workers_or_network(
    kind: str, models: dict[str, Path], ovocr: Command, tmp_path: Path
):
    for workers in (1, 2):
        done = ovocr("--model-dir", models[kind], "--out", f"out{workers}", "--workers", workers, "--json", "-")
        assert done.returncode == 0, done.stderr
        totals = json.loads(done.stdout)
        assert (totals["input"], totals["ok"], totals["quarantined"]) == (12, 11, 0)
        lines = [line for line in done.stderr.splitlines() if "images/s" not in line]
        assert [line[: line.index(":", 7)] for line in lines] == ["ovocr: paddleocr"], done.stderr
    assert files(tmp_path / "out1") == files(tmp_path / "out2")
    assert len(files(tmp_path / "out1")) == 5
    words = pq.read_table(tmp_path / "out1" / "records").column("words_in_vocabulary").to_pylist()
    assert words == [*(1 + n % 4 for n in range(11)), 0]


def test_falls_back_if_onednn_fails(models: dict[str, Path], ovocr: Command, tmp_path: Path):
    done = ovocr("--model-dir", models["paddle"], "--out", "out", "--workers", 1, site=BROKEN_ONEDNN)
    assert done.returncode == 0, done.stderr
    (notice,) = [line for line in done.stderr.splitlines() if "oneDNN" in line]
    assert notice.startswith("ovocr: paddleocr: oneDNN fails in paddlepaddle 3.")
    assert "(the process died of SIGABRT); reading without it, about 4 times slower" in notice
    assert notice.endswith("pip install 'paddlepaddle<3.3'")
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["engine"]["settings"]
    assert (settings["backend"], settings["device"], settings["onednn"]) == ("paddlepaddle", "cpu", False)
    assert "11 ok, 1 dropped, 0 quarantined" in done.stdout


def test_broken_paddlepaddle_is_a_one_line_error(models: dict[str, Path], ovocr: Command, tmp_path: Path):
    done = ovocr("--model-dir", models["paddle"], "--out", "out", site=BROKEN)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(
        "ovocr: --engine paddleocr: PP-OCRv4_mobile_det and PP-OCRv4_mobile_rec do not work on paddle"
    )
    assert "(the process died of SIGABRT)" in line
    assert not (tmp_path / "out").exists()


def test_failed_download_is_a_one_line_error(ovocr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path / "cache"))
    done = ovocr("--det-model", "PP-OCRv5_mobile_det", "--out", "out")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ovocr: PP-OCRv5_mobile_det: the model is not on this machine and cannot be downloaded (")
    assert line.endswith("give a folder of models with --model-dir")


def test_downloaded_model_is_used_from_the_cache(
    models: dict[str, Path], ovocr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path / "cache"))
    fetched = tmp_path / "cache" / "official_models"
    fetched.mkdir(parents=True)
    for part in ("det", "rec"):
        (fetched / f"PP-OCRv4_mobile_{part}").symlink_to(models["paddle"] / part)
    names = ("--det-model", "PP-OCRv4_mobile_det", "--rec-model", "PP-OCRv4_mobile_rec")
    done = ovocr(*names, "--out", "out", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "11 ok, 1 dropped, 0 quarantined" in done.stdout
    assert done.stderr.startswith("ovocr: paddleocr: PP-OCRv4_mobile_det + PP-OCRv4_mobile_rec on paddlepaddle 3.")

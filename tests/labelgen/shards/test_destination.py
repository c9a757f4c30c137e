"""The start of a data set: destinations that are refused, and interrupted starts."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rapidocr

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.workers.tasks import LabelTask

Built = tuple[LabelledDataSet, Totals]
MODELS = Path(rapidocr.__file__).with_name("models")


def contents(root: Path) -> dict[str, bytes]:
    """Returns all files except statistics, which contain times."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def copy_models(folder: Path, det: str, rec: str) -> Path:
    for part, name in (("det", det), ("rec", rec)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(MODELS / f"PP-OCRv6_{name}_small.onnx", folder / part / "x.onnx")
    return folder


def test_unwritable_destination_is_one_line(built: Built, options: BuildOptions, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OvocrError, match=r"^--out .*/file/out: .*/file is not a folder; choose another --out$"):
        build_labels(replace(options, out=tmp_path / "file" / "out"), progress=False)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OvocrError, match=r"^--out .*/link: .*/link is not a folder; choose another --out$"):
        build_labels(replace(options, out=tmp_path / "link"), progress=False)
    with pytest.raises(OvocrError, match=r"^--out /proc/x: .*is not writable"):  # not even by root
        build_labels(replace(options, out=Path("/proc/x")), progress=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write to any folder")
def test_read_only_folder_is_refused_before_work_starts(options: BuildOptions, tmp_path: Path):
    (tmp_path / "fixed").mkdir(mode=0o555)
    for out in (tmp_path / "fixed", tmp_path / "fixed" / "a" / "b"):
        with pytest.raises(
            OvocrError, match=f"^--out {out}: .*/fixed is not writable; change its permissions or choose"
        ):
            build_labels(replace(options, out=out, vocab="nowhere.txt"), progress=False)


def test_shards_without_a_manifest_are_refused(built: Built, options: BuildOptions, tmp_path: Path):
    shutil.copytree(built[0].root, tmp_path / "copy")
    (tmp_path / "copy" / "manifest.json").unlink()
    with pytest.raises(OvocrError, match="copy: contains .*/0000.* but no manifest.json"):
        build_labels(replace(options, out=tmp_path / "copy", tags=7), progress=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rec/00000.rec", "out: contains rec/00000.rec but no manifest.json; restore manifest.json or"),
        ("ocr/00007.parquet", "out: contains ocr/00007.parquet but no manifest.json"),
        ("vocab.txt", "out: contains a different vocab.txt but no manifest.json; move it away or"),
        ("vocab.txt.json", "out: contains a different vocab.txt.json but no manifest.json"),
    ],
)
def test_unrelated_file_is_not_replaced(options: BuildOptions, tmp_path: Path, name: str, message: str):
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine\n")
    with pytest.raises(OvocrError, match=message):
        build_labels(replace(options, out=out), progress=False)
    assert [path.read_text() for path in out.rglob("*") if path.is_file()] == ["mine\n"]


@pytest.mark.parametrize("names", [["vocab.txt.json"], ["vocab.txt.json", "vocab.txt"]])
def test_run_killed_before_its_manifest_resumes(built: Built, options: BuildOptions, tmp_path: Path, names: list[str]):
    for name in names:
        shutil.copy(built[0].root / name, tmp_path / name)
    build_labels(replace(options, out=tmp_path), progress=False)
    assert contents(tmp_path) == contents(built[0].root)


def test_source_inside_the_folder_of_records_is_refused(built: Built, options: BuildOptions, tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(built[0].root / "rec", out / "rec")
    before = contents(out)
    (tmp_path / "link").symlink_to(out / "rec")
    for source in (out / "rec" / "00001.rec", out / "rec" / "*.rec", tmp_path / "link" / "00000.rec"):
        with pytest.raises(
            OvocrError, match=r"^--out .*/0000[01]\.rec is in a folder where shards are written; choose another"
        ):
            build_labels(replace(options, sources=(str(source),), out=out), progress=False)
    assert contents(out) == before


def test_invalid_models_leave_no_files(options: BuildOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    models = copy_models(tmp_path / "m", det="rec", rec="rec")
    own = replace(options, sources=options.sources[1:], out=tmp_path / "out", model_dir=models, workers=2)
    with pytest.raises(OvocrError, match=r"det/x\.onnx: not a text detection model"):
        build_labels(own, progress=False)
    assert not own.out.exists()
    copy_models(models, det="det", rec="rec")
    assert build_labels(own, progress=False).counts["ok"] == 1
    assert capfd.readouterr().err == ""  # workers print nothing


def test_model_that_disappears_while_workers_start_is_one_line(
    options: BuildOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    models = copy_models(tmp_path / "m", det="det", rec="rec")
    start = LabelTask.start_workers

    def remove_first(*arguments: Any) -> Any:
        (models / "det" / "x.onnx").unlink()
        return start(*arguments)

    monkeypatch.setattr(LabelTask, "start_workers", remove_first)
    # Building the lexicon takes long, so workers fail before the models are hashed.
    own = replace(options, vocab="lexicon", out=tmp_path / "out", model_dir=models, workers=2)
    with pytest.raises(OvocrError, match=r"det/x\.onnx: [Nn]o such file"):
        build_labels(own, progress=False)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "out").exists()

"""`ovocr export`: the files, the model card, ONNX Runtime, and what it refuses to overwrite."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ovocr.base.errors import MissingExtraError
from ovocr.cli import main
from ovocr.trainer import Backbone
from ovocr.trainer.config.file import load_config
from ovocr.trainer.export import encoder_folder, onnx_model
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.training.loop import train
from tests.trainer.conftest import write_data_set, write_run_config

FILES = {
    "README.md",
    "config.json",
    "configuration_onevision_encoder.py",
    "image_processing_onevision_encoder.py",
    "model.safetensors",
    "modeling_onevision_encoder.py",
    "preprocessor_config.json",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the run `run`, evaluated after steps 4 and 8 on `held-out|out`, and its data."""
    root = tmp_path_factory.mktemp("export")
    data = write_data_set(root / "held-out|out", [60], patterned=True)
    evaluation = [f'evaluation.data=["{data}"]', "evaluation.every=4", "evaluation.min_text_height=4"]
    train(load_config(write_run_config(root), ["run.steps=8", *evaluation]))
    return root


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_export_has_weights_code_and_a_card(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    done = export(folder / "run", out)
    assert done.exit_code == 0
    assert done.output == f"{out}: backbone after 8 steps\n"
    assert names(out) == FILES
    assert Backbone.from_pretrained(out).config.image_size == 32
    assert json.loads((out / "preprocessor_config.json").read_text())["size"] == {"height": 32, "width": 32}
    assert names(tmp_path) == {f"encoder/{name}" for name in FILES}


def test_the_card_has_data_settings_and_measures(folder: Path, tmp_path: Path) -> None:
    assert export(folder / "run", tmp_path / "encoder").exit_code == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "| ocr | ocr | labels (text: none) | 24 | 48 | 50 | slots | whole images |" in card
    assert "8 steps." in card
    evaluation = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])["evaluation"]
    auc, trained_on = (evaluation["ocr"]["held-out|out"][key] for key in ("word_auc", "trained_on"))
    assert trained_on > 0  # its first images are those of the training data
    value = f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    assert f"| ocr | held-out\\|out | 60, {trained_on} of them trained on | {value} |" in card
    assert 'data = ["labels"]' in card
    assert "lr = 0.001" in card
    assert str(folder) not in card
    assert "{{" not in card
    assert "None" not in card

    assert export(folder / "run", tmp_path / "early", "--step", 4).exit_code == 0
    assert "4 steps." in (tmp_path / "early" / "README.md").read_text()


def test_the_card_takes_the_figures_of_an_evaluation(folder: Path, tmp_path: Path) -> None:
    run, json_path = folder / "run", tmp_path / "measures.json"
    done = CliRunner().invoke(main, ["eval", str(run), "--data", str(folder / "labels"), "--json", str(json_path)])
    assert done.exit_code == 0, done.output
    figures = json.loads(json_path.read_text())["heads"]["ocr"]
    assert export(run, tmp_path / "encoder", "--measures", json_path).exit_code == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    assert f"{figures['recall@10']:.3f} ({figures['prior_recall@10']:.3f}) |" in card
    assert "| ocr | labels | 24, 24 of them trained on |" in card

    other = export(run, tmp_path / "other", "--step", 4, "--measures", json_path)
    assert (other.exit_code, (tmp_path / "other").exists()) == (2, False)
    assert "was measured after 8 steps, the export is of step 4" in other.output
    figures = json.loads(json_path.read_text())
    json_path.write_text(json.dumps({**figures, "checkpoint": "f" * 32}))
    other = export(run, tmp_path / "other", "--measures", json_path)
    assert (other.exit_code, "was measured on another run" in other.output) == (2, True)
    for text in ("", "{", "[]", "{}", '{"step": 8, "heads": 3}'):
        json_path.write_text(text)
        wrong = export(run, tmp_path / "other", "--measures", json_path)
        assert wrong.exit_code == 2, text
        assert "is not the JSON that `ovocr eval --json` writes" in wrong.output
    assert "cannot be read" in export(run, tmp_path / "other", "--measures", tmp_path / "missing.json").output


def test_a_run_without_an_evaluation_or_its_data_has_a_card(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    config = (tmp_path / "run" / "config.toml").read_text().replace(str(folder), str(tmp_path / "moved"))
    (tmp_path / "run" / "config.toml").write_text(config)
    assert export(tmp_path / "run", tmp_path / "encoder").exit_code == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    assert "This checkpoint has not been evaluated" in card
    assert "| ocr | ocr | labels | 24 |" in card


def test_nothing_is_overwritten_without_force(folder: Path, tmp_path: Path) -> None:
    run, out = folder / "run", tmp_path / "encoder"
    assert export(run, out, "--step", 4).exit_code == 0
    before = {name: (out / name).read_bytes() for name in FILES}
    (out / "notes.txt").write_text("mine")
    refused = export(run, out)
    assert refused.exit_code == 2
    assert refused.output == (
        f"ovocr: {out}: is not empty; choose another folder, or replace an earlier export in it with --force\n"
    )
    assert {name: (out / name).read_bytes() for name in FILES} == before
    assert export(run, out, "--force").exit_code == 0
    assert (out / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert names(out) == FILES | {"notes.txt"}
    card = (out / "README.md").read_text()
    assert "No licence is stated here" in card
    (out / "README.md").write_text(card.replace("\n---\n", "\nlicense: mit\n---\n", 1))
    assert export(run, out, "--force").exit_code == 0
    card = (out / "README.md").read_text()
    assert "- ovocr\nlicense: mit\n---\n" in card
    assert "No licence is stated here" not in card
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("# my project")
    assert "has no earlier export" in export(run, tmp_path / "mine", "--force").output
    assert (tmp_path / "mine" / "README.md").read_text() == "# my project"
    (tmp_path / "empty").mkdir()
    assert export(run, tmp_path / "empty").exit_code == 0

    (tmp_path / "file").write_text("")
    cases = {run: "is the folder of a run", folder / "labels": "is a labelled data set", tmp_path / "file": "is a file"}
    for place, message in cases.items():
        held = export(run, place, "--force")
        assert (held.exit_code, message in held.output) == (2, True), held.output


def test_an_interrupted_replacement_is_completed(folder: Path, tmp_path: Path) -> None:
    run, out = folder / "run", tmp_path / "encoder"
    assert export(run, out).exit_code == 0
    before = {name: (out / name).read_bytes() for name in FILES}
    (out / "config.json").unlink()
    assert "has no earlier export" in export(run, out, "--force").output
    (tmp_path / "encoder.partial").mkdir()  # as a process leaves it that is killed while it replaces the files
    assert export(run, out, "--force").exit_code == 0
    assert {name: (out / name).read_bytes() for name in FILES} == before
    assert not (tmp_path / "encoder.partial").exists()


def test_a_failed_export_leaves_an_earlier_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = folder / "run", tmp_path / "encoder"
    export_encoder(run, out, 4)
    before = (out / "model.safetensors").read_bytes()

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(encoder_folder, "write_transformers_files", fail)
        with pytest.raises(OSError, match="No space"):
            export_encoder(run, out, 8, force=True)
        with pytest.raises(OSError, match="No space"):
            export_encoder(run, tmp_path / "new", 8)
    assert (out / "model.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["encoder"]


def test_onnx_runtime_computes_the_same(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    out = tmp_path / "encoder"
    done = export(folder / "run", out, "--onnx")
    assert done.exit_code == 0, done.output
    assert "onnx/model.onnx differs from torch by at most" in done.output
    assert names(out) == FILES | {"onnx/model.onnx"}
    assert "`onnx/model.onnx` maps" in (out / "README.md").read_text()
    backbone = Backbone.from_pretrained(out).eval()
    session = onnxruntime.InferenceSession(out / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["last_hidden_state", "pooler_output"]
    for shape in ((1, 3, 32, 32), (5, 3, 16, 48), (2, 3, 96, 64)):
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            expected = backbone(pixels)
        for found, wanted in zip(session.run(None, {"pixel_values": pixels.numpy()}), expected, strict=True):
            assert np.abs(found - wanted.numpy()).max() <= 1e-4
    assert export(folder / "run", out, "--force").exit_code == 0  # without ONNX: an older model must not stay
    assert names(out) == FILES


def test_weights_of_a_large_onnx_model_are_beside_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    monkeypatch.setattr(onnx_model, "_LARGEST_FILE", 1000)
    (tmp_path / "encoder").mkdir()
    export_encoder(folder / "run", tmp_path / "encoder", onnx=True)
    assert names(tmp_path / "encoder") == FILES | {"onnx/model.onnx", "onnx/model.onnx.data"}
    assert onnxruntime.InferenceSession(tmp_path / "encoder" / "onnx" / "model.onnx").get_inputs()


def test_onnx_without_its_packages(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="onnx"):
        export_encoder(folder / "run", tmp_path / "encoder", onnx=True)
    assert not (tmp_path / "encoder").exists()

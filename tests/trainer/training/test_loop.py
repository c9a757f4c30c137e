"""Whole training runs: the loss falls, a killed run resumes exactly, ranks agree."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ovocr.base.errors import OvocrError, UsageError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import TrainedRun
from ovocr.vocab.word_frequencies import WordFrequencies


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ovocr", "train", str(config), *arguments]


def assert_same_course(found: list[dict[str, Any]], wanted: list[dict[str, Any]], tolerance: float) -> None:
    assert [line["step"] for line in found] == [line["step"] for line in wanted]
    assert [line["sample_ids"] for line in found] == [line["sample_ids"] for line in wanted]
    for key in ("loss", "grad_norm", "lr"):
        assert [line[key] for line in found] == pytest.approx([line[key] for line in wanted], rel=tolerance), key


def test_run_writes_all_files(config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = train(load_config(config_file))
    run = tmp_path / "run"
    assert summary.first_step == 0
    assert "12 steps in" in summary.format()
    lines = metrics(run)
    assert [line["step"] for line in lines] == list(range(12))
    assert lines[-1]["loss"] < 0.85 * lines[0]["loss"]
    assert set(lines[0]["heads"]["ocr"]) == {"loss", "positive_cosine", "negative_cosine", "grad_norm"}
    assert lines[-1]["heads"]["ocr"]["positive_cosine"] > lines[0]["heads"]["ocr"]["positive_cosine"] + 0.1
    assert {"lr", "images_per_s", "data_wait_s", "sample_ids", "grad_norm"} < set(lines[0])
    assert "mfu" not in lines[0]  # the peak of a CPU is not known
    flops = [line["model_tflops_per_s"] * 6 / line["images_per_s"] for line in lines]  # of a step, TFLOP
    backbone = 6 * 3 * (2 * 4 * 768 * 64 * 2 / 3 + 2 * (8 * 4 * 64**2 + 4 * 16 * 64 + 4 * 4 * 64 * 96))
    assert 1.1 * backbone < min(flops) * 1e12 < 1.5 * backbone  # and attention pooling, and the head's centers
    assert [path.name for path in complete_checkpoints(run / "checkpoints")] == ["00000004", "00000008", "00000012"]
    assert load_config(run / "config.toml") == load_config(config_file)
    assert json.loads((run / "versions.json").read_text())["torch"] == torch.__version__
    assert list((run / "tensorboard").glob("events*"))
    progress = capsys.readouterr().err
    assert "step 12/12: loss" in progress

    again = train(load_config(config_file))
    assert (again.first_step, again.format()) == (12, f"{run}: nothing to do, 12 steps already done")


def test_old_checkpoints_are_pruned(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file, ["run.checkpoint_every=2", "run.keep_checkpoints=2"]))
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == ["00000010", "00000012"]


def test_killed_run_resumes_exactly(config_file: Path, tmp_path: Path) -> None:
    steps = ["--set", "run.steps=60"]
    whole = tmp_path / "whole"
    subprocess.run([*command(config_file, *steps), "--set", f"run.output={whole}"], check=True, timeout=120)
    killed = subprocess.Popen(command(config_file, *steps), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while len(complete_checkpoints(tmp_path / "run" / "checkpoints")) < 2:
        assert time.monotonic() < deadline, "no checkpoint came"
        assert killed.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (tmp_path / "run" / "checkpoints" / "00000059.partial").mkdir()  # as left by a kill during a save
    done = subprocess.run(command(config_file, *steps), check=True, timeout=120, capture_output=True, text=True)
    assert "(from step " in done.stdout
    assert_same_course(metrics(tmp_path / "run"), metrics(whole), 1e-6)
    assert not list((tmp_path / "run" / "checkpoints").glob("*.partial"))


# The mixed run resumes after step 4 of 8.
TEXT_CROPS = """\
crop_text_height = [9.0, 14.0]
crop_text_height_start = [12.0, 20.0]
crop_text_height_steps = 8
min_text_height = 8.0
"""


# Every distinct tag is a positive, with a weight from FREQUENCIES.
SOFT = """\
objective = "soft"
labels_per_sample = "all"
negative_weight = "importance"
tag_weights = "idf"
tag_frequencies = "FREQUENCIES"
"""


@pytest.mark.parametrize("head_settings", ["", TEXT_CROPS, SOFT], ids=["whole", "text crops", "soft"])
def test_ranks_agree_with_a_single_rank(config_file: Path, tmp_path: Path, head_settings: str) -> None:
    """One rank, two ranks, and two ranks that resume a run of three ranks."""
    frequencies = tmp_path / "frequencies.tsv"
    WordFrequencies(50, {f"word{number}": number + 1 for number in range(50)}).save(frequencies)
    text = config_file.read_text()
    if head_settings == SOFT:
        text = text.replace("labels_per_sample = 4\n", "")
    config_file.write_text(text + head_settings.replace("FREQUENCIES", str(frequencies)))
    train(load_config(config_file))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for ranks, steps, run in ((2, 12, "two"), (3, 12, "mixed")):
        settings = ["--set", f"run.output={tmp_path / run}", "--set", f"run.steps={steps}"]
        subprocess.run(
            command(config_file, *settings, "--nproc-per-node", str(ranks)), check=True, timeout=240, env=environment
        )
    assert_same_course(metrics(tmp_path / "two"), metrics(tmp_path / "run"), 1e-4)
    assert_same_course(metrics(tmp_path / "mixed"), metrics(tmp_path / "run"), 1e-4)
    for newer in complete_checkpoints(tmp_path / "mixed" / "checkpoints")[1:]:
        newer.rename(tmp_path / newer.name)
    settings = ["--set", f"run.output={tmp_path / 'mixed'}"]
    subprocess.run(command(config_file, *settings, "--nproc-per-node", "2"), check=True, timeout=240, env=environment)
    assert_same_course(metrics(tmp_path / "mixed"), metrics(tmp_path / "run"), 1e-4)
    one, mixed = (
        TrainedRun.load(tmp_path / name, torch.device("cpu")).model.heads["ocr"].weight for name in ("run", "mixed")
    )
    torch.testing.assert_close(mixed, one, rtol=0, atol=5e-3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_stops(config_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    settings = ["--set", "run.steps=100000", "--set", "run.checkpoint_every=100000"]
    process = subprocess.Popen(command(config_file, *settings), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "metrics.jsonl").is_file() or not (tmp_path / "run" / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline, "no step was done"
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (checkpoint,) = complete_checkpoints(tmp_path / "run" / "checkpoints")
    steps = int(checkpoint.name)
    assert errors.splitlines()[-1] == (
        f"ovocr: stopped; {steps} steps saved in {tmp_path / 'run'}; run the same command to resume"
    )
    assert len(metrics(tmp_path / "run")) == steps
    assert not (tmp_path / "run" / ".lock").exists()


def test_two_runs_in_one_folder_raise(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    with RunFolder(tmp_path / "run").lock(), pytest.raises(OvocrError, match="another process is training in this"):
        train(config)
    assert train(config).first_step == 0


def test_ranks_start_next_to_a_folder_named_ovocr(config_file: Path, tmp_path: Path) -> None:
    """Such as the parent folder of a checkout, which Python would import as the package."""
    (tmp_path / "ovocr").mkdir()
    arguments = ["--set", "run.steps=2", "--nproc-per-node", "2"]
    program = f"from ovocr.cli import main; main(['train', {str(config_file)!r}, *{arguments!r}])"
    script = tmp_path / "elsewhere" / "start.py"
    script.parent.mkdir()
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(metrics(tmp_path / "run")) == 2


def test_resume_with_a_different_configuration_raises(config_file: Path) -> None:
    train(load_config(config_file, ["run.steps=4"]))
    with pytest.raises(
        OvocrError, match=r"contains a run with a different configuration \(run.steps was 4, is now 6\)"
    ):
        train(load_config(config_file, ["run.steps=6"]))
    again = train(
        load_config(config_file, ["run.steps=4", "run.log_every=1", "loader.workers=1", "tracking.trackers=[]"])
    )
    assert again.first_step == 4


def test_differing_setting_is_named(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file, ["run.steps=2"]))
    for settings, difference in (
        (["heads.ocr.lr_scale=2"], "heads.ocr.lr_scale was 50.0, is now 2.0"),
        (["heads.ocr.mixing_weights=[1]"], r"heads.ocr.mixing_weights was not set, is now \[1.0\]"),
        (["heads.ocr.margin.m2=0.25"], "heads.ocr.margin.m2 was 0.5, is now 0.25"),
    ):
        with pytest.raises(OvocrError, match=rf"a different configuration \({difference}\)"):
            train(load_config(config_file, ["run.steps=2", *settings]))
    (tmp_path / "moved").mkdir()
    (tmp_path / "labels").rename(tmp_path / "moved" / "labels")
    again = train(load_config(config_file, ["run.steps=2", f'heads.ocr.data=["{tmp_path}/moved/labels"]']))
    assert again.first_step == 2


def test_infinite_loss_names_head_step_samples_and_learning_rate(config_file: Path) -> None:
    config = load_config(config_file, ["optimizer.lr=1e30", "optimizer.warmup_steps=0"])
    with pytest.raises(
        OvocrError,
        match=r"^step \d+, head ocr: the loss is (nan|inf); samples: .*rec/0000\d.rec id \d+.*; the learning rate may "
        r"be too high: optimizer.lr is 1e\+30, times heads.ocr.lr_scale, 50$",
    ):
        train(config)


def test_infinite_loss_of_the_first_step_is_not_due_to_the_learning_rate(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file, ["run.steps=2", f"run.output={tmp_path / 'start'}"]))
    export_encoder(tmp_path / "start", tmp_path / "encoder")
    weights = load_file(tmp_path / "encoder" / "model.safetensors")
    next(value for value in weights.values() if value.dim() > 1).fill_(torch.nan)
    save_file(weights, tmp_path / "encoder" / "model.safetensors")
    with pytest.raises(OvocrError, match=r"^step 0, head ocr: the loss is nan; samples: [^;]*rec id \d+[^;]*$"):
        train(load_config(config_file, [f"backbone.init_from={tmp_path / 'encoder'}"]))


def test_incomplete_checkpoint_is_not_used(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file, ["run.steps=4"]))
    (tmp_path / "run" / "checkpoints" / "00000004" / "state.json").unlink()
    with pytest.raises(OvocrError, match="no complete checkpoint yet"):
        TrainedRun.load(tmp_path / "run", torch.device("cpu"))


def test_resume_with_changed_data_raises(config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path]) -> None:
    train(load_config(config_file, ["run.steps=4"]))
    make_data_set("labels", [17, 8], patterned=True)
    with pytest.raises(OvocrError, match="head ocr was trained on 24 samples, but its data have 25 now"):
        train(load_config(config_file, ["run.steps=4"]))
    make_data_set("labels", [17, 7], words=[f"other{n}" for n in range(50)])
    with pytest.raises(OvocrError, match="head ocr was trained with a different vocabulary than its data have now"):
        train(load_config(config_file, ["run.steps=4"]))
    assert (tmp_path / "run" / "vocab" / "ocr.txt").read_text().startswith("word0\n")


def test_more_classes_than_words_raise(config_file: Path) -> None:
    with pytest.raises(OvocrError, match=r"heads.ocr.num_classes: 51, but its vocabulary has 50"):
        train(load_config(config_file, ["heads.ocr.num_classes=51"]))


def test_unavailable_implementation_raises(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    config = load_config(config_file, ["heads.ocr.implementation=triton", "run.device=cpu"])
    with pytest.raises(
        UsageError, match=r"^heads\.ocr\.implementation: (implementation 'triton' needs CUDA|Triton is not)"
    ):
        train(config)


def test_loss_weight_scales_loss_and_gradient(config_file: Path, tmp_path: Path) -> None:
    for weight in (1, 3):
        settings = [f"heads.ocr.loss_weight={weight}", f"run.output={tmp_path / str(weight)}", "run.steps=1"]
        train(load_config(config_file, [*settings, "optimizer.warmup_steps=1"]))
    (plain,), (weighted,) = metrics(tmp_path / "1"), metrics(tmp_path / "3")
    assert weighted["loss"] == pytest.approx(3 * plain["loss"])
    assert weighted["grad_norm"] == pytest.approx(3 * plain["grad_norm"], rel=1e-4)
    assert weighted["heads"]["ocr"]["loss"] == pytest.approx(plain["heads"]["ocr"]["loss"])


def test_precision_reaches_the_backbone(config_file: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bf16"):
        settings = [f"run.precision={precision}", f"run.output={tmp_path / precision}", "run.steps=1"]
        train(load_config(config_file, [*settings, "optimizer.warmup_steps=1"]))
    exact, rounded = (metrics(tmp_path / name)[0]["grad_norm"] for name in ("float32", "bf16"))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.1)


def test_error_on_several_ranks_is_printed_once(config_file: Path) -> None:
    arguments = ["--set", "run.stepz=3", "--nproc-per-node", "2"]
    done = subprocess.run(command(config_file, *arguments), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("ovocr: --set: run.stepz: ")

"""Whole runs that are extended: they are those that were planned with the longer length, bit for bit."""

import errno
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.dry_run import dry_run
from ovocr.trainer.training.loop import Summary, train
from ovocr.trainer.training.model import TrainedRun

CPU = torch.device("cpu")
TIMES = ("images_per_s", "data_wait_s", "model_tflops_per_s", "mfu", "memory_gb", "evaluation_s")
WSD = ("optimizer.schedule=wsd", "optimizer.cooldown_steps=4")
# The start of no cooldown below is a multiple of checkpoint_every.
RARE_CHECKPOINTS = ("run.checkpoint_every=7", "run.keep_checkpoints=1")


def run_to(config_file: Path, output: Path, *settings: str, extend: bool = False) -> Summary:
    return train(load_config(config_file, [f"run.output={output}", *settings]), extend=extend)


def steps_of(run: Path) -> list[int]:
    return [int(path.name) for path in complete_checkpoints(run / "checkpoints")]


def lines(run: Path) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl without times and marks."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in (*TIMES, "extended")} for line in found]


def marks(run: Path) -> dict[int, dict[str, int]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["extended"] for line in found if "extended" in line}


def extensions(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "extensions.jsonl").read_text().splitlines()]


def assert_same_tensors(found: Path, wanted: Path, step: int) -> None:
    """Asserts that the files with the tensors of two checkpoints are equal, byte by byte."""
    names = sorted(path.name for path in RunFolder(wanted).checkpoint(step).glob("*.distcp"))
    assert names
    for name in names:
        one, other = (RunFolder(run).checkpoint(step) / name for run in (found, wanted))
        assert one.read_bytes() == other.read_bytes(), name


@pytest.mark.parametrize("head_settings", [(), ("heads.ocr.embedding_norm=batch",)], ids=["plain", "norm"])
def test_a_run_extended_twice_is_the_run_planned_so(
    config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path], head_settings: Sequence[str]
) -> None:
    held_out = make_data_set("held_out", [12], patterned=True)
    evaluation = (f'evaluation.data=["{held_out}"]', "evaluation.every=8", "evaluation.replicates=20")
    settings = (*WSD, *RARE_CHECKPOINTS, *head_settings, *evaluation)
    run, planned = tmp_path / "run", tmp_path / "planned"
    train(load_config(config_file, settings))
    assert steps_of(run)[-2:] == [8, 12]
    summary = run_to(config_file, run, *settings, "run.steps=20", extend=True)
    assert f"12 steps (from step 8) in {summary.seconds:.0f} s, last loss" in summary.format()
    kept = f"the run of 12 steps is kept in {run}/superseded/00000012"
    assert summary.format().endswith(f"; extended from 12 to 20 steps, going on from step 8; {kept}")
    longest = (*settings, "run.steps=30", "optimizer.cooldown_steps=6")
    run_to(config_file, run, *longest, extend=True)
    run_to(config_file, planned, *longest)

    assert_same_tensors(run, planned, 24)
    assert_same_tensors(run, planned, 30)
    assert lines(run) == lines(planned)
    assert marks(run) == {8: {"old_steps": 12, "steps": 20}, 16: {"old_steps": 20, "steps": 30}}
    keys = ("from_step", "trained_steps", "old_steps", "steps", "schedule", "cooldown_steps", "superseded")
    assert [[record[key] for key in keys] for record in extensions(run)] == [
        [8, 12, 12, 20, "wsd", 4, "superseded/00000012"],
        [16, 20, 20, 30, "wsd", 6, "superseded/00000020"],
    ]
    assert not (planned / "extensions.jsonl").exists()
    assert load_config(run / "config.toml").run.steps == 30
    for extend in (False, True):
        assert "nothing to do, 30 steps already done" in run_to(config_file, run, *longest, extend=extend).format()
    assert len(extensions(run)) == 2
    assert sorted(path.name for path in (run / "superseded").iterdir()) == ["00000012", "00000020"]

    first = run / "superseded" / "00000012"
    assert [line["step"] for line in lines(first)] == list(range(12))
    assert lines(first)[:8] == lines(run)[:8]
    assert "evaluation" in lines(first)[11]
    assert steps_of(first)[-1] == 12
    assert TrainedRun.load(first, CPU).step == 12
    assert export_encoder(run / "superseded" / "00000020", tmp_path / "encoder").step == 20
    evaluation = evaluate(first, [held_out], device="cpu", replicates=20).to_json()
    assert evaluation["heads"]["ocr"]["word_auc"]["value"] > 0.6
    assert train(load_config(first / "config.toml")).format() == f"{first}: nothing to do, 12 steps already done"


def test_tensorboard_has_the_extension(config_file: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train(load_config(config_file, WSD))
    run_to(config_file, run, *WSD, "run.steps=20", extend=True)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("extended/steps")] == [(8, 20)]
    assert any((run / "superseded" / "00000012" / "tensorboard").iterdir())


def test_before_its_cooldown_a_run_goes_on_from_the_newest_checkpoint(config_file: Path, tmp_path: Path) -> None:
    run, planned = tmp_path / "run", tmp_path / "planned"
    settings = (*WSD, "run.checkpoint_every=3", "run.keep_checkpoints=9")
    train(load_config(config_file, settings))
    for step in (8, 9, 12):
        RunFolder(run).checkpoint(step).rename(tmp_path / str(step))  # as after a kill at step 7
    summary = run_to(config_file, run, *settings, "run.steps=16", extend=True)
    assert summary.format().endswith("; extended from 12 to 16 steps, going on from step 6")
    run_to(config_file, planned, *settings, "run.steps=16")
    assert_same_tensors(run, planned, 16)
    assert lines(run) == lines(planned)
    assert not (run / "superseded").exists()
    assert extensions(run)[0]["superseded"] is None


@pytest.mark.parametrize("extend", [True, False])
def test_an_interrupted_extension_is_completed_when_the_run_starts(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extend: bool
) -> None:
    run, planned, longer = tmp_path / "run", tmp_path / "planned", (*WSD, "run.steps=20")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    train(load_config(config_file, WSD))
    with monkeypatch.context() as patched:
        patched.setattr("ovocr.trainer.runs.extension.shutil.copy2", fail)
        with pytest.raises(OvocrError, match="/run: the run cannot be extended: No space left on device; run the same"):
            run_to(config_file, run, *longer, extend=True)
    assert steps_of(run)[-1] == 8
    with pytest.raises(OvocrError, match=r"\(run.steps was 20, is now 12\)"):
        run_to(config_file, run, *WSD)
    run_to(config_file, run, *longer, extend=extend)
    run_to(config_file, planned, *longer)
    assert_same_tensors(run, planned, 20)
    assert lines(run) == lines(planned)
    assert len(extensions(run)) == 1


def test_a_finished_polynomial_run_gets_a_new_schedule(config_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(load_config(config_file))
    (run / "versions.json").write_text("those of before")
    new = (*WSD, "run.steps=24", "optimizer.warmup_steps=3")
    summary = run_to(config_file, run, *new, extend=True)
    assert summary.first_step == 12
    assert [line["lr"] for line in lines(run)[12:]] == pytest.approx(
        [1e-3 / 3, 2e-3 / 3, *[1e-3] * 6, 1e-3, 0.5e-3, 1e-3 * (1 - 0.5**0.5), 1e-3 * (1 - 0.75**0.5)]
    )
    assert marks(run) == {12: {"old_steps": 12, "steps": 24}}
    assert load_config(run / "config.toml").optimizer.schedule_start == 12
    assert extensions(run)[0]["schedule_start"] == 12
    assert steps_of(run / "superseded" / "00000012") == [12]
    assert (run / "superseded" / "00000012" / "versions.json").read_text() == "those of before"
    assert json.loads((run / "versions.json").read_text())["torch"] == torch.__version__
    assert TrainedRun.load(run / "superseded" / "00000012", CPU).config.optimizer.schedule == "polynomial"

    # Resumed from a checkpoint in the middle, without the flag: the same rates and losses.
    whole = lines(run)
    for step in (20, 24):
        RunFolder(run).checkpoint(step).rename(tmp_path / str(step))
    assert steps_of(run)[-1] == 16
    assert run_to(config_file, run, *new).first_step == 16
    assert lines(run) == whole
    # And extended once more, from the start of its cooldown.
    longer = (*new, "run.steps=30")
    assert run_to(config_file, run, *longer, extend=True).first_step == 20
    assert lines(run)[:20] == whole[:20]
    assert lines(run)[25]["lr"] == 1e-3

    for step in steps_of(run):
        RunFolder(run).checkpoint(step).rename(tmp_path / f"{step} again")
    RunFolder(run / "superseded" / "00000012").checkpoint(12).rename(RunFolder(run).checkpoint(11))
    state = json.loads((RunFolder(run).checkpoint(11) / "state.json").read_text())
    (RunFolder(run).checkpoint(11) / "state.json").write_text(json.dumps({**state, "step": 11}))
    with pytest.raises(
        OvocrError, match=r"optimizer.schedule_start: 12 is after the newest checkpoint in .*, of 11 st"
    ):
        run_to(config_file, run, *longer)


def test_an_extended_run_resumes_after_sigterm(config_file: Path, tmp_path: Path, runs: Any) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    longer = (*WSD, "run.steps=60", "run.checkpoint_every=1000")
    train(load_config(config_file, WSD))
    stopped = runs.start(config_file, *longer, extend=True)
    while "extended from 12 to 60 steps" not in (line := stopped.stderr.readline()):
        assert line, "the run ended"
    stopped.send_signal(signal.SIGTERM)
    _, errors = stopped.communicate(timeout=100)
    assert stopped.returncode == 1
    assert f"steps saved in {run}; run the same command to resume" in errors
    assert 8 < steps_of(run)[-1] < 60
    assert "(from step " in runs.finish(config_file, *longer, extend=True)
    runs.finish(config_file, *longer, f"run.output={whole}")
    assert_same_tensors(run, whole, 60)
    assert lines(run) == lines(whole)
    assert len(extensions(run)) == 1


def test_two_ranks_extend_a_run(config_file: Path, tmp_path: Path, runs: Any) -> None:
    run, planned = tmp_path / "run", tmp_path / "planned"
    longer = (*WSD, "run.steps=20")
    runs.finish(config_file, *WSD, ranks=2)
    output = runs.finish(config_file, *longer, ranks=2, extend=True)
    assert output.count("extended from 12 to 20 steps") == 1
    runs.finish(config_file, *longer, f"run.output={planned}", ranks=2)
    assert_same_tensors(run, planned, 20)
    assert lines(run) == lines(planned)
    # A new schedule reaches both ranks.
    start = tmp_path / "start"
    runs.finish(config_file, f"run.output={start}", ranks=2)
    new = (*longer, f"run.output={start}")
    runs.finish(config_file, *new, ranks=2, extend=True)
    assert [line["lr"] for line in lines(start)[12:16]] == pytest.approx([5e-4, 1e-3, 1e-3, 1e-3])
    assert "nothing to do" in runs.finish(config_file, *new, ranks=2)


def test_a_refused_extension_changes_nothing(
    config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path]
) -> None:
    """Also if the data or the checkpoint are found wrong only after the configuration was checked."""
    run, longer = tmp_path / "run", (*WSD, "run.steps=20")
    train(load_config(config_file, WSD))

    def content() -> dict[str, bytes]:
        found = {path for path in run.rglob("*") if path.is_file()}
        return {str(path): path.read_bytes() for path in found}

    before = content()
    make_data_set("labels", [17, 8], patterned=True)
    with pytest.raises(OvocrError, match="head ocr was trained on 24 samples, but its data have 25 now"):
        run_to(config_file, run, *longer, extend=True)
    make_data_set("labels", [17, 7], words=[f"other{n}" for n in range(50)])
    with pytest.raises(OvocrError, match="head ocr was trained with a different vocabulary than its data have now"):
        run_to(config_file, run, *longer, extend=True)
    assert content() == before
    make_data_set("labels", [17, 7], patterned=True)
    tensors = RunFolder(run).checkpoint(8) / "__0_0.distcp"
    damaged = bytearray(tensors.read_bytes())
    damaged[5000] ^= 1
    tensors.write_bytes(damaged)
    with pytest.raises(OvocrError, match=r"00000008/__0_0.distcp: checksum does not match"):
        run_to(config_file, run, *longer, extend=True)
    tensors.write_bytes(before[str(tensors)])
    assert content() == before
    assert run_to(config_file, run, *longer, extend=True).first_step == 8


def test_dry_run_describes_schedule_extension_and_checkpoints(config_file: Path, tmp_path: Path) -> None:
    def output(*settings: str, extend: bool = False) -> list[str]:
        return list(dry_run(load_config(config_file, settings), extend=extend))

    plain = output()
    assert plain[0] == (
        "learning rate: schedule polynomial from step 0: 2 steps of warm-up to 0.001, then a decay of power 2 until "
        "step 12"
    )
    assert not (tmp_path / "run").exists()
    train(load_config(config_file))
    extension, learning_rate = output(*WSD, "run.steps=24", extend=True)[:2]
    kept = f"the run of 12 steps is kept in {tmp_path}/run/superseded/00000012"
    assert extension == f"extension: from 12 to 24 steps, going on from step 12; {kept}"
    assert learning_rate == (
        "learning rate: schedule wsd from step 12: 2 steps of warm-up to 0.001, constant until step 20, a cooldown "
        "until step 24"
    )
    assert output(extend=True)[0] == "extension: none, the run has these settings"
    assert not (tmp_path / "run" / "superseded").exists()
    (checkpoints,) = (line for line in plain if line.startswith("checkpoints: "))
    assert "at most 4 at a time (the newest 3, one being written)" in checkpoints
    assert checkpoints.endswith(f" GB free at {tmp_path}/run")

"""Evaluation during training: the figures of `ovocr eval`, without effect on the steps, and the best checkpoint."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from click.testing import CliRunner

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.recordio import RecordReader
from ovocr.trainer.config.file import load_config
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.measures.word_figures import WordMeasures
from ovocr.trainer.measures.word_measures import measure_words
from ovocr.trainer.runs.best_checkpoint import best_checkpoint, read_evaluation
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.trainer.training.evaluation_result import EvaluationResult
from ovocr.trainer.training.evaluator import Evaluator
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import TrainedRun
from tests.trainer.conftest import WORDS
from tests.trainer.damage import damage_images
from tests.trainer.placed_words import BOXES, flat, painted, write_placed

Maker = Callable[..., Path]


@pytest.fixture
def evaluated(config_file: Path, tmp_path: Path, make_data_set: Maker) -> Path:
    """Adds two held-out data sets to the configuration; of the second one, no word has enough images."""
    make_data_set("held/receipts", [40, 27], patterned=True, first_colour=1)
    make_data_set("held/few", [3], patterned=True)
    with config_file.open("a") as file:
        file.write(
            f"""
[evaluation]
data = ["{tmp_path}/held/receipts", "{tmp_path}/held/few"]
every = 5
replicates = 40
"""
        )
    return config_file


def steps_of(run: Path) -> list[int]:
    return [int(path.name) for path in complete_checkpoints(run / "checkpoints")]


def evaluations(run: Path) -> dict[int, dict[str, Any]]:
    """Returns the entries about evaluations, without their duration, by number of finished steps."""
    keys = ("evaluation", "evaluation_mean_word_auc")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"] + 1: {key: line[key] for key in keys} for line in lines if "evaluation" in line}


def assert_close(found: Any, wanted: Any, tolerance: float) -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_close(found[key], wanted[key], tolerance)
    else:
        assert found == (pytest.approx(wanted, abs=tolerance) if isinstance(wanted, float) else wanted)


def test_figures_are_those_of_eval_and_steps_do_not_change(evaluated: Path, tmp_path: Path, runs: Any) -> None:
    """On one rank, on two ranks, and on two ranks that split the backbone."""
    run = tmp_path / "run"
    train(load_config(evaluated))
    train(load_config(evaluated, ["evaluation.every=0", f"run.output={tmp_path / 'plain'}"]))
    runs.assert_same_metrics(run, tmp_path / "plain", 0)
    found = evaluations(run)
    assert list(found) == [5, 10, 12]
    for step in (10, 12):
        for name in ("receipts", "few"):
            (wanted,) = evaluate(run, [tmp_path / "held" / name], step=step, replicates=40).to_json()["heads"].values()
            reading = {key: wanted[key] for key in ("images", "groups", "word_auc", "word_map")}
            reading |= {key: wanted[key] for key in ("by_text_height", "by_script", "by_frequency")}
            reading |= {"skipped": 0, "whole_crops": None, "trained_on": wanted["trained_on"]["images"]}
            assert_close(found[step]["evaluation"]["ocr"][name], reading, 1e-6)
    receipts = found[12]["evaluation"]["ocr"]["receipts"]
    assert receipts["word_auc"]["classes"] == 50
    assert receipts["word_auc"]["low"] < receipts["word_auc"]["value"] < receipts["word_auc"]["high"]
    assert found[12]["evaluation_mean_word_auc"] == receipts["word_auc"]["value"]
    assert found[12]["evaluation"]["ocr"]["few"]["word_auc"]["value"] is None
    for parallel in ("ddp", "fsdp2"):
        output = tmp_path / parallel
        settings = (f"run.output={output}", f"run.backbone_parallel={parallel}", "loader.workers=1")
        runs.finish(evaluated, *settings, ranks=2)
        runs.assert_same_metrics(output, run, 2e-3)
        assert_close(evaluations(output), found, 2e-3)
        assert steps_of(output) == steps_of(run)


@pytest.fixture
def placed(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replaces the held-out data of the configuration by twelve images with five words of eight at known places."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _, jpeg = cv2.imencode(".jpg", painted())
    records = []
    for number in range(12):
        slots = [(number + slot) % 8 for slot in range(5)] * 2
        records.append((jpeg.tobytes(), slots, [flat(box) for box in BOXES]))
    root = write_placed(tmp_path / "held" / "placed", records, WORDS)
    evaluated.write_text(re.sub(r"(?m)^data = .*held.*$", f'data = ["{root}"]', evaluated.read_text()))
    return evaluated


CROPS = ("evaluation.crops=5", "evaluation.crop_text_height=[6, 12]", "evaluation.min_text_height=7")


@pytest.mark.parametrize("own_crops", ["", "heads.ocr.crop_scale=[0.2, 0.6]", "heads.ocr.crop_text_height=[5, 6]"])
@pytest.mark.parametrize("options", [CROPS, CROPS[::2]])
def test_figures_of_crops_are_those_of_eval(
    placed: Path, tmp_path: Path, runs: Any, own_crops: str, options: tuple[str, ...]
) -> None:
    """With text heights of their own for every head, and by the settings of a head that is trained on crops."""
    run, settings = tmp_path / "run", [*options, *filter(None, [own_crops]), "evaluation.every=12"]
    config = load_config(placed, settings)
    if not own_crops and len(options) < 3:
        message = (
            "^evaluation.crops: head ocr is trained on whole images, without crop_scale or crop_text_height; choose "
            "the text heights of the crops with evaluation.crop_text_height$"
        )
        with pytest.raises(UsageError, match=message):
            train(config)
        assert not (run / "config.toml").exists()
        return
    train(config)
    found = evaluations(run)[12]
    heights = config.evaluation.crop_text_height
    wanted = evaluate(
        run,
        [tmp_path / "held" / "placed"],
        step=12,
        crops=5,
        crop_text_height=heights,
        min_text_height=7,
        replicates=40,
    ).to_json()["heads"]["ocr"]
    reading = {key: wanted[key] for key in ("images", "skipped", "whole_crops", "groups", "word_auc", "word_map")}
    reading |= {key: wanted[key] for key in ("by_text_height", "by_script", "by_frequency")}
    reading["trained_on"] = wanted["trained_on"]["images"]
    assert_close(found["evaluation"]["ocr"]["placed"], reading, 1e-6)
    assert (reading["images"], reading["groups"]) == (60, 12)
    if heights is not None:
        assert reading["word_auc"]["classes"] > 0
        assert reading["word_auc"]["low"] < reading["word_auc"]["value"] < reading["word_auc"]["high"]
        saved = read_evaluation(run / "checkpoints" / "00000012")
        assert saved is not None
        assert (saved.images, saved.crops, saved.crop_text_height) == ({"ocr": {"placed": 12}}, 5, (6.0, 12.0))


def test_crops_are_evaluated_on_several_ranks(placed: Path, tmp_path: Path, runs: Any) -> None:
    train(load_config(placed, CROPS))
    for parallel in ("ddp", "fsdp2"):
        output = tmp_path / parallel
        settings = (*CROPS, f"run.output={output}", f"run.backbone_parallel={parallel}", "loader.workers=1")
        runs.finish(placed, *settings, ranks=2)
        runs.assert_same_metrics(output, tmp_path / "run", 2e-3)
        assert_close(evaluations(output), evaluations(tmp_path / "run"), 2e-3)


def test_crops_of_a_share_of_the_images_with_groups_and_damage(placed: Path, tmp_path: Path, capsys: Any) -> None:
    """The crops of an image are in its group, also if it is not in the table; images are counted, not crops."""
    damage_images(tmp_path / "held" / "placed", 4)
    (tmp_path / "shops.csv").write_text("key,group\n0.png,a\n2.png,a\n4.png,b\n7.png,b\n9.png,c\n")
    settings = [*CROPS, "evaluation.images=6", f"evaluation.groups={tmp_path / 'shops.csv'}", "evaluation.every=12"]
    train(load_config(placed, settings))
    # images 0, 2, 4, 7, 9 and 11, of which 4 is damaged and 11 is not in the table
    entry = evaluations(tmp_path / "run")[12]["evaluation"]["ocr"]["placed"]
    assert (entry["images"], entry["skipped"], entry["whole_crops"], entry["groups"]) == (25, 1, 0, 4)
    saved = read_evaluation(tmp_path / "run" / "checkpoints" / "00000012")
    assert saved is not None
    assert saved.images == {"ocr": {"placed": 6}}
    told = capsys.readouterr().err
    assert told.count("ovocr: evaluation.data: skipped: ") == 1
    assert ", 1 damaged image skipped; " in told
    assert train(load_config(placed, settings)).format().endswith(": nothing to do, 12 steps already done")


def test_changed_crops_evaluate_a_finished_run_again(placed: Path, tmp_path: Path, capsys: Any) -> None:
    run, crops = tmp_path / "run", ["evaluation.crops=5", "evaluation.crop_text_height=[6, 12]"]
    every = ["evaluation.every=12", "evaluation.min_text_height=0"]
    train(load_config(placed, every))
    for settings in (crops, [crops[0], "evaluation.crop_text_height=[5, 9]"], ["evaluation.crops=6", crops[1]], []):
        config = load_config(placed, [*settings, *every])
        capsys.readouterr()
        assert train(config).format() == f"{run}: evaluated after 12 steps, which were already done"
        assert capsys.readouterr().err.count("; the best so far; ") == 1
        assert train(config).format() == f"{run}: nothing to do, 12 steps already done"
        assert best_checkpoint(run / "checkpoints") == run / "checkpoints" / "00000012"


def plan_word_auc(monkeypatch: pytest.MonkeyPatch, values: list[float | None]) -> None:
    """Replaces the word AUC of the next data sets that are evaluated; everything else is real."""
    planned = iter(values)

    def measure(*arguments: Any, **options: Any) -> WordMeasures:
        measured = measure_words(*arguments, **options)
        word_auc = replace(measured.every.word_auc, value=next(planned))
        return replace(measured, every=replace(measured.every, word_auc=word_auc))

    monkeypatch.setattr("ovocr.trainer.training.evaluator.measure_words", measure)


def test_best_checkpoint_is_kept_and_used(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_word_auc(monkeypatch, [None, 0.6, 0.7, 0.65, 0.7, 0.5])
    run, receipts = tmp_path / "run", tmp_path / "held" / "receipts"
    settings = [f'evaluation.data=["{receipts}"]', "evaluation.every=2", "run.keep_checkpoints=1"]
    train(load_config(evaluated, [*settings, "run.checkpoint_every=5"]))
    assert steps_of(run) == [6, 12]
    assert best_checkpoint(run / "checkpoints") == run / "checkpoints" / "00000006"
    lines = [line for line in capsys.readouterr().err.splitlines() if "word AUC" in line]
    assert ["; the best so far; " in line for line in lines] == [False, True, True, False, False, False]
    assert re.fullmatch(
        r"step 2/12: word AUC of ocr on receipts: none; \d+\.\d s; none: no word has 5 images with it in text of at "
        r"least 8 pixels and 5 without; lower evaluation.min_text_height, raise image_size, or take more images",
        lines[0],
    )
    assert re.fullmatch(r"step 8/12: word AUC of ocr on receipts: 0\.650 \(0\.\d{3} to 0\.\d{3}\); \d+\.\d s", lines[3])
    assert TrainedRun.load(run, torch.device("cpu"), "best").step == 6
    image = tmp_path / "image.jpg"
    image.write_bytes(RecordReader(receipts / "rec" / "00000")[3].image)
    newest, best = (
        CliRunner().invoke(main, ["read", str(run), str(image), *step]).output for step in ([], ["--step", "best"])
    )
    assert newest.startswith(f"{image}:\n")
    assert best != newest
    assert best == CliRunner().invoke(main, ["read", str(run), str(image), "--step", "6"]).output
    for command, told in (
        (["eval", str(run), "--data", str(receipts), "--json", "-"], '"step": 6'),
        (["export", str(run), str(tmp_path / "out")], "out: backbone after 6 steps"),
    ):
        done = CliRunner().invoke(main, [*command, "--step", "best"])
        assert done.exit_code == 0, done.output
        assert told in done.output
    refused = CliRunner().invoke(main, ["export", str(run), str(tmp_path / "out"), "--step", "last"])
    assert (refused.exit_code, refused.output) == (
        2,
        "ovocr: --step last: must be a number of steps, at least 1, or best\n",
    )


def test_killed_run_resumes_with_the_same_evaluations(evaluated: Path, tmp_path: Path, runs: Any) -> None:
    settings = ("run.steps=60", "evaluation.every=7", "run.keep_checkpoints=2")
    runs.finish(evaluated, *settings, f"run.output={tmp_path / 'whole'}")
    process = runs.start(evaluated, *settings)
    runs.wait_for_checkpoints(tmp_path / "run", 3, process)  # with a best one
    process.kill()
    process.communicate()
    assert "(from step " in runs.finish(evaluated, *settings)
    runs.assert_same_metrics(tmp_path / "run", tmp_path / "whole", 1e-6)
    found, whole = evaluations(tmp_path / "run"), evaluations(tmp_path / "whole")
    assert list(found) == [*range(7, 60, 7), 60]
    assert_close(found, whole, 1e-6)
    assert steps_of(tmp_path / "run") == steps_of(tmp_path / "whole")
    best = max(whole.values(), key=lambda entry: entry["evaluation_mean_word_auc"])["evaluation_mean_word_auc"]
    checkpoint = best_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    evaluation = read_evaluation(checkpoint)
    assert evaluation is not None
    assert evaluation.mean_word_auc == pytest.approx(best, abs=1e-6)


def test_stop_in_an_evaluation_is_made_up_for(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops in the first evaluation, when it is made up for, and in the evaluation after the last step."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(load_config(evaluated, [f"run.output={whole}"]))
    evaluate_all, calls = Evaluator.evaluate, iter([True, True, False, False, True, False])

    def evaluate_or_stop(*arguments: Any) -> EvaluationResult | None:
        if next(calls):
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate_all(*arguments)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate_or_stop)
    config = load_config(evaluated)
    for done, found in ((5, []), (5, []), (12, [5, 10])):
        with pytest.raises(OvocrError, match=rf"^stopped; {done} steps saved in .*; run the same command to resume$"):
            train(config)
        assert list(evaluations(run)) == found
        assert read_evaluation(complete_checkpoints(run / "checkpoints")[-1]) is None
    assert train(config).format() == f"{run}: evaluated after 12 steps, which were already done"
    assert train(config).format() == f"{run}: nothing to do, 12 steps already done"
    assert_close(evaluations(run), evaluations(whole), 1e-6)
    assert steps_of(run) == steps_of(whole)
    for step in steps_of(run):
        one, other = (read_evaluation(root / "checkpoints" / f"{step:08d}") for root in (run, whole))
        assert (one is None) == (other is None) == (step not in (5, 10, 12))


def test_failed_evaluation_loses_no_step(evaluated: Path, tmp_path: Path) -> None:
    """The held-out data can be read when the run starts, but not after its last step."""
    shutil.copytree(tmp_path / "held" / "receipts", tmp_path / "copy")
    settings = [f'evaluation.data=["{tmp_path}/copy"]', "evaluation.every=100"]
    path, real = tmp_path / "copy" / "ocr" / "00000.parquet", Evaluator.__init__

    def remove_text(*arguments: Any) -> None:
        real(*arguments)
        path.unlink()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Evaluator, "__init__", remove_text)
        with pytest.raises(OvocrError, match="copy/ocr/00000.parquet"):
            train(load_config(evaluated, settings))
    assert steps_of(tmp_path / "run") == [4, 8, 12]
    shutil.copy(tmp_path / "held" / "receipts" / "ocr" / "00000.parquet", path)
    assert train(load_config(evaluated, settings)).first_step == 12
    assert list(evaluations(tmp_path / "run")) == [12]


def test_killed_rank_is_named(evaluated: Path, tmp_path: Path, make_data_set: Maker, runs: Any) -> None:
    """The rank dies in an evaluation of many images, which takes most of the run's time."""
    many = make_data_set("held/many", [1500], patterned=True)
    settings = (f'evaluation.data=["{many}"]', "evaluation.every=1", "run.steps=100000")
    process = runs.start(evaluated, *settings, ranks=2)
    for line in process.stderr:
        if "word AUC" in line:
            break
    victim = runs.rank_process(process, 1)
    time.sleep(0.5)  # a step of this run takes a few hundredths of a second
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 1
    lines = errors.splitlines()
    (message,) = [line for line in lines if line.startswith("ovocr: rank 0: the run ended because rank 1 (")]
    assert f"process {victim}) does not answer: it died or hangs" in message
    assert not [line for line in lines if "Traceback" in line]


def test_damaged_images_are_skipped_and_named_once(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage_images(tmp_path / "held" / "receipts", 4, shard=1)
    damage_images(tmp_path / "held" / "few", 0, 1, 2)
    train(load_config(evaluated))
    told = capsys.readouterr().err
    for place in (
        "receipts/rec/00001.rec id 4 (4.jpg of source1.tar)",
        "few/rec/00000.rec id 0 (0.jpg of source0.tar)",
    ):
        line = f"ovocr: evaluation.data: skipped: {tmp_path}/held/{place}: not a JPEG, PNG or WebP image\n"
        assert told.count(line) == 1
    assert ", 1 damaged image skipped, few: none, 3 damaged images skipped; " in told
    for found in evaluations(tmp_path / "run").values():
        counts = [(entry["images"], entry["skipped"]) for entry in found["evaluation"]["ocr"].values()]
        assert counts == [(66, 1), (0, 3)]


def test_a_share_of_the_images_and_groups(evaluated: Path, tmp_path: Path) -> None:
    rows = [f"{record}.jpg,shop {record % 7}\n" for record in range(40)]
    (tmp_path / "shops.csv").write_text("key,group\n" + "".join(rows))
    settings = ["evaluation.images=30", f"evaluation.groups={tmp_path / 'shops.csv'}", "evaluation.min_text_height=10"]
    train(load_config(evaluated, [*settings, "run.steps=5"]))
    found = evaluations(tmp_path / "run")[5]["evaluation"]["ocr"]
    assert (found["receipts"]["images"], found["receipts"]["groups"]) == (30, 7)
    assert found["few"]["images"] == 3
    assert found["receipts"]["word_auc"]["classes"] == 0  # its lines are 9.6 pixels high
    assert found["receipts"]["by_text_height"]["8-12"]["word_auc"]["classes"] > 0
    (tmp_path / "shops.csv").write_text("key,group\npage.jpg,shop\n")
    with pytest.raises(OvocrError, match=rf"^evaluation.groups: {tmp_path}/shops.csv: no image has a row: an image's"):
        train(load_config(evaluated, [*settings, "run.steps=5"]))


def test_data_that_no_head_matches_are_refused_before_anything_starts(
    evaluated: Path, tmp_path: Path, make_data_set: Maker
) -> None:
    other = make_data_set("other", [12], words=["a", "b"])
    with pytest.raises(
        UsageError, match=rf"^evaluation.data: {other}: its vocabulary \(\w+…\) is not the run's .* \(head ocr\)$"
    ):
        train(load_config(evaluated, [f'evaluation.data=["{other}"]']))
    assert not (tmp_path / "run" / "config.toml").exists()


def test_training_data_are_no_held_out_data(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "again").symlink_to(tmp_path / "labels")
    train(load_config(evaluated, [f'evaluation.data=["{tmp_path}/again"]', "run.steps=2"]))
    assert (
        f"ovocr: evaluation.data: {tmp_path}/again: head ocr is trained on it too, so its figures do not show how well "
        "the head reads new images\n"
    ) in capsys.readouterr().err


def test_settings_may_change_when_a_run_resumes(evaluated: Path, tmp_path: Path) -> None:
    """A run that ended without an evaluation after its last step makes up for it."""
    train(load_config(evaluated, ["evaluation.every=0"]))
    run = tmp_path / "run"
    assert best_checkpoint(run / "checkpoints") is None
    assert train(load_config(evaluated, ["evaluation.every=100", "evaluation.images=20"])).first_step == 12
    assert list(evaluations(run)) == [12]
    assert best_checkpoint(run / "checkpoints") == run / "checkpoints" / "00000012"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(12))


def test_changed_settings_evaluate_a_finished_run_again(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, receipts = tmp_path / "run", f'evaluation.data=["{tmp_path}/held/receipts"]'
    newest = run / "checkpoints" / "00000012"
    train(load_config(evaluated, ["evaluation.min_text_height=20"]))  # no word is as large
    before = read_evaluation(newest)
    assert before is not None
    assert before.mean_word_auc is None
    assert best_checkpoint(run / "checkpoints") is None
    again = f"{run}: evaluated after 12 steps, which were already done"
    for settings in (
        [],
        ["evaluation.min_text_height=9"],
        ["evaluation.min_text_height=9", "evaluation.images=20"],
        ["evaluation.min_text_height=9", "evaluation.images=20", receipts],
    ):
        config = load_config(evaluated, settings)
        capsys.readouterr()
        assert train(config).format() == again
        assert capsys.readouterr().err.count("; the best so far; ") == 1
        found = read_evaluation(newest)
        assert found is not None
        assert found.mean_word_auc == evaluations(run)[12]["evaluation_mean_word_auc"]
        assert found.min_text_height == config.evaluation.min_text_height
        names = {"receipts": config.evaluation.images or 67, "few": 3}
        assert found.images == {"ocr": {name: names[name] for name in config.evaluation.names()}}
        assert best_checkpoint(run / "checkpoints") == newest
        for unchanged in (settings, [*settings, "evaluation.replicates=50", "evaluation.every=3"]):
            assert train(load_config(evaluated, unchanged)).format() == f"{run}: nothing to do, 12 steps already done"
        assert read_evaluation(newest) == found


def test_tensorboard_has_the_curves(evaluated: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(load_config(evaluated))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    where = "evaluation/ocr/receipts"
    assert {tag for tag in events.Tags()["scalars"] if tag.startswith("evaluation")} == {
        *("evaluation/mean_word_auc", "evaluation/seconds"),
        *(f"{where}/{name}" for name in ("word_auc", "low", "high", "word_map", "by_text_height/8-12")),
    }
    found = evaluations(tmp_path / "run")
    for tag, key in (("word_auc", "value"), ("low", "low"), ("high", "high")):
        curve = [(event.step, event.value) for event in events.Scalars(f"{where}/{tag}")]
        wanted = [entry["evaluation"]["ocr"]["receipts"]["word_auc"][key] for entry in found.values()]
        assert curve == [(step, pytest.approx(value)) for step, value in zip((4, 9, 11), wanted, strict=True)]


def test_evaluations_take_no_time_of_a_step(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, evaluate_all = [0.0], Evaluator.evaluate

    def evaluate_for_an_hour(*arguments: Any) -> EvaluationResult | None:
        found = evaluate_all(*arguments)
        clock[0] += 3600
        return found

    monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + clock[0])
    monkeypatch.setattr(Evaluator, "evaluate", evaluate_for_an_hour)
    train(load_config(evaluated))
    assert clock == [3 * 3600]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert min(line["images_per_s"] for line in lines) > 6 / 1800
    assert max(line["data_wait_s"] for line in lines) < 1800

"""Runs keep what they count on their training data, and evaluations know which images were trained on."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from ovocr.base.errors import OvocrError
from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, RelabelOptions, SplitOptions
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.split.split import split
from ovocr.trainer.config.file import load_config
from ovocr.trainer.evaluation.evaluate import Evaluation, evaluate
from ovocr.trainer.evaluation.page import evaluation_page
from ovocr.trainer.prior.image_sketch import ImageSketch
from ovocr.trainer.prior.prior import Prior
from ovocr.trainer.training.loop import train
from ovocr.vocab import Vocabulary
from tests.labelgen.data_sets import rows
from tests.trainer.conftest import WORDS

Maker = Callable[..., Path]
STEPS = "run.steps=2"


def figures(evaluation: Evaluation) -> str:
    """Returns all figures as text."""
    return json.dumps(evaluation.to_json())


def overlap(run: Path, *data: Path) -> Any:
    (head,) = evaluate(run, data, replicates=2).heads.values()
    return head.trained_on.to_json()


def exact(found: int, images: int) -> dict[str, Any]:
    return {"images": found, "share": found / images, "compared": images}


@pytest.fixture
def run(config_file: Path, tmp_path: Path) -> Path:
    """Trains on the 24 images of "labels" and returns the run."""
    train(load_config(config_file, [STEPS]))
    return tmp_path / "run"


def test_evaluation_does_not_need_the_training_data(run: Path, tmp_path: Path, make_data_set: Maker) -> None:
    held_out = make_data_set("held", [20], patterned=True, first_colour=90)
    (run / "prior" / "ocr.npz").rename(tmp_path / "aside.npz")
    counted = figures(evaluate(run, [held_out], replicates=2))
    assert (run / "prior" / "ocr.npz").read_bytes() == (tmp_path / "aside.npz").read_bytes()
    (tmp_path / "labels").rename(tmp_path / "away")
    assert figures(evaluate(run, [held_out], replicates=2)) == counted
    (run / "prior" / "ocr.npz").unlink()
    with pytest.raises(OvocrError, match=r"^heads.ocr.data \(the prior, which .*\): .*/labels: not a"):
        evaluate(run, [held_out])


def test_file_has_the_counts_of_the_data(run: Path, tmp_path: Path) -> None:
    prior = Prior.load(run / "prior" / "ocr.npz")
    assert prior is not None
    wanted = np.bincount([(image + slot) % 50 for image in range(24) for slot in range(10)], minlength=50)
    assert prior.class_counts.tolist() == wanted.tolist()
    assert (prior.images, len(prior.sketch.hashes)) == (24, 24)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04none", b"none"])
def test_damaged_file_is_named(run: Path, tmp_path: Path, damage: bytes) -> None:
    path = run / "prior" / "ocr.npz"
    path.write_bytes(damage)
    with pytest.raises(OvocrError, match=f"^{re.escape(str(path))}: cannot be read: .*; remove it, and it is counted"):
        evaluate(run, [tmp_path / "labels"])


def test_file_that_cannot_be_written_is_counted_each_time(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "prior")
    (run / "prior").write_text("a file in the place of the folder")
    assert overlap(run, tmp_path / "labels") == exact(24, 24)
    assert f"{run}/prior/ocr.npz: the prior cannot be kept: " in capsys.readouterr().err


def test_training_data_that_have_grown_are_not_kept(
    run: Path, tmp_path: Path, make_data_set: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "prior" / "ocr.npz").unlink()
    shutil.rmtree(tmp_path / "labels")
    make_data_set("labels", [17, 9], patterned=True)
    evaluate(run, [tmp_path / "labels"], replicates=2)
    assert "heads.ocr.data: has 26 images, but the run was trained on 24; the prior" in capsys.readouterr().err
    assert not (run / "prior" / "ocr.npz").exists()


def test_resumed_and_finished_runs_keep_the_file(config_file: Path, run: Path, tmp_path: Path) -> None:
    path = run / "prior" / "ocr.npz"
    before = path.stat().st_mtime_ns
    train(load_config(config_file, [STEPS]))
    assert path.stat().st_mtime_ns == before
    path.unlink()
    train(load_config(config_file, [STEPS]))  # a run of an older version, which has all its steps
    assert path.is_file()


def test_stop_while_images_are_counted(
    config_file: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signal ends the run at once, and the same command counts them."""
    path = run / "prior" / "ocr.npz"
    path.unlink()
    of_parts = ImageSketch.of_parts

    def stopped(*given: Any) -> ImageSketch:
        signal.raise_signal(signal.SIGTERM)
        return of_parts(*given)

    monkeypatch.setattr("ovocr.trainer.prior.prior._MANY_IMAGES", 24)
    with monkeypatch.context() as patched:
        patched.setattr(ImageSketch, "of_parts", stopped)
        with pytest.raises(OvocrError, match=rf"^{run}: stopped before the training images were counted; all steps"):
            train(load_config(config_file, [STEPS]))
    assert not path.exists()
    assert f"ovocr: {path}: counting the classes of 24 training images, which is done once" in capsys.readouterr().err
    train(load_config(config_file, [STEPS]))
    assert path.is_file()


def test_heads_with_the_same_data_are_counted_once(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    of_parts = ImageSketch.of_parts
    monkeypatch.setattr(ImageSketch, "of_parts", lambda *given: counted.append(1) or of_parts(*given))
    text = config_file.read_text()
    head = text[text.index("[heads.ocr]") :]
    config_file.write_text(text + "\n" + head.replace("[heads.ocr", "[heads.other"))
    train(load_config(config_file, [STEPS]))
    assert len(counted) == 1
    files = [tmp_path / "run" / "prior" / f"{name}.npz" for name in ("ocr", "other")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_new_run_forgets_the_file_of_a_run_without_checkpoint(config_file: Path, run: Path, tmp_path: Path) -> None:
    path = run / "prior" / "ocr.npz"
    before = path.read_bytes()
    prior = Prior.load(path)
    assert prior is not None
    shutil.rmtree(run / "checkpoints")
    replace(prior, class_counts=prior.class_counts + 1).save(path)
    train(load_config(config_file, [STEPS]))
    assert path.read_bytes() == before


def test_run_counts_at_its_first_evaluation(
    config_file: Path, tmp_path: Path, make_data_set: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at its start, nor again."""
    steps = []
    count = Prior.count
    metrics = tmp_path / "run" / "metrics.jsonl"

    def counted(*arguments: Any) -> Prior:
        steps.append(len(metrics.read_text().splitlines()))
        return count(*arguments)

    monkeypatch.setattr(Prior, "count", counted)
    data = f'evaluation.data=["{make_data_set("held", [9], patterned=True)}"]'
    train(load_config(config_file, [STEPS, "run.log_every=1", data, "evaluation.every=1", "evaluation.replicates=2"]))
    assert steps == [1]


def test_ranks_count_together(config_file: Path, run: Path, tmp_path: Path, runs: Any) -> None:
    runs.finish(config_file, STEPS, f"run.output={tmp_path / 'two'}", ranks=2)
    assert (tmp_path / "two" / "prior" / "ocr.npz").read_bytes() == (run / "prior" / "ocr.npz").read_bytes()
    # The ranks read what the first one has kept.
    data = f'evaluation.data=["{tmp_path / "labels"}"]'
    settings = (STEPS, f"run.output={tmp_path / 'two'}", data, "evaluation.every=1", "evaluation.replicates=2")
    runs.finish(config_file, *settings, ranks=2)
    (line,) = [line for line in runs.metrics(tmp_path / "two") if "evaluation" in line]
    assert line["evaluation"]["ocr"]["labels"]["trained_on"] == 24


def test_training_data_and_their_copies_are_recognised(
    run: Path, tmp_path: Path, make_data_set: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels"
    shutil.copytree(labels, tmp_path / "copied" / "other-name")
    for root in (labels, tmp_path / "copied" / "other-name"):
        capsys.readouterr()
        assert overlap(run, root) == exact(24, 24)
        assert capsys.readouterr().err.splitlines()[0] == (
            f"ovocr: --data {root}: head ocr is trained on 24 of 24 images, so the figures do not show how well it "
            "reads new images"
        )
    # Other images of the same keys and names of sources.
    other = make_data_set("new", [17, 7])
    capsys.readouterr()
    assert overlap(run, other) == exact(0, 24)
    assert "trained on" not in capsys.readouterr().err
    # Several data sets, one of which was trained on.
    evaluation = evaluate(run, [other, labels], replicates=2)
    (head,) = evaluation.to_json()["heads"].values()
    assert head["trained_on"] == exact(24, 48)
    assert [own["trained_on"] for own in head["data_sets"].values()] == [exact(0, 24), exact(24, 24)]
    assert len(re.findall(r"head ocr is trained on", capsys.readouterr().err)) == 1
    assert "<strong>Head <bdi>ocr</bdi> was trained on 24 of 48 images.</strong>" in evaluation_page(evaluation)


def test_relabelled_copy(config_file: Path, tmp_path: Path) -> None:
    """Stored images stay; tags, their number and the sizes of the records differ."""
    pytest.importorskip("PIL", reason="the extra ocr, whose decoders build-labels uses, is not installed")
    lines = []
    (tmp_path / "images").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 40, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
        lines.append({"key": f"{number}.png", "text": " ".join(WORDS[number : number + 4])})
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Vocabulary(WORDS).save(tmp_path / "words.txt")
    build = BuildOptions(
        sources=(str(tmp_path / "images"),),
        out=tmp_path / "built",
        vocab=str(tmp_path / "words.txt"),
        lines=str(tmp_path / "lines.jsonl"),
        tags=10,
        workers=1,
    )
    build_labels(build, progress=False)
    relabel(RelabelOptions(source=tmp_path / "built", out=tmp_path / "again", tags=13, workers=1), progress=False)
    train(load_config(config_file, [STEPS, f'heads.ocr.data=["{tmp_path / "built"}"]']))
    assert overlap(tmp_path / "run", tmp_path / "again") == exact(12, 12)


def test_parts_of_a_split(config_file: Path, tmp_path: Path, make_data_set: Maker) -> None:
    """The held-out part is new; with another seed, some of its images were trained on."""
    whole = make_data_set("whole", [60, 60], patterned=True)
    for seed in (0, 1):
        divided = SplitOptions(source=whole, out=tmp_path / f"seed{seed}", share=0.3, seed=seed, workers=1)
        split(divided, progress=False)
    train_0, held_0, held_1 = (tmp_path / name for name in ("seed0/train", "seed0/held-out", "seed1/held-out"))
    train(load_config(config_file, [STEPS, f'heads.ocr.data=["{train_0}"]']))
    run = tmp_path / "run"

    def images(root: Path) -> set[str]:
        data_set = LabelledDataSet.open(root)
        return {f"{n} {row['key']}" for n in data_set.all_shards() for row in rows(data_set.records_path(n))}

    count = len(images(held_0))
    assert overlap(run, held_0) == exact(0, count)
    both = len(images(held_1) & images(train_0))
    assert 0 < both < len(images(held_1))
    assert overlap(run, held_1) == exact(both, len(images(held_1)))
    assert overlap(run, whole) == exact(120 - count, 120)
    done = CliRunner().invoke(main, ["eval", str(run), "--data", str(held_1), "--json", str(tmp_path / "f.json")])
    assert done.exit_code == 0, done.output
    assert f"ocr: trained on {both} of {len(images(held_1))} images: not how well it reads new images" in done.output
    head = json.loads((tmp_path / "f.json").read_text())["heads"]["ocr"]
    assert head["trained_on"] == exact(both, len(images(held_1)))


def test_crops_count_images_once(config_file: Path, tmp_path: Path, make_data_set: Maker) -> None:
    train(load_config(config_file, [STEPS, "heads.ocr.crop_scale=[0.5, 1.0]"]))
    (head,) = evaluate(tmp_path / "run", [tmp_path / "labels"], replicates=2, crops=3).heads.values()
    assert head.trained_on.to_json() == exact(24, 24)


def test_packed_data_set(config_file: Path, tmp_path: Path, make_data_set: Maker) -> None:
    packed = make_data_set("packed", [30], patterned=True, words=None, num_classes=50)
    divided = SplitOptions(source=packed, out=tmp_path / "out", share=0.4, workers=1)
    split(divided, progress=False)
    train_part, held_out = tmp_path / "out" / "train", tmp_path / "out" / "held-out"
    train(load_config(config_file, [STEPS, 'heads.ocr.kind="image"', f'heads.ocr.data=["{train_part}"]']))
    run = tmp_path / "run"
    (head,) = evaluate(run, [held_out], replicates=2).heads.values()
    assert head.trained_on.every.found == 0
    (head,) = evaluate(run, [packed], replicates=2).heads.values()
    assert head.trained_on.to_json() == exact(head.recall.training_images, 30)


def test_lists_of_videos(config_file: Path, tmp_path: Path, make_video: Callable[..., Path]) -> None:
    for number in range(4):
        make_video(f"clips/{number}.mp4", frames=16, size=(32, 32))
    lists = {
        "train.txt": "clips/0.mp4 1 2\nclips/1.mp4 3 4\n",
        "copy.txt": "# copied\n\nclips/1.mp4\t3 4\nclips/2.mp4 1 2\n",
        "new.txt": "clips/2.mp4 1 2\nclips/3.mp4 1 2\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    config = re.sub(r"\[heads.ocr\][\s\S]*", "", config_file.read_text())
    config_file.write_text(
        f"""{config}
[heads.clips]
kind = "video"
data = ["{tmp_path}/train.txt"]
num_classes = 5
global_batch = 2
labels_stored = 2
labels_per_sample = 2
frames = 2
sampled_frames = 4
"""
    )
    train(load_config(config_file, [STEPS]))
    assert overlap(tmp_path / "run", tmp_path / "copy.txt") == exact(1, 2)
    assert overlap(tmp_path / "run", tmp_path / "new.txt") == exact(0, 2)


def test_run_tells_that_it_evaluates_training_images(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tmp_path / "labels", tmp_path / "copied")
    settings = (f'evaluation.data=["{tmp_path}/copied"]', "evaluation.every=1", "evaluation.replicates=2")
    train(load_config(config_file, [STEPS, *settings, "evaluation.images=10"]))
    line = (
        f"ovocr: evaluation.data: {tmp_path}/copied: head ocr is trained on 10 of 10 images, so the figures do not "
        "show how well it reads new images"
    )
    assert capsys.readouterr().err.splitlines().count(line) == 1
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["evaluation"]["ocr"]["copied"]["trained_on"] for record in records] == [10, 10]

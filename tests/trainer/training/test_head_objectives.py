"""Training runs with each objective, importance weights and weighted tags."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.recordio import RecordReader
from ovocr.trainer.config.file import load_config
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.read import read_words
from ovocr.trainer.evaluation.reading.image_words import Reading
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.preview.samples import preview
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.dry_run import dry_run
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import TrainedRun
from ovocr.vocab.word_frequencies import WordFrequencies

IMPORTANCE = "heads.ocr.negative_weight=importance"
ALL = "heads.ocr.labels_per_sample=all"
SOFT, TWO_SIDED = "heads.ocr.objective=soft", "heads.ocr.objective=two_sided"
OBJECTIVES = {
    "slots importance": [IMPORTANCE],
    "soft": [SOFT],
    "soft all idf importance": [SOFT, ALL, IMPORTANCE, "heads.ocr.tag_weights=idf"],
    "two_sided": [TWO_SIDED, "run.passes_per_step=2"],
    "two_sided all": [TWO_SIDED, ALL, "heads.ocr.sample_rate=1.0"],
}


@pytest.fixture
def frequencies(tmp_path: Path) -> Path:
    """Writes word frequencies: word n is in n + 1 of 50 images."""
    path = tmp_path / "frequencies.tsv"
    WordFrequencies(50, {f"word{number}": number + 1 for number in range(50)}).save(path)
    return path


def idf(path: Path) -> list[str]:
    return [SOFT, ALL, "heads.ocr.tag_weights=idf", f"heads.ocr.tag_frequencies={path}"]


def losses(run: Path, runs: Any) -> list[float]:
    return [line["heads"]["ocr"]["loss"] for line in runs.metrics(run)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_is_learned_and_resumed(
    config_file: Path, tmp_path: Path, frequencies: Path, runs: Any, name: str
) -> None:
    settings = OBJECTIVES[name] + ["run.steps=30", "run.checkpoint_every=15"]
    if "heads.ocr.tag_weights=idf" in settings:
        settings.append(f"heads.ocr.tag_frequencies={frequencies}")
    config, run = load_config(config_file, settings), tmp_path / "run"
    train(config)
    lines = runs.metrics(run)
    for key, rises in (("loss", -1), ("positive_cosine", 1)):
        early, late = (sum(line["heads"]["ocr"][key] for line in part) for part in (lines[:6], lines[-6:]))
        assert rises * late > rises * early, key
    assert load_config(run / "config.toml") == config
    shutil.rmtree(RunFolder(run).checkpoint(30))
    assert train(config).first_step == 15
    assert [line["heads"] for line in runs.metrics(run)] == [line["heads"] for line in lines]


def test_weights_of_tags_reach_the_loss(config_file: Path, tmp_path: Path, frequencies: Path, runs: Any) -> None:
    equal = tmp_path / "equal.tsv"
    WordFrequencies(50, {f"word{number}": 7 for number in range(50)}).save(equal)
    first = {}
    for name, settings in {"none": [SOFT, ALL], "equal": idf(equal), "idf": idf(frequencies)}.items():
        train(load_config(config_file, [*settings, "run.steps=2", f"run.output={tmp_path / name}"]))
        first[name] = losses(tmp_path / name, runs)
    assert first["equal"] == pytest.approx(first["none"], rel=1e-6)
    assert first["idf"] != pytest.approx(first["none"], rel=1e-4)


def test_run_keeps_its_word_frequencies(config_file: Path, tmp_path: Path, frequencies: Path) -> None:
    run, copy = tmp_path / "run", tmp_path / "run" / "vocab" / "ocr.frequencies.tsv"
    train(load_config(config_file, [*idf(frequencies), "run.steps=4"]))
    content = frequencies.read_bytes()
    assert copy.read_bytes() == content
    moved = frequencies.rename(tmp_path / "moved.tsv")
    assert train(load_config(config_file, [*idf(moved), "run.steps=4"])).first_step == 4
    WordFrequencies(51, {f"word{number}": number + 1 for number in range(50)}).save(frequencies)
    with pytest.raises(OvocrError) as caught:
        train(load_config(config_file, [*idf(frequencies), "run.steps=4"]))
    assert str(caught.value) == (
        f"{run}: head ocr was trained with different word frequencies than its tag_frequencies has now; choose another "
        f"run.output, or set tag_frequencies to {copy}, the copy of the old file"
    )
    assert copy.read_bytes() == content
    assert train(load_config(config_file, [*idf(copy), "run.steps=4"])).first_step == 4
    with pytest.raises(OvocrError, match=r"\(heads.ocr.tag_weights was idf, is now uniform\)"):
        train(load_config(config_file, [SOFT, ALL, "run.steps=4"]))


def test_trained_run_does_not_need_the_file(config_file: Path, tmp_path: Path, frequencies: Path) -> None:
    run, image = tmp_path / "run", tmp_path / "image.jpg"
    train(load_config(config_file, [*idf(frequencies), "run.steps=2"]))
    frequencies.unlink()
    image.write_bytes(RecordReader(tmp_path / "labels" / "rec" / "00000")[3].image)
    assert evaluate(run, [tmp_path / "labels"], correct_sampling=True).heads["ocr"].recall.images == 24
    (reading,) = read_words(run, [image])
    assert isinstance(reading, Reading)
    assert export_encoder(run, tmp_path / "exported").step == 2
    assert TrainedRun.load(run, torch.device("cpu")).model.heads["ocr"].tag_weights is None
    with pytest.raises(
        UsageError, match=r"^--set: heads.ocr.tag_frequencies: .*/frequencies.tsv: word frequencies can"
    ):
        load_config(config_file, [*idf(frequencies), "run.steps=2"])


def test_frequencies_of_other_words_stop_the_run_at_the_start(config_file: Path, tmp_path: Path) -> None:
    WordFrequencies(9, {"fox": 3, "dog": 2}).save(tmp_path / "other.tsv")
    config = load_config(config_file, idf(tmp_path / "other.tsv"))
    for start in (train, lambda config: list(dry_run(config))):
        with pytest.raises(UsageError) as caught:
            start(config)
        assert str(caught.value) == (
            f"heads.ocr.tag_frequencies: {tmp_path}/other.tsv: has 2 words, of which 0 are among the 50 words of the "
            "head's vocabulary; give the file of a data set with this vocabulary"
        )
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.*"))


def test_preview_shows_the_same_tags(config_file: Path, frequencies: Path) -> None:
    plain, weighted = (
        preview(load_config(config_file, settings), 3)["ocr"].samples for settings in ([], idf(frequencies))
    )
    assert plain == weighted
    assert [tag.state for tag in plain[0].tags] == ["kept"] * 10


def test_dry_run_names_the_weights(config_file: Path, tmp_path: Path, frequencies: Path) -> None:
    def lines(*settings: str) -> list[str]:
        config = load_config(config_file, [*idf(frequencies), IMPORTANCE, *settings], check_paths=False)
        found = list(dry_run(config))
        assert any(line.startswith("step 2: loss ") for line in found)
        return [line for line in found if "tag weights" in line]

    where = f"head ocr: tag weights from {frequencies}"
    assert lines() == [f"{where}: 1.00 to 4.24"]  # ln(51 / 51) + 1 and ln(51 / 2) + 1
    with pytest.raises(UsageError, match=r"^heads.ocr.num_classes: 51, but its vocabulary has 50 words; leave it out$"):
        lines("heads.ocr.num_classes=51")
    (tmp_path / "labels").rename(tmp_path / "later")
    assert lines("heads.ocr.num_classes=50") == [
        f"{where}; equal weights here, because the data with the vocabulary do not exist yet"
    ]
    frequencies.unlink()
    (tmp_path / "later").rename(tmp_path / "labels")
    assert lines() == [f"{where}, which does not exist yet; equal weights here"]


def test_packed_data_have_no_words(
    config_file: Path, tmp_path: Path, frequencies: Path, make_data_set: Callable[..., Path]
) -> None:
    packed = make_data_set("packed", [12], words=None)
    with pytest.raises(UsageError, match=r"^heads.ocr.data: .*/packed: its class ids have no vocabulary; use kind = "):
        train(load_config(config_file, [*idf(frequencies), f'heads.ocr.data=["{packed}"]']))

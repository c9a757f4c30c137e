"""Answers that are corrected for the sampling of negatives, against cosines and counts."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.cli import main
from ovocr.recordio import RecordReader
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.page import evaluation_page
from ovocr.trainer.evaluation.read import read_words
from ovocr.trainer.evaluation.reading.image_words import Reading
from ovocr.trainer.evaluation.terminal_report import format_evaluation
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import save_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.model import TrainedRun
from tests.html_page import Page
from tests.trainer.evaluation.planted_run import CPU, IMAGES, WORDS, tags_of

SAMPLES = 1_000
KS = (1, 5, 20)


def plain_cosines(run: Path, labels: Path) -> NDArray[np.float64]:
    """Returns the cosines of all images and classes."""
    trained = TrainedRun.load(run, CPU)
    samples = RecordSamples([labels], labels_stored=10, num_classes=len(WORDS), image_size=32)
    pixels = torch.from_numpy(np.stack([samples.load(n).pixels for n in range(IMAGES)]))
    embeddings, weight = trained.embed("ocr", pixels).double(), trained.model.heads["ocr"].weight.detach().double()
    unit = torch.nn.functional.normalize
    return (unit(embeddings, dim=1) @ unit(weight, dim=1).T).numpy()


@pytest.fixture
def corrected(planted: NDArray[np.int64], tmp_path: Path) -> NDArray[np.float64]:
    """Saves a checkpoint with counts, step 8. Returns the corrected scores of all images and classes."""
    run = tmp_path / "run"
    trained = TrainedRun.load(run, CPU)
    counts = trained.model.heads["ocr"].sample_counts
    assert counts is not None
    counts.positives.copy_(torch.from_numpy(np.random.default_rng(0).permutation(50) ** 2 * SAMPLES // 49**2))
    counts.samples.fill_(SAMPLES)
    state = {"step": 8, "num_classes": {"ocr": len(WORDS)}}
    save_checkpoint(RunFolder(run).checkpoint(8), trained.model.tensors(), state, Ranks())
    # A rate of 0.3 splits 50 classes into 15 blocks, from each of which one class is drawn.
    ends = [block * 50 // 15 for block in range(16)]
    sizes = [high - low for low, high in pairwise(ends) for _ in range(low, high)]
    shares = [count / SAMPLES for count in counts.positives.tolist()]
    added = [math.log(share + (1 - share) / size) / 64.0 for share, size in zip(shares, sizes, strict=True)]
    assert min(added) == pytest.approx(math.log(1 / 4) / 64, abs=1e-3)
    assert max(added) == 0.0
    return plain_cosines(run, tmp_path / "labels") + np.array(added)


def recall(scores: NDArray[np.float64], k: int) -> float:
    """Returns recall@k, computed with sets. Each image has ten tags."""
    answers = np.argsort(-scores, axis=1)[:, :k].tolist()
    return float(np.mean([len(tags_of(n) & set(own)) / min(k, 10) for n, own in enumerate(answers)]))


def test_recall_and_examples_are_corrected(corrected: NDArray[np.float64], tmp_path: Path) -> None:
    run, labels = tmp_path / "run", tmp_path / "labels"
    found = evaluate(run, [labels], top_k=KS, examples=3, correct_sampling=True)
    plain = evaluate(run, [labels], top_k=KS, examples=3)
    cosines = plain_cosines(run, labels)
    for k in KS:
        assert found.heads["ocr"].recall.every.recall[k] == pytest.approx(recall(corrected, k))
        assert plain.heads["ocr"].recall.every.recall[k] == pytest.approx(recall(cosines, k))
    assert [recall(corrected, k) for k in KS] != [recall(cosines, k) for k in KS]
    assert (np.argsort(-corrected, axis=1) != np.argsort(-cosines, axis=1)).any(axis=1).all()
    for example, image in zip(found.heads["ocr"].recall.examples, (0, 12, 23), strict=True):
        order = np.argsort(-corrected[image])
        assert [answer.word for answer in example.answers] == [WORDS[answer] for answer in order[:10]]
        assert [answer.score for answer in example.answers] == pytest.approx(corrected[image][order[:10]], abs=1e-6)
        ranks = {WORDS[tag]: int(np.flatnonzero(order == tag)[0]) + 1 for tag in tags_of(image)}
        assert dict(example.tags) == {word: rank if rank <= 20 else None for word, rank in ranks.items()}
    figures, plain_figures = (each.to_json()["heads"]["ocr"] for each in (found, plain))
    assert figures["word_auc"] == plain_figures["word_auc"]
    assert (figures["sampling_correction"], plain_figures["sampling_correction"]) == ("counts", None)


def test_reports_say_so(corrected: NDArray[np.float64], tmp_path: Path) -> None:
    for correct in (True, False):
        found = evaluate(tmp_path / "run", [tmp_path / "labels"], examples=1, correct_sampling=correct)
        line = "over all 50 centers, corrected for sampling, on 24 images"
        assert (line in format_evaluation(found)) == correct
        text = " ".join(Page(evaluation_page(found)).text.split())
        for sentence in (
            "mean over 24 images. The cosines are corrected for the sampling of negatives in training. An image",
            "The nearest centers are those with the highest cosine + ln(π) / scale",
            "with their cosines to the image, corrected for sampling.",
        ):
            assert (sentence in text) == correct


def test_reading_is_corrected(corrected: NDArray[np.float64], tmp_path: Path) -> None:
    run, image = tmp_path / "run", tmp_path / "image.jpg"
    image.write_bytes(RecordReader(tmp_path / "labels" / "rec" / "00000")[3].image)
    (reading,) = read_words(run, [image], top_k=7, correct_sampling=True)
    assert isinstance(reading, Reading)
    order = np.argsort(-corrected[3])[:7]
    assert [found.word for found in reading.words] == [WORDS[answer] for answer in order]
    assert [found.score for found in reading.words] == pytest.approx(corrected[3][order], abs=1e-6)
    (plain,) = read_words(run, [image], top_k=7)
    assert isinstance(plain, Reading)
    assert [found.word for found in plain.words] != [found.word for found in reading.words]
    done = CliRunner().invoke(main, ["read", str(run), str(image), "--top-k", "7", "--correct-sampling"])
    assert (done.exit_code, done.output) == (0, reading.format() + "\n")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"sample_rate": 1.0}, "sample_rate = 1.0, so every class was in every sum"),
        ({"negative_weight": "importance"}, 'negative_weight = "importance", so its sums are unbiased'),
        (
            {"negative_weight": "importance", "sample_rate": 1.0},
            "sample_rate = 1.0, so every class was in every sum",
        ),
    ],
)
def test_nothing_to_correct(
    corrected: NDArray[np.float64],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: dict[str, object],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("image.jpg").write_bytes(RecordReader("labels/rec/00000")[3].image)
    config = load_config("run/config.toml")
    heads = {"ocr": config.heads["ocr"].model_copy(update=setting)}
    Path("run/config.toml").write_text(dump_config(config.model_copy(update={"heads": heads})))
    line = f"ovocr: --correct-sampling: nothing to correct: head ocr was trained with {reason}\n"
    for command in (["eval", "run", "--data", "labels", "--json", "-"], ["read", "run", "image.jpg"]):
        plain = CliRunner().invoke(main, command)
        told = CliRunner().invoke(main, [*command, "--correct-sampling"])
        assert (plain.exit_code, told.exit_code) == (0, 0)
        assert line in told.stderr
        assert line not in plain.stderr
        if command[0] == "read":
            assert told.stdout == plain.stdout
            continue
        figures, plain_figures = (json.loads(done.stdout)["heads"]["ocr"] for done in (told, plain))
        assert (figures.pop("sampling_correction"), plain_figures.pop("sampling_correction")) == ("none needed", None)
        assert figures == plain_figures
    found = evaluate(Path("run"), [Path("labels")], correct_sampling=True)
    assert "corrected" not in format_evaluation(found)
    assert "corrected" not in Page(evaluation_page(found)).text


def test_checkpoint_without_counts_is_an_error(planted: NDArray[np.int64], tmp_path: Path) -> None:
    message = (
        f"--correct-sampling: {tmp_path}/run/checkpoints/00000007: has no counts of the sampled classes of head ocr, "
        "because an earlier version of ovocr wrote it; leave the option out"
    )
    with pytest.raises(OvocrError) as caught:
        evaluate(tmp_path / "run", [tmp_path / "labels"], correct_sampling=True)
    assert str(caught.value) == message
    with pytest.raises(OvocrError) as caught:
        next(read_words(tmp_path / "run", [tmp_path / "image.jpg"], correct_sampling=True))
    assert str(caught.value) == message
    assert evaluate(tmp_path / "run", [tmp_path / "labels"]).step == 7

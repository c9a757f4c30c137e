"""Evaluation of a run whose class centers are placed so that every answer to every image is known."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.data.head_data import open_samples
from ovocr.trainer.data.images import normalise
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.data.samples import NothingFetched, Sample, ShownTags
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.page import evaluation_page
from ovocr.trainer.evaluation.terminal_report import format_evaluation
from ovocr.trainer.measures.bands import FREQUENCY_BANDS, HEIGHT_BANDS
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import checkpoint_hash, save_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.model import TrainedRun, build_model
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_script import script_of
from tests.html_page import Page
from tests.manifests import make_manifest
from tests.trainer.damage import damage_images
from tests.trainer.evaluation.planted_run import CPU, IMAGES, TRAINING_IMAGES, WORDS, planted_cosines, tags_of
from tests.trainer.measures.brute_force import weighted_ap, weighted_auc
from tests.trainer.placed_words import BOXES, encoded, flat, painted, write_placed

KS = (1, 5, 20)


def training_images(class_id: int) -> int:
    return sum(class_id in tags_of(record) for record in range(TRAINING_IMAGES))


def band_of(class_id: int) -> str:
    least = {"never": 0, "1": 1, "2-9": 2, "10-99": 10}
    return max((band for band in least if training_images(class_id) >= least[band]), key=FREQUENCY_BANDS.index)


def expected(
    answers: list[list[int]], group: Callable[[int], bool], images: Sequence[int] = range(IMAGES)
) -> dict[str, Any]:
    """Returns the numbers of a group, computed with plain sets; answers of each image in order."""
    prior = sorted(range(len(WORDS)), key=lambda class_id: (-training_images(class_id), class_id))
    own = {image: {tag for tag in tags_of(image) if group(tag)} for image in images}
    own = {image: tags for image, tags in own.items() if tags}
    figures: dict[str, Any] = {"images": len(own), "pairs": sum(map(len, own.values()))}
    for k in KS:
        for key, answer in ((f"recall@{k}", answers.__getitem__), (f"prior_recall@{k}", lambda _: prior)):
            recalls = [len(tags & set(answer(image)[:k])) / min(k, len(tags)) for image, tags in own.items()]
            figures[key] = pytest.approx(sum(recalls) / len(recalls))
    return figures


def expected_reading(
    answers: NDArray[np.int64], group: Callable[[int], bool] = lambda _: True, images: Sequence[int] = range(IMAGES)
) -> dict[str, Any]:
    """Returns word AUC and word mAP of the classes of a group, computed with loops, without intervals."""
    cosines, figures = planted_cosines(answers), []
    for class_id in filter(group, range(len(WORDS))):
        own = [(float(cosines[image, class_id]), 1.0) for image in images if class_id in tags_of(image)]
        others = [(float(cosines[image, class_id]), 1.0) for image in images if class_id not in tags_of(image)]
        if min(len(own), len(others)) >= 5:
            figures.append((weighted_auc(own, others), weighted_ap(own, others), len(own) / len(images)))
    auc, ap, chance = (pytest.approx(value) for value in np.mean(figures, axis=0)) if figures else (None,) * 3
    ends = {"low": ANY if figures else None, "high": ANY if figures else None, "classes": len(figures)}
    return {"word_auc": {"value": auc, **ends}, "word_map": {"value": ap, **ends, "chance": chance}}


def expected_words(answers: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Returns the figures of each eligible class, best first."""
    words = []
    for class_id, word in enumerate(WORDS):
        figures = expected_reading(answers, lambda tag, own=class_id: tag == own)
        auc, ap = (figures[name]["value"] for name in ("word_auc", "word_map"))
        if auc is not None:
            images = sum(class_id in tags_of(image) for image in range(IMAGES))
            words.append({"word": word, "images": images, "auc": auc, "average_precision": ap})
    return sorted(words, key=lambda each: (-each["auc"].expected, each["word"]))


def effective_rank(run: Path, labels: Path) -> float:
    """Returns the effective rank of all images' embeddings, from the singular values of the centred embeddings."""
    trained = TrainedRun.load(run, CPU)
    samples = RecordSamples([labels], labels_stored=10, num_classes=len(WORDS), image_size=32)
    pixels = torch.from_numpy(np.stack([samples.load(n).pixels for n in range(IMAGES)]))
    unit = torch.nn.functional.normalize(trained.embed("ocr", pixels).double(), dim=1)
    squares = torch.linalg.svdvals(unit - unit.mean(0)) ** 2
    return float(torch.distributions.Categorical(squares).entropy().exp())


def test_all_numbers_match_plain_sets(planted: NDArray[np.int64], tmp_path: Path) -> None:
    found = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=[20, 1, 5, 5])
    answers = planted.tolist()
    every = expected(answers, lambda _: True)
    assert every.pop("pairs") == 240
    assert found.to_json() == {
        "data": [str(tmp_path / "labels")],
        "step": 7,
        "checkpoint": checkpoint_hash(tmp_path / "run" / "checkpoints" / "00000007"),
        "top_k": [1, 5, 20],
        "crops": 0,
        "crop_text_height": None,
        "crop_context": None,
        "min_text_height": 8.0,
        "replicates": 1000,
        "seed": 0,
        "heads": {
            "ocr": {
                **every,
                "skipped": 0,
                "whole_crops": None,
                "groups": IMAGES,
                "images_without_group": None,
                **expected_reading(planted),
                "by_text_height": {  # lines of 12 pixels in images of 40 x 24, shown at 32
                    band: expected_reading(planted, lambda _, band=band: band == "8-12") for band in HEIGHT_BANDS
                },
                "by_script": {
                    script: expected_reading(planted, lambda tag, script=script: script_of(WORDS[tag]) == script)
                    for script in ("Latin", "Han", "Cyrillic")
                },
                "by_frequency": {
                    band: expected_reading(planted, lambda tag, band=band: band_of(tag) == band)
                    for band in FREQUENCY_BANDS
                },
                "words": expected_words(planted),
                "classes": 50,
                "training_images": TRAINING_IMAGES,
                "trained_on": {"images": 0, "share": 0.0, "compared": IMAGES},
                "sampling_correction": None,
                "embedding_dim": found.heads["ocr"].recall.embedding_dim,
                "effective_rank": pytest.approx(effective_rank(tmp_path / "run", tmp_path / "labels"), rel=1e-3),
                "scripts": {
                    script: expected(answers, lambda tag, script=script: script_of(WORDS[tag]) == script)
                    for script in ("Latin", "Han", "Cyrillic")
                },
                "bands": {
                    band: expected(answers, lambda tag, band=band: band_of(tag) == band)
                    for band in ("never", "1", "2-9", "10-99")
                },
            }
        },
    }
    recall = found.heads["ocr"].recall
    assert list(recall.bands) == ["never", "1", "2-9", "10-99"]
    pairs = [group.pairs for group in recall.scripts.values()]
    assert pairs == sorted(pairs, reverse=True)
    assert sum(pairs) == 240
    assert recall.examples == ()


def test_single_image_has_no_effective_rank(
    planted: NDArray[np.int64], tmp_path: Path, make_data_set: Callable[..., Path]
) -> None:
    found = evaluate(tmp_path / "run", [make_data_set("one", [1], patterned=True, words=WORDS)])
    assert found.to_json()["heads"]["ocr"]["effective_rank"] is None
    assert "effective rank" not in format_evaluation(found)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_and_workers_do_not_change_results(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    whole = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=KS)
    monkeypatch.setattr("ovocr.trainer.data.evaluation_batches.BATCH", 5)
    monkeypatch.setattr("ovocr.trainer.evaluation.head_recall._RANKING_BATCH", 9)
    parts = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=KS, workers=workers)
    found, wanted = parts.to_json(), whole.to_json()
    # Sums of float32 embeddings differ in their last digits with the batch size.
    found_rank, wanted_rank = (figures["heads"]["ocr"].pop("effective_rank") for figures in (found, wanted))
    assert found == wanted
    assert found_rank == pytest.approx(wanted_rank, rel=1e-4)


def test_examples(planted: NDArray[np.int64], tmp_path: Path) -> None:
    found = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=[5, 20], examples=3)
    examples = found.heads["ocr"].recall.examples
    assert [example.name.partition(" (")[0] for example in examples] == [
        f"{tmp_path}/labels/rec/00000.rec id 0",
        f"{tmp_path}/labels/rec/00000.rec id 12",
        f"{tmp_path}/labels/rec/00001.rec id 6",
    ]
    for example, image in zip(examples, (0, 12, 23), strict=True):
        answers = planted[image].tolist()
        assert [answer.word for answer in example.answers] == [WORDS[answer] for answer in answers[:10]]
        assert [answer.right for answer in example.answers] == [answer in tags_of(image) for answer in answers[:10]]
        scores = [answer.score for answer in example.answers]
        assert scores == sorted(scores, reverse=True)
        ranks = {WORDS[tag]: answers.index(tag) + 1 for tag in tags_of(image)}
        assert dict(example.tags) == {word: rank if rank <= 20 else None for word, rank in ranks.items()}
        assert [tag.rank or 99 for tag in example.tags] == sorted(tag.rank or 99 for tag in example.tags)
    assert len(evaluate(tmp_path / "run", [tmp_path / "labels"], examples=100).heads["ocr"].recall.examples) == IMAGES


def test_class_ids_without_a_vocabulary(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = TrainedRun.load(tmp_path / "run", CPU)
    monkeypatch.setattr(TrainedRun, "load", lambda *_: dataclasses.replace(trained, vocabularies={}))
    for name, shards in (("labels", 2), ("training", 1)):
        (tmp_path / name / "vocab.txt").unlink()
        make_manifest(["source.tar"] * shards, num_classes=50).write(tmp_path / name / "manifest.json")
    head = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=KS, examples=1).heads["ocr"].recall
    assert head.to_json()["scripts"] == {}
    assert list(head.bands) == ["never", "1", "2-9", "10-99"]
    assert [answer.word for answer in head.examples[0].answers] == [f"#{answer}" for answer in planted[0][:10]]


class Clips(NothingFetched):
    """Eight clips of three frames, each with its own times."""

    parts = (8,)

    def __len__(self) -> int:
        return 8

    def load(self, index: int, position: int | None = None) -> Sample:
        assert position is None, "an evaluation draws nothing at random"
        pixels = np.random.default_rng(index).integers(0, 256, (3, 3, 32, 32), np.uint8)
        return Sample(pixels, np.arange(index, index + 3), np.array([index, index + 9, index + 40]))

    def shown_tags(self, index: int, position: int | None = None) -> ShownTags:
        return ShownTags.of_labels(self.load(index, position).labels)

    def name(self, index: int) -> str:
        return f"clip {index}"

    def image_hashes(self) -> Iterator[NDArray[np.uint64]]:
        yield np.arange(8, dtype=np.uint64)


def test_clips_are_embedded_at_their_times(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovocr.trainer.evaluation.evaluate.open_evaluation_data", lambda *_, **__: Clips())
    head = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=[3], examples=8).heads["ocr"].recall
    trained = TrainedRun.load(tmp_path / "run", CPU)
    for index in range(8):
        pixels, _, times, _ = Clips().load(index)
        positions = torch.tensor([[(t, h, w) for t in times for h in range(2) for w in range(2)]])
        with torch.no_grad():
            _, pooled = trained.model.backbone(normalise(torch.from_numpy(pixels)[None]), positions)
        cosines = torch.nn.functional.cosine_similarity(pooled, trained.model.heads["ocr"].weight)
        answers = head.examples[index].answers
        assert [answer.score for answer in answers] == pytest.approx(cosines.topk(3).values.tolist(), abs=1e-5)


def test_errors(planted: NDArray[np.int64], tmp_path: Path) -> None:
    run, labels = tmp_path / "run", tmp_path / "labels"
    with pytest.raises(OvocrError, match=r"not a training run \(no config.toml\)"):
        evaluate(labels, [labels])
    (tmp_path / "training" / "manifest.json").rename(tmp_path / "training" / "away")
    with pytest.raises(
        OvocrError,
        match=r"^heads.ocr.data \(the prior, .*\): .*/training: not a",
    ):
        evaluate(run, [labels])
    (tmp_path / "training" / "away").rename(tmp_path / "training" / "manifest.json")
    damage_images(labels, *range(17))
    damage_images(labels, *range(7), shard=1)
    for workers in (0, 1):
        with pytest.raises(OvocrError, match=r"^--data: 24 images, all damaged; make the data sets again$"):
            evaluate(run, [labels], workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_images_are_skipped(
    planted: NDArray[np.int64],
    tmp_path: Path,
    make_data_set: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    labels, other = tmp_path / "labels", make_data_set("other", [13], patterned=True, words=WORDS)
    damage_images(labels, 0, 5)
    damage_images(labels, 6, shard=1)
    left = [image for image in range(IMAGES) if image not in (0, 5, 23)]
    found = evaluate(tmp_path / "run", [labels], top_k=KS, examples=100, workers=workers)
    told = capsys.readouterr().err.splitlines()
    places = ("0.rec id 0 (0.jpg of source0", "0.rec id 5 (5.jpg of source0", "1.rec id 6 (6.jpg of source1")
    assert [line for line in told if line.startswith("ovocr")] == [
        f"ovocr: --data: skipped: {labels}/rec/0000{place}.tar): not a JPEG, PNG or WebP image" for place in places
    ]
    figures = found.to_json()["heads"]["ocr"]
    wanted = {**expected(planted.tolist(), lambda _: True, left), **expected_reading(planted, images=left)}
    del wanted["pairs"]
    assert {key: figures[key] for key in wanted} == wanted
    assert (figures["images"], figures["skipped"], figures["groups"]) == (21, 3, 21)
    examples = found.heads["ocr"].recall.examples
    assert [example.name.partition(" (")[0].partition("/rec/")[2] for example in examples] == [
        f"0000{image // 17}.rec id {image % 17}" for image in left
    ]
    for example, image in zip(examples, left, strict=True):
        assert [answer.word for answer in example.answers] == [WORDS[answer] for answer in planted[image][:10]]
    damage_images(other, *range(9))
    both = evaluate(tmp_path / "run", [other, labels], top_k=KS, workers=workers)
    named = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ovocr: --data: skipped: ")]
    assert len(named) == 10  # of 12
    figures_of_both = both.to_json()["heads"]["ocr"]
    for root, images, skipped in ((labels, 21, 3), (other, 4, 9)):
        of_one = figures_of_both["data_sets"][str(root)]
        assert (of_one["images"], of_one["skipped"]) == (images, skipped)
    assert figures_of_both["data_sets"][str(labels)]["word_auc"] == figures["word_auc"]
    assert (figures_of_both["images"], figures_of_both["skipped"]) == (25, 12)
    assert "\n  3 damaged images skipped\n" in format_evaluation(found)
    assert "3 damaged images skipped." in " ".join(Page(evaluation_page(found)).text.split())
    text = " ".join(Page(evaluation_page(both)).text.split())
    for root, skipped in ((labels, 3), (other, 9)):
        assert f"{root}: {skipped} damaged images skipped." in text


def test_crops_that_show_the_whole_image_are_counted(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run, labels = tmp_path / "run", tmp_path / "labels"
    config = load_config(run / "config.toml")
    settings = config.heads["ocr"].model_copy(update={"crop_scale": (0.3, 0.9), "crop_share": 0.5})
    (run / "config.toml").write_text(dump_config(config.model_copy(update={"heads": {"ocr": settings}})))
    damage_images(labels, 2)
    found = evaluate(run, [labels], top_k=[5], crops=4)
    samples = open_samples(settings, [labels], num_classes=len(WORDS), image_size=32)
    assert isinstance(samples, RecordSamples)
    views = []
    for number in range(4 * IMAGES):
        if number // 4 != 2:
            encoded, own = samples[number // 4]
            views.append(samples.choose_view(number // 4, encoded, own, number).view)
    whole = sum(view.is_whole for view in views)
    assert 30 < whole < 92
    figures = found.to_json()["heads"]["ocr"]
    assert (figures["images"], figures["skipped"], figures["whole_crops"]) == (92, 1, whole)
    assert f"\n  1 damaged image skipped\n  {whole} of 92 crops show the whole image\n" in format_evaluation(found)
    assert f"1 damaged image skipped. {whole} of 92 crops show the whole image." in " ".join(
        Page(evaluation_page(found)).text.split()
    )


def test_checkpoint_is_chosen_by_step(planted: NDArray[np.int64], tmp_path: Path) -> None:
    run, labels = tmp_path / "run", tmp_path / "labels"
    newest = evaluate(run, [labels], top_k=[5])
    trained = TrainedRun.load(run, CPU)
    trained.model.heads["ocr"].weight.data.neg_()  # the order of all answers is reversed
    state = {"step": 3, "num_classes": {"ocr": len(WORDS)}}
    save_checkpoint(RunFolder(run).checkpoint(3), trained.model.tensors(), state, Ranks())
    assert evaluate(run, [labels], top_k=[5]) == newest
    older = evaluate(run, [labels], top_k=[5], step=3)
    assert older.step == 3
    own = [(tags_of(image), planted[image, ::-1][:5]) for image in range(IMAGES)]
    assert older.heads["ocr"].recall.every.recall[5] == pytest.approx(
        np.mean([len(tags & set(answers.tolist())) / 5 for tags, answers in own])
    )
    with pytest.raises(OvocrError, match=r"run: no checkpoint after 4 steps, only after 3, 7$"):
        evaluate(run, [labels], step=4)


def test_crops_and_their_tags_match_training(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    with pytest.raises(
        UsageError,
        match=r"^--crops: head ocr is trained on whole images, without crop_scale or crop_text_height; choose the "
        r"text heights of the crops with --crop-text-height LOW HIGH$",
    ):
        evaluate(run, [tmp_path / "labels"], crops=2)
    words = Vocabulary.load(run / "vocab" / "ocr.txt")
    records = [(encoded(painted()), [0, 1, 2, 3, 4], [flat(box) for box in BOXES])] * 3
    root = write_placed(tmp_path / "placed", records, words=[words.word(number) for number in range(len(words))])
    config = load_config(run / "config.toml")
    settings = config.heads["ocr"].model_copy(update={"crop_scale": (0.2, 0.6), "labels_stored": 5})
    config = config.model_copy(update={"heads": {"ocr": settings}})
    (run / "config.toml").write_text(dump_config(config))
    cropped = evaluate(run, [root], top_k=[5], crops=4, examples=12).heads["ocr"].recall
    samples = open_samples(settings, [root], num_classes=len(WORDS), image_size=32)
    kept = [set(samples.load(n // 4, n).labels.tolist()) for n in range(12)]
    assert cropped.images == 12
    assert [{tag.word for tag in example.tags} for example in cropped.examples] == [
        {words.word(tag) for tag in tags} for tags in kept
    ]
    assert min(map(len, kept)) < 5
    assert cropped.examples[5].name.endswith(", part 2")
    assert evaluate(run, [root], top_k=[5], crops=4, workers=1).heads["ocr"].recall.every == cropped.every
    assert " on 12 crops (always " in format_evaluation(evaluate(run, [root], crops=4))


def placed_words(run: Path, root: Path, images: int = 6) -> Path:
    """Writes images with five words of the run's vocabulary at known places."""
    words = Vocabulary.load(run / "vocab" / "ocr.txt")
    records = [(encoded(painted()), [0, 1, 2, 3, 4], [flat(box) for box in BOXES])] * images
    return write_placed(root, records, words=[words.word(number) for number in range(len(words))])


def with_head(run: Path, **settings: Any) -> None:
    """Changes settings of the head in a run's configuration."""
    config = load_config(run / "config.toml")
    head = config.heads["ocr"].model_copy(update=settings)
    (run / "config.toml").write_text(dump_config(config.model_copy(update={"heads": {"ocr": head}})))


def test_crops_of_chosen_text_heights(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads that were trained on whole images and on any crops have the figures of one with these crops."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    root = placed_words(run, tmp_path / "placed")
    options: dict[str, Any] = {"top_k": [5], "replicates": 20, "crops": 8, "min_text_height": 6}
    with_head(run, labels_stored=5, crop_text_height=(7.0, 12.0))
    wanted = evaluate(run, [root], **options)
    words = wanted.heads["ocr"].reading.every.words
    assert words.every.word_auc.classes > 0
    assert wanted.heads["ocr"].reading.every.whole_crops == 0
    own: dict[str, Any] = {"crop_scale": None, "crop_text_height": None, "crop_share": 1.0}
    start = {"crop_text_height_start": (20.0, 30.0), "crop_text_height_steps": 9}
    start |= {"crop_context": (0.0, 0.5), "crop_context_start": (0.0, 0.0)}
    for settings in (
        own,
        {**own, "crop_scale": (0.3, 0.5), "crop_share": 0.5},
        {**own, "crop_text_height": (14.0, 28.0), "crop_share": 0.2, **start},
    ):
        with_head(run, **settings)
        found = evaluate(run, [root], crop_text_height=(7.0, 12.0), **options)
        assert found == dataclasses.replace(wanted, crop_text_height=(7.0, 12.0))
        crops_json = {"crop_text_height": [7.0, 12.0], "crop_context": [1.0, 1.0]}
        assert found.to_json() == {**wanted.to_json(), **crops_json}
    large = evaluate(run, [root], crop_text_height=(14.0, 28.0), **options)
    assert large.heads["ocr"].reading != wanted.heads["ocr"].reading
    with_head(run, crop_text_height=(7.0, 12.0), crop_share=1.0, crop_text_height_start=None, crop_context_start=None)
    alone = evaluate(run, [root], crop_text_height=(7.0, 12.0), crop_context=(0.0, 0.0), **options)
    assert alone.heads["ocr"].reading != wanted.heads["ocr"].reading
    with_head(run, crop_context=(0.0, 0.0))
    assert alone.heads == evaluate(run, [root], **options).heads
    text = " ".join(Page(evaluation_page(alone)).text.split())
    assert "with lines of 7 to 12 pixels and 0 to 0 of their surroundings" in text
    with_head(run, max_upscale=0.2)
    assert evaluate(run, [root], crop_text_height=(7.0, 12.0), **options).heads != wanted.heads
    assert ", 8 crops of each image, each counted as an image, chosen by their text, with lines of 7 to 12 pixels" in (
        " ".join(Page(evaluation_page(found)).text.split())
    )


def test_words_that_a_crop_cuts_are_left_out(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The share of positives among positives and negatives, from the boxes and the views in plain Python."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    root = placed_words(run, tmp_path / "placed", 20)
    with_head(run, labels_stored=4, crop_scale=(0.2, 0.6))
    found = evaluate(run, [root], top_k=[5], replicates=20, crops=20, min_text_height=0).heads["ocr"].reading.every
    head = load_config(run / "config.toml").heads["ocr"]
    samples = open_samples(head, [root], num_classes=len(WORDS), image_size=32, for_training=False)
    assert isinstance(samples, RecordSamples)
    encoded_image, labels = samples[0]
    positives, cut = np.zeros(5), np.zeros(5)
    for number in range(400):
        left, top, right, bottom = samples.choose_view(0, encoded_image, labels, number).view.crop
        for word, ((x0, y0), _, (x1, y1), _) in enumerate(BOXES[:4]):
            across, down = min(x1, right) - max(x0, left), min(y1, bottom) - max(y0, top)
            share = max(0, across) * max(0, down) / ((x1 - x0) * (y1 - y0))
            positives[word] += share >= 0.8
            cut[word] += 0 < share < 0.8
        shown = samples.shown_tags(number // 20, number)
        positives[4] += 4 in shown.ids  # its box is rotated, and it has no slot
        cut[4] += 4 in shown.cut
    assert min(positives.min(), cut.min()) > 20
    figures = found.words.every.word_map
    assert (figures.classes, figures.chance) == (5, pytest.approx(np.mean(positives / (400 - cut))))


def test_wrong_crop_text_heights_are_one_line(planted: NDArray[np.int64], tmp_path: Path) -> None:
    def refusal(*options: str) -> str:
        command = ["eval", str(tmp_path / "run"), "--data", str(tmp_path / "labels"), *options]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 2
        return done.output

    for low, high in (("0", "12"), ("12", "7"), ("nan", "12"), ("7", "nan"), ("7", "inf"), ("-3", "12")):
        assert refusal("--crops", "2", "--crop-text-height", low, high) == (
            f"ovocr: --crop-text-height {low} {high}: must be two numbers of pixels greater than 0, the smaller one "
            "first\n"
        )
    assert refusal("--crop-text-height", "7", "12") == (
        "ovocr: --crop-text-height: needs --crops, the number of crops of each image\n"
    )
    assert "'--crop-text-height' requires 2 arguments" in refusal("--crops", "2", "--crop-text-height", "7")


def test_heads_of_other_kinds_have_no_crops_chosen_by_their_text(
    tmp_path: Path, config_file: Path, make_data_set: Callable[..., Path]
) -> None:
    packed = make_data_set("packed", [12], patterned=True, words=None)
    config = load_config(config_file, [f'heads.ocr.data=["{packed}"]', 'heads.ocr.kind="image"'])
    folder = RunFolder(tmp_path / "run")
    folder.prepare(config, {})
    model = build_model(config, {"ocr": 50}, Ranks(), CPU)
    save_checkpoint(folder.checkpoint(1), model.tensors(), {"step": 1, "num_classes": {"ocr": 50}}, Ranks())
    with pytest.raises(
        UsageError, match=r"^--crop-text-height: head ocr is of kind image; only heads of kind ocr have crops chosen by"
    ):
        evaluate(tmp_path / "run", [packed], crops=2, crop_text_height=(7, 12))
    with pytest.raises(
        UsageError, match=r"^--crops: head ocr is trained on whole images, without crop_scale; leave --crops out$"
    ):
        evaluate(tmp_path / "run", [packed], crops=2)


def test_command(planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["eval", "run", "--data", "labels", "--head", "ocr", "--top-k", "5", "--top-k", "2", "--workers", "1"]
    done = CliRunner().invoke(main, [*command, "--json", "f.json", "--html", "f.html", "--examples", "2"])
    assert done.exit_code == 0, done.output
    assert "ocr: tag recall@2 " in done.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["top_k"] == [2, 5]
    assert figures.pop("data") == ["labels"]
    expected_figures = evaluate(tmp_path / "run", [tmp_path / "labels"], top_k=[2, 5]).to_json()
    assert figures == {key: value for key, value in expected_figures.items() if key != "data"}
    assert (tmp_path / "f.html").read_text().count("<article>") == 2
    for option, path in (("--html", "."), ("--html", "none/f.html"), ("--json", "none/f.json")):
        refused = CliRunner().invoke(main, [*command, option, path])
        assert refused.exit_code == 2
        assert f"{option} {path}: is a folder, or in a folder that does not exist" in refused.output

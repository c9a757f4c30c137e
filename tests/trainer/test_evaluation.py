"""Recall@k, the prior, reading and export, on a run that learnt its few pictures by heart."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ovocr.errors import OvocrError, UsageError
from ovocr.recordio import RecordReader
from ovocr.trainer import Backbone, ranking
from ovocr.trainer.config import load_config
from ovocr.trainer.evaluation import evaluate, most_frequent_tags, recall_at_k
from ovocr.trainer.loop import train
from ovocr.trainer.model import export_backbone
from ovocr.trainer.ranking import nearest_centers
from ovocr.trainer.reading import Reading, read_pictures


def test_recall_by_hand() -> None:
    assert recall_at_k([1, 2, 3], [3, 3, 9], 3) == 0.5  # one of two distinct tags
    assert recall_at_k([1, 2], [1, 2, 3, 4], 2) == 1.0  # no more than k can be found
    assert recall_at_k([7], [1, 2], 1) == 0.0


def test_nearest_centers_are_those_of_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_TILE_CENTERS", 17)
    embeddings, weight = torch.randn(5, 8), torch.randn(101, 8)
    cosines, classes = nearest_centers(embeddings, weight, 20)
    every = torch.nn.functional.cosine_similarity(embeddings[:, None], weight[None], dim=2)
    wanted = every.topk(20, dim=1)
    assert torch.equal(classes, wanted.indices)
    torch.testing.assert_close(cosines, wanted.values)
    assert nearest_centers(embeddings, weight[:3], 20)[1].shape == (5, 3)


def test_the_prior_counts_images(make_data_set: Callable[..., Path]) -> None:
    first, second = make_data_set("a", [3, 2], tags=4), make_data_set("b", [2], tags=4)
    # Image n has the tags n .. n + 3: tag 1 is in images 0 and 1 of both, tag 3 in 4 of the first and 2 of the second.
    assert most_frequent_tags([first, second], 3) == [3, 2, 4]
    assert most_frequent_tags([second], 2) == [1, 2]


def test_a_trained_run_reads(config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path]) -> None:
    train(load_config(config_file, ["run.steps=80", "run.checkpoint_every=80"]))
    run = tmp_path / "run"
    evaluation = evaluate(run, [tmp_path / "labels"], top_k=5)
    recall = evaluation.heads["ocr"]
    assert (recall.images, recall.classes) == (24, 50)
    assert recall.recall > 2 * recall.prior
    assert evaluation.to_json() == {
        "step": 80,
        "top_k": 5,
        "heads": {
            "ocr": {"images": 24, "classes": 50, "recall@5": recall.recall, "prior_recall@5": recall.prior},
        },
    }
    assert f"tag recall@5 {recall.recall:.3f} over all 50 centers, on 24 images" in evaluation.format()

    picture = tmp_path / "record10.jpg"
    picture.write_bytes(RecordReader(tmp_path / "labels" / "rec" / "00000")[10].image)  # its tags: 10 .. 19
    (reading,) = read_pictures(run, [picture], top_k=5)
    assert isinstance(reading, Reading)
    assert len(set(word for word, _ in reading.words) & {f"word{n}" for n in range(10, 20)}) >= 3
    assert [score for _, score in reading.words] == sorted((score for _, score in reading.words), reverse=True)
    assert reading.format().splitlines()[0] == f"{picture}:"

    assert export_backbone(run, tmp_path / "exported") == 80
    assert Backbone.from_pretrained(tmp_path / "exported").config.hidden_size == 64

    other = make_data_set("other", [2], words=[f"another{n}" for n in range(50)])
    with pytest.raises(OvocrError, match="other: its tags are of another vocabulary"):
        evaluate(run, [other])
    with pytest.raises(UsageError, match="--head: 'video' is not a head of this run; it has ocr"):
        next(read_pictures(run, [picture], head="video"))
    (tmp_path / "text.jpg").write_text("no picture")
    missing, words, broken = read_pictures(run, [tmp_path / "none.jpg", picture, tmp_path / "text.jpg"], top_k=5)
    assert isinstance(missing, UsageError)
    assert re.search("none.jpg: cannot be read: No such file", str(missing))
    assert words == reading
    assert isinstance(broken, OvocrError)
    assert str(broken).startswith(f"{tmp_path}/text.jpg: ")


def test_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(OvocrError, match=r"not a training run \(no config.toml\)"):
        evaluate(tmp_path, [tmp_path])

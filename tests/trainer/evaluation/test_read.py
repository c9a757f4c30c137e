"""Reading, export and recall of a run that memorised its few images."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.recordio import RecordReader
from ovocr.trainer import Backbone
from ovocr.trainer.config.file import load_config
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.read import Reading, read_words
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import export_backbone


def test_trained_run_reads_words(config_file: Path, tmp_path: Path, make_data_set: Callable[..., Path]) -> None:
    train(load_config(config_file, ["run.steps=80", "run.checkpoint_every=80"]))
    run = tmp_path / "run"
    evaluation = evaluate(run, [tmp_path / "labels"], top_k=[5])
    head = evaluation.heads["ocr"].recall
    assert (evaluation.step, head.images, head.classes) == (80, 24, 50)
    assert head.every.recall[5] > 2 * head.every.prior[5]

    image = tmp_path / "record10.jpg"
    image.write_bytes(RecordReader(tmp_path / "labels" / "rec" / "00000")[10].image)  # its tags: 10 .. 19
    (reading,) = read_words(run, [image], top_k=5)
    assert isinstance(reading, Reading)
    assert len(set(word for word, _ in reading.words) & {f"word{n}" for n in range(10, 20)}) >= 3
    assert [score for _, score in reading.words] == sorted((score for _, score in reading.words), reverse=True)
    assert reading.format().splitlines()[0] == f"{image}:"

    assert export_backbone(run, tmp_path / "exported") == 80
    assert Backbone.from_pretrained(tmp_path / "exported").config.hidden_size == 64

    other = make_data_set("other", [2], words=[f"another{n}" for n in range(50)])
    with pytest.raises(OvocrError, match="other: its vocabulary .* is not the run's"):
        evaluate(run, [other])
    with pytest.raises(UsageError, match="--head: 'video' is not a head of this run; it has ocr"):
        next(read_words(run, [image], head="video"))
    (tmp_path / "text.jpg").write_text("no image")
    missing, words, broken = read_words(run, [tmp_path / "none.jpg", image, tmp_path / "text.jpg"], top_k=5)
    assert isinstance(missing, UsageError)
    assert re.search("none.jpg: cannot be read: No such file", str(missing))
    assert words == reading
    assert isinstance(broken, OvocrError)
    assert str(broken).startswith(f"{tmp_path}/text.jpg: ")

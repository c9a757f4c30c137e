"""Reading, export and recall of a run that memorised its few images; reading in tiles, against all scores."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from torch.nn.functional import normalize

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.recordio import RecordReader
from ovocr.trainer import Backbone
from ovocr.trainer.config.file import load_config
from ovocr.trainer.data.images import load_image
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.read import read_words
from ovocr.trainer.evaluation.reading.image_words import Reading
from ovocr.trainer.evaluation.reading.tiles import Tiling
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import TrainedRun
from ovocr.views.view import Crop
from tests.html_page import Page
from tests.trainer.evaluation.planted_run import CPU, WORDS


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
    assert len({found.word for found in reading.words} & {f"word{n}" for n in range(10, 20)}) >= 3
    scores = [found.score for found in reading.words]
    assert scores == sorted(scores, reverse=True)
    assert reading.format().splitlines()[0] == f"{image}:"

    assert export_encoder(run, tmp_path / "exported").step == 80
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


def mosaic(width: int, height: int) -> NDArray[np.uint8]:
    colours = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))[:height, :width]


def write_png(path: Path, image: NDArray[np.uint8]) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def cosines(run: Path, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Returns the cosines of all images and classes, each image embedded alone."""
    trained = TrainedRun.load(run, CPU)
    pixels = [torch.from_numpy(load_image(cv2.imencode(".png", image)[1].tobytes(), 32)) for image in images]
    embeddings = torch.cat([trained.embed("ocr", each[None]) for each in pixels])
    weight = trained.model.heads["ocr"].weight.detach()
    return (normalize(embeddings, dim=1) @ normalize(weight, dim=1).T).numpy()


@pytest.mark.parametrize(("side", "count"), [(16, 96), (48, 8), (75, 2)])
def test_word_has_the_score_of_its_best_tile(planted: NDArray[np.int64], tmp_path: Path, side: int, count: int) -> None:
    image = mosaic(100, 70)
    tiles = Tiling(100, 70, side).tiles()
    assert len(tiles) == count
    scores = cosines(tmp_path / "run", [image[top:bottom, left:right] for left, top, right, bottom in tiles])
    (found,) = read_words(tmp_path / "run", [write_png(tmp_path / "image.png", image)], top_k=12, tile=side)
    assert isinstance(found, Reading)
    assert found.tiling == Tiling(100, 70, side)
    assert [word.score for word in found.words] == pytest.approx(np.sort(scores.max(axis=0))[::-1][:12], abs=1e-5)
    for word in found.words:
        assert word.tile is not None
        of_class = scores[:, WORDS.index(word.word)]
        assert word.score == pytest.approx(of_class.max(), abs=1e-5)
        assert of_class[tiles.index(word.tile)] == pytest.approx(of_class.max(), abs=1e-5)


def test_one_tile_is_the_whole_image(planted: NDArray[np.int64], tmp_path: Path) -> None:
    run, image = tmp_path / "run", tmp_path / "image.jpg"
    image.write_bytes(cv2.imencode(".jpg", mosaic(300, 200))[1].tobytes())  # decoded at half its size
    (whole,) = read_words(run, [image])
    assert isinstance(whole, Reading)
    assert whole.tiling is whole.jpeg is None
    for side in (300, 5000):
        (tiled,) = read_words(run, [image], tile=side, with_jpeg=True)
        assert isinstance(tiled, Reading)
        assert [word[:2] for word in tiled.words] == [word[:2] for word in whole.words]
        assert {word.tile for word in tiled.words} == {Crop(0, 0, 300, 200)}
        assert tiled.jpeg is not None
        assert cv2.imdecode(np.frombuffer(tiled.jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (200, 300, 3)


def test_command(planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_png(Path("a.png"), mosaic(100, 70))
    write_png(Path("large.png"), mosaic(1600, 900))
    Path("text.png").write_text("no image")
    command = ["read", "run", "large.png", "a.png", "text.png", "--top-k", "3", "--tile", "8"]
    done = CliRunner().invoke(main, [*command, "--json", "words.json", "--html", "words.html"])
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        "ovocr: large.png: 1600 x 900 pixels need 89,376 tiles of 8 pixels, more than 10,000; choose a larger --tile",
        "ovocr: text.png: not a JPEG, PNG or WebP image",
    ]
    lines = done.stdout.splitlines()
    assert lines[:2] == ["a.png:", "  408 tiles of 8 x 8 pixels"]
    assert len(lines) == 5
    (figures,) = json.loads(Path("words.json").read_text())
    assert (figures["path"], figures["tiles"]) == ("a.png", 408)
    for line, found in zip(lines[2:], figures["words"], strict=True):
        left, top, right, bottom = found["box"]
        assert (right - left, bottom - top) == (8, 8)
        assert line == f"  {found['score']:6.3f}  {found['word']}  ({left + 4}, {top + 4})"
    page = Page(Path("words.html").read_text())
    assert [tag for tag, _ in page.elements].count("img") == 1
    assert all(page.text.count(found["word"]) >= 2 for found in figures["words"])

    printed = CliRunner().invoke(main, ["read", "run", "a.png", "--json", "-"])
    (whole,) = json.loads(printed.stdout)
    assert (whole["tiles"], len(whole["words"]), set(whole["words"][0])) == (None, 10, {"word", "score"})

    small = CliRunner().invoke(main, ["read", "run", "a.png", "--tile", "7"])
    assert (small.exit_code, small.output) == (2, "ovocr: --tile 7: must be at least 8 pixels\n")

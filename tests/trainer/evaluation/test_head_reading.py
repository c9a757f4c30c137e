"""Measures of reading by `ovocr eval`: several data sets, groups, crops, text heights, and the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.head_reading import HeadReading
from ovocr.trainer.evaluation.terminal_report import format_evaluation
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import save_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.model import build_model
from ovocr.vocab import Vocabulary
from tests.trainer.evaluation.planted_run import IMAGES, WORDS
from tests.trainer.placed_words import BOXES, encoded, flat, painted, write_placed

FEW = {"replicates": 30, "top_k": [5]}


def reading(tmp_path: Path, *data: Path, **options: Any) -> HeadReading:
    return evaluate(tmp_path / "run", data or [tmp_path / "labels"], **{**FEW, **options}).heads["ocr"].reading


def ovocr(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def groups_of(tmp_path: Path, keys: dict[str, str]) -> Path:
    path = tmp_path / "groups.csv"
    path.write_text("key,group\n" + "".join(f"{key},{group}\n" for key, group in keys.items()))
    return path


def test_each_of_several_data_sets_has_its_own_figures(
    planted: NDArray[np.int64], tmp_path: Path, make_data_set: Callable[..., Path]
) -> None:
    other = make_data_set("other", [20], patterned=True, words=WORDS)
    found = evaluate(tmp_path / "run", [tmp_path / "labels", other], **FEW)
    head = found.heads["ocr"]
    assert list(head.reading.data_sets) == [str(tmp_path / "labels"), str(other)]
    assert head.reading.data_sets[str(tmp_path / "labels")] == reading(tmp_path).every
    assert head.reading.data_sets[str(other)] == reading(tmp_path, other).every
    assert (head.recall.images, head.reading.every.words.images) == (44, 44)
    figures = found.to_json()["heads"]["ocr"]
    assert set(figures["data_sets"][str(other)]) == {
        *("images", "skipped", "whole_crops", "groups", "images_without_group", "word_auc", "word_map"),
        *("by_text_height", "by_script", "by_frequency", "words", "trained_on"),
    }
    assert figures["word_auc"]["classes"] > figures["data_sets"][str(other)]["word_auc"]["classes"]
    assert "data_sets" not in evaluate(tmp_path / "run", [other], **FEW).to_json()["heads"]["ocr"]


def test_groups_are_resampled_together(planted: NDArray[np.int64], tmp_path: Path) -> None:
    images, table = reading(tmp_path), groups_of(tmp_path, {f"{n}.jpg": f"g{n // 2}" for n in range(10)})
    groups = reading(tmp_path, groups=table)
    assert (images.every.words.groups, images.every.images_without_group) == (IMAGES, None)
    # The shards have 17 and 7 images, and keys from 0.jpg in each: 10.jpg to 16.jpg are not in the table.
    assert (groups.every.words.groups, groups.every.images_without_group) == (5 + 7, 7)
    one, other = images.every.words.every.word_auc, groups.every.words.every.word_auc
    assert (one.value, one.classes) == (other.value, other.classes)
    assert (one.low, one.high) != (other.low, other.high)
    text = format_evaluation(evaluate(tmp_path / "run", [tmp_path / "labels"], groups=table, **FEW))
    assert "\n  intervals over 12 groups; 7 images without a group\n" in text


def test_groups_of_each_data_set_are_counted(
    planted: NDArray[np.int64], tmp_path: Path, make_data_set: Callable[..., Path]
) -> None:
    other = make_data_set("other", [12], patterned=True, words=WORDS)
    table = groups_of(tmp_path, {f"{n}.jpg": "one" for n in range(11)})
    found = reading(tmp_path, tmp_path / "labels", other, groups=table)
    counts = [(each.words.groups, each.images_without_group) for each in (*found.data_sets.values(), found.every)]
    assert counts == [(7, 6), (2, 1), (8, 7)]


def test_tags_below_the_minimum_text_height_count_in_their_band(planted: NDArray[np.int64], tmp_path: Path) -> None:
    # Lines of 12 pixels in images of 40 x 24 are 9.6 pixels high in an input of 32.
    large, small = (reading(tmp_path, min_text_height=least).every.words for least in (9.6, 9.61))
    assert large.every == large.by_text_height["8-12"] == small.by_text_height["8-12"]
    assert large.every.word_auc.classes > 10
    assert small.every.word_auc.value is None
    assert small.by_script == {}
    text = format_evaluation(evaluate(tmp_path / "run", [tmp_path / "labels"], min_text_height=9.61, **FEW))
    assert text.splitlines()[0] == (
        "ocr: no word AUC: no word has 5 images with it in text of at least 9.61 pixels and 5 without; "
        "lower --min-text-height, or take more images"
    )
    assert "  text height: 8-12 px " in text


def test_crops_of_an_image_are_one_group(
    planted: NDArray[np.int64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = tmp_path / "run"
    words = Vocabulary.load(run / "vocab" / "ocr.txt")
    records = [(encoded(painted()), [0, 1, 2, 3, 4], [flat(box) for box in BOXES])] * 6
    root = write_placed(tmp_path / "placed", records, words=[words.word(number) for number in range(len(words))])
    config = load_config(run / "config.toml")
    settings = config.heads["ocr"].model_copy(update={"crop_scale": (0.2, 0.6), "labels_stored": 5})
    (run / "config.toml").write_text(dump_config(config.model_copy(update={"heads": {"ocr": settings}})))
    crops = reading(tmp_path, root, crops=20, min_text_height=6).every
    assert (crops.words.images, crops.words.groups) == (120, 6)
    # Word 0 is 30 pixels high in an image of 240; crops of 20% to 60% of its area are enlarged to 1.3 to 2.2 times.
    bands = {band: group.word_auc.classes for band, group in crops.words.by_text_height.items()}
    assert sum(bands[band] for band in ("6-8", "8-12")) > 0
    assert bands["unknown"] == bands["24-48"] == 0
    table = groups_of(tmp_path, {"0.png": "a", "1.png": "a", "2.png": "b"})
    grouped = reading(tmp_path, root, crops=20, groups=table, min_text_height=6).every
    assert (grouped.words.groups, grouped.images_without_group) == (5, 3)
    assert grouped.words.every.word_auc.classes == crops.words.every.word_auc.classes > 0
    few = write_placed(tmp_path / "few", records[:4], words=[words.word(number) for number in range(len(words))])
    of_four_images = reading(tmp_path, few, crops=20, min_text_height=6).every.words
    assert (of_four_images.images, of_four_images.every.word_auc.classes) == (80, 0)


def test_class_ids_without_words_have_unknown_heights_and_no_script(
    tmp_path: Path, config_file: Path, make_data_set: Callable[..., Path]
) -> None:
    packed = make_data_set("packed", [30], patterned=True, words=None)
    config = load_config(config_file, [f'heads.ocr.data=["{packed}"]', 'heads.ocr.kind="image"'])
    folder = RunFolder(tmp_path / "run")
    folder.prepare(config, {})
    model = build_model(config, {"ocr": 50}, Ranks(), torch.device("cpu"))
    save_checkpoint(folder.checkpoint(1), model.tensors(), {"step": 1, "num_classes": {"ocr": 50}}, Ranks())
    words = reading(tmp_path, packed).every.words
    assert words.every.word_auc.classes > 20
    assert words.every == words.by_text_height["unknown"]
    assert {band for band, group in words.by_text_height.items() if group.word_auc.classes} == {"unknown"}
    assert words.by_script == {}
    assert words.by_frequency["2-9"].word_auc.classes > 0


def test_errors(planted: NDArray[np.int64], tmp_path: Path) -> None:
    with pytest.raises(OvocrError, match=r"^--groups .*: no image has a row: an image's key is '0.jpg', the table's"):
        reading(tmp_path, groups=groups_of(tmp_path, {"labels/0.jpg": "a"}))
    with pytest.raises(UsageError, match=r"^--groups none.csv: no such file$"):
        reading(tmp_path, groups=Path("none.csv"))
    for least in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=rf"^--min-text-height {least:g}: must be a number of pixels, at least 0$"):
            reading(tmp_path, min_text_height=least)


def test_data_given_twice_and_too_many_replicates_are_one_line(planted: NDArray[np.int64], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "labels")
    for second in (tmp_path / "labels", tmp_path / "training" / ".." / "labels", tmp_path / "link"):
        command = ("eval", tmp_path / "run", "--data", tmp_path / "labels", "--data", second)
        assert ovocr(*command) == (2, "", f"ovocr: --data {second}: given twice\n")
    command = ("eval", tmp_path / "run", "--data", tmp_path / "labels", "--replicates", 10_001)
    assert ovocr(*command) == (2, "", "ovocr: --replicates 10001: must be at most 10000\n")


def test_command_prints_only_json(planted: NDArray[np.int64], tmp_path: Path) -> None:
    table = groups_of(tmp_path, {"0.jpg": "a", "1.jpg": "a"})
    options = ["--replicates", 30, "--seed", 4, "--min-text-height", 9, "--groups", table, "--top-k", 5]
    code, text, errors = ovocr("eval", tmp_path / "run", "--data", tmp_path / "labels", *options, "--json", "-")
    assert (code, errors) == (0, "")
    figures = json.loads(text)
    assert [figures[key] for key in ("replicates", "seed", "min_text_height")] == [30, 4, 9.0]
    again = evaluate(
        tmp_path / "run", [tmp_path / "labels"], replicates=30, seed=4, min_text_height=9, groups=table, top_k=[5]
    )
    assert figures == again.to_json()
    assert figures["heads"]["ocr"]["groups"] == IMAGES - 3  # 0.jpg and 1.jpg of two shards


def test_hostile_names_are_escaped(
    planted: NDArray[np.int64], tmp_path: Path, make_data_set: Callable[..., Path]
) -> None:
    hostile = make_data_set("\x1b[31mred <b>", [12], patterned=True, words=WORDS)
    data = ["--data", hostile, "--data", tmp_path / "labels"]
    table = groups_of(tmp_path, {f"{n}.jpg": "\x1b[31m" for n in range(12)})
    outputs = ["--json", tmp_path / "f.json", "--html", tmp_path / "f.html", "--groups", table, "--replicates", 30]
    code, text, _ = ovocr("eval", tmp_path / "run", *data, *outputs)
    assert code == 0
    assert "\x1b" not in text
    assert r"\x1b[31mred <b>: word AUC" in text
    names = list(json.loads((tmp_path / "f.json").read_text())["heads"]["ocr"]["data_sets"])
    assert [name.rpartition("/")[2] for name in names] == ["\x1b[31mred <b>", "labels"]
    page = (tmp_path / "f.html").read_text()
    assert "\x1b" not in page
    assert "red <b>" not in page
    assert r"\x1b[31mred &lt;b&gt;" in page

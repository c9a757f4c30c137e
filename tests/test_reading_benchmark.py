"""benchmarks/reading: the places of human words, distorted copies, and the split by shop."""

import importlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovocr.cli import main

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "reading"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of the benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARK))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def labelled(folder: Path, lines: list[dict[str, object]]) -> Path:
    """Labels one image, page.png, with given lines in place of OCR."""
    (folder / "images").mkdir()
    Image.new("RGB", (400, 200), "white").save(folder / "images" / "page.png")
    table = folder / "lines.jsonl"
    table.write_text(json.dumps({"key": "page.png", "lines": lines}) + "\n")
    command = ["build-labels", str(folder / "images"), "--lines", str(table), "--out", str(folder / "labels")]
    assert CliRunner().invoke(main, command).exit_code == 0
    return folder / "labels"


def test_a_word_that_ocr_read_too_has_its_box(module: Callable[[str], ModuleType], tmp_path: Path):
    read = [
        {"text": "total", "box": box(150, 10, 200, 30)},
        {"text": "total", "box": box(150, 110, 200, 130)},  # in another line
        {"text": "cash", "box": box(300, 10, 340, 30)},  # not in the human line
    ]
    human = {"page.png": [{"text": "The total", "box": box(0, 10, 180, 30)}]}
    placed, counts = module("human_words").place_words(labelled(tmp_path, read), human)
    assert placed == {
        "page.png": [{"text": "The", "box": box(0, 10, 60, 30)}, {"text": "total", "box": box(150, 10, 200, 30)}]
    }
    assert counts == {"words": 2, "placed by OCR": 1}


def test_a_reading_is_used_for_one_word(module: Callable[[str], ModuleType], tmp_path: Path):
    read = [{"text": "total", "box": box(0, 10, 90, 30)}]
    human = {"page.png": [{"text": "total total", "box": box(0, 10, 220, 30)}]}
    placed, _ = module("human_words").place_words(labelled(tmp_path, read), human)
    assert [word["box"] for word in placed["page.png"]] == [box(0, 10, 90, 30), box(120, 10, 220, 30)]


def test_without_human_boxes_words_of_both_are_kept(module: Callable[[str], ModuleType], tmp_path: Path):
    read = [{"text": "total", "box": box(0, 10, 90, 30)}, {"text": "cash", "box": box(0, 50, 90, 70)}]
    placed, _ = module("human_words").place_words(labelled(tmp_path, read), {"page.png": [{"text": "total 7"}]})
    assert placed == {"page.png": [{"text": "total", "box": box(0, 10, 90, 30)}]}


def test_boxes_follow_a_distorted_page(module: Callable[[str], ModuleType]):
    """A black rectangle stays inside its box, and fills most of it, in each of 20 copies."""
    page = np.full((300, 400, 3), 255, np.uint8)
    page[120:150, 200:280] = 0
    corners = np.array([[box(200, 120, 280, 150)]], np.float64).reshape(1, 4, 2)
    for seed in range(20):
        copy, (found,) = module("distortions").distort(page, corners, random.Random(seed))
        low, high = found.min(axis=0), found.max(axis=0)
        grey = copy.mean(axis=2)
        ground = np.median(grey)
        differs = np.abs(grey - ground) > np.abs(grey - ground).max() / 2
        rows, columns = np.nonzero(differs)
        assert low[0] - 4 <= columns.min()
        assert columns.max() <= high[0] + 4
        assert low[1] - 4 <= rows.min()
        assert rows.max() <= high[1] + 4
        assert differs.sum() > 0.6 * np.prod(high - low)


def test_a_shop_is_in_one_set(module: Callable[[str], ModuleType], shared_data: Path):
    sets = module("documents").split_documents(shared_data)
    for name in ("receipts", "forms", "chinese"):
        trained, held_out = sets[name], sets[f"held-out-{name}"]
        assert not set(trained.groups) & set(held_out.groups)
        assert not set(trained.images) & set(held_out.images)
        assert len(held_out.images) > 10

"""Tags of the whole data set by the height of their text, in the terminal, the JSON and the page."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovocr.cli import main
from ovocr.labelgen.inspection import legible_tags
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.inspecting import inspect_labels
from ovocr.labelgen.inspection.legible_tags import LegibleTags
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.page import inspection_page
from tests.html_page import Page
from tests.labelgen.inspection.conftest import ok, start_data_set, write_shard

SIZE = (1300, 100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Returns a data set of 2 shards with 3 and 5 images. Each has a tag whose line is 26 pixels of 1300 high."""
    data_set = start_data_set(tmp_path / "labels", ["a", "b"])
    image = ok("river stone", size=SIZE)
    for number, count in enumerate((3, 5)):
        write_shard(data_set, number, "ab"[number], [(f"{number}-{each}.jpg", image) for each in range(count)])
    return data_set.root


def inspect(root: Path, folder: Path, *options: str) -> tuple[str, str, dict[str, object], str]:
    """Returns standard output, standard error, the JSON and the page."""
    page, figures = folder / "page.html", folder / "figures.json"
    done = CliRunner().invoke(main, ["inspect", str(root), "--html", str(page), "--json", str(figures), *options])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr, json.loads(figures.read_text()), page.read_text()


def test_tags_of_all_shards_are_counted_whatever_is_shown(root: Path, tmp_path: Path) -> None:
    text, _, figures, page = inspect(root, tmp_path, "--shard", "1", "--limit", "1")
    assert text.splitlines()[:-1] == [
        "1 of 5 images, from 1 shard",
        "8 tags by text height in the whole image        median   8+ px  10+ px  12+ px  10+ px/image",
        "  scaled to 224 px                              4.5 px    0.0%    0.0%    0.0%           0.0",
        "  scaled to 336 px                              6.7 px    0.0%    0.0%    0.0%           0.0",
        "  scaled to 448 px                              9.0 px  100.0%    0.0%    0.0%           0.0",
        "  scaled to 672 px                             13.4 px  100.0%  100.0%  100.0%           1.0",
        "  scaled to 896 px                             17.9 px  100.0%  100.0%  100.0%           1.0",
        "crops chosen by their text, 8 images         tags/crop   8+ px  10+ px  12+ px   10+ px/crop",
        "  of 224 px                                        1.0  100.0%  100.0%  100.0%           1.0",
        "  of 336 px                                        1.0  100.0%  100.0%  100.0%           1.0",
        "  of 448 px                                        1.0  100.0%  100.0%  100.0%           1.0",
        "  of 672 px                                        1.0  100.0%  100.0%  100.0%           1.0",
        "  of 896 px                                        1.0  100.0%  100.0%  100.0%           1.0",
    ]
    found = figures["legibility"]
    assert isinstance(found, dict)
    assert (found["images"], found["tags"], found["tags_of_unknown_height"], found["left_out"]) == (8, 8, 0, [])
    assert found["by_size"][2] == {
        "image_size": 448,
        "median_text_height": pytest.approx(26 * 448 / 1300, abs=0.05),
        "legible": {"8": 8, "10": 0, "12": 0},
        "legible_share": {"8": 1.0, "10": 0.0, "12": 0.0},
        "legible_per_image": {"8": 1.0, "10": 0.0, "12": 0.0},
        "text_crops": {
            "images": 8,
            "tags_shown": 8,
            "legible": {"8": 8, "10": 8, "12": 8},
            "legible_share": {"8": 1.0, "10": 1.0, "12": 1.0},
            "legible_per_image": {"8": 1.0, "10": 1.0, "12": 1.0},
        },
    }
    section = page[page.index("<h3>Legible tags</h3>") : page.index("<h2>Images</h2>")]
    assert "8 tags of 8 ok images in the whole data set." in " ".join(section.split())
    cells = re.findall(r"<t[hd][^>]*>([^<]*)", section)
    at = cells.index("448 px")
    assert cells[at : at + 7] == ["448 px", "", "9.0 px", "100.0%", "0.0%", "0.0%", "0.0"]
    assert "Measured on 8 images." in section
    at = cells.index("448 px", at + 1)
    assert cells[at : at + 7] == ["448 px", "", "1.0", "100.0%", "100.0%", "100.0%", "1.0"]
    assert "<dt>Text height</dt>" in page
    definition = page[page.index("<dt>Crops chosen by their text</dt>") :]
    assert "a drawn height of 12 to 48 pixels, but to at most 2 times its size." in " ".join(definition.split())


def test_processes_count_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_set = InspectedDataSet.open(root)
    alone = LegibleTags.count(data_set, progress=False)
    monkeypatch.setattr(legible_tags, "IMAGES_FOR_ONE_PROCESS", 0)
    monkeypatch.setattr("ovocr.processes.shard_map.available_cores", lambda: 2)
    assert LegibleTags.count(data_set, progress=False) == alone


def test_packed_data_set_has_no_text_heights(make_data_set: Callable[..., Path], tmp_path: Path) -> None:
    text, _, figures, page = inspect(make_data_set([2], packed=True), tmp_path)
    assert figures["legibility"] is None
    assert "height" not in text
    assert "Legible tags" not in page
    assert "<dt>Text height</dt>" not in page
    assert "crops" not in page


def test_shard_that_cannot_be_read_is_left_out_and_named(root: Path, tmp_path: Path) -> None:
    """Also if the sample does not need it."""
    path = root / "ocr" / "00001.parquet"
    path.write_bytes(path.read_bytes()[:50])
    text, errors, figures, page = inspect(root, tmp_path, "--shard", "0")
    assert text.splitlines()[1].startswith("3 tags by text height")
    found, sample = figures["legibility"], figures["sample"]
    assert isinstance(found, dict)
    assert isinstance(sample, dict)
    (line,) = found["left_out"]
    assert line.startswith(f"shard 1: {path}: cannot be read: ")
    assert sample["left_out"] == []
    assert (found["images"], found["tags"]) == (3, 3)
    assert errors == f"ovocr: left out: {line}\n"
    assert page.count("Left out, because they cannot be read:") == 1
    assert "3 tags of 3 ok images in the readable shards." in " ".join(page.split())
    path.write_bytes((root / "ocr" / "00000.parquet").read_bytes())
    _, errors, figures, _ = inspect(root, tmp_path, "--shard", "0")
    assert len(errors.splitlines()) == 1
    assert "ocr/00001.parquet: does not list the images of " in errors


def test_no_shard_can_be_counted(root: Path, tmp_path: Path) -> None:
    for number in range(2):
        (root / "ocr" / f"0000{number}.parquet").unlink()
    data_set = InspectedDataSet.open(root)
    found = LegibleTags.count(data_set, progress=False)
    assert found is not None
    assert (found.found.tags, list(found.left_out)) == (0, [0, 1])


def test_hostile_names_of_damaged_shards_stay_text(hostile: Path) -> None:
    inspection = inspect_labels(InspectOptions(source=hostile, limit=1), progress=False)
    assert inspection.legible is not None
    name = "<script>document.title='taken'</script>\u202e"
    changed = replace(inspection, legible=replace(inspection.legible, left_out={0: name}))
    text = inspection_page(changed)
    page = Page(text)
    assert page.open == []
    assert len(page.scripts) == 1  # the page's own
    assert r"shard 0: <script>document.title='taken'</script>\u202e" in page.text
    assert "\u202e" not in text


def test_some_of_many_shards_are_measured(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legible_tags, "MEASURED_SHARDS", 1)
    text, _, figures, page = inspect(root, tmp_path)
    assert text.splitlines()[1].startswith("3 tags by text height")
    assert text.splitlines()[-2] == "measured in 1 of 2 shards, evenly spread"
    found = figures["legibility"]
    assert isinstance(found, dict)
    assert (found["tags"], found["shards_measured"], found["shards"]) == (3, 1, 2)
    assert "3 tags of 3 ok images in 1 of 2 shards, evenly spread. The share" in " ".join(page.split())


@pytest.mark.parametrize(
    ("count", "most", "expected"), [(0, 3, []), (3, 3, [0, 1, 2]), (7, 3, [0, 2, 4]), (3000, 3, [0, 1000, 2000])]
)
def test_measured_shards_are_spread(count: int, most: int, expected: list[int]) -> None:
    assert legible_tags.spread(range(count), most) == expected

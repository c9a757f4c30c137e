"""Preview of the samples of a run."""

import re
from pathlib import Path

import pytest

from ovocr.commands.train import train as train_command
from ovocr.trainer.config.file import load_config
from ovocr.trainer.preview.page import preview_page
from ovocr.trainer.preview.samples import preview
from tests.trainer.placed_words import BOXES, encoded, flat, painted, write_placed

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def cropped(tmp_path: Path, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configuration of a head that crops one image of four words, of which the second has two places."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    record = (encoded(painted()), [0, 1, 2, 3] * 3, [flat(box) for box in BOXES[:4]])
    words = [HOSTILE, "b", "c", "d", "e", "f", "g", "h", "i"]
    root = write_placed(tmp_path / "placed", [record], words, again=[(1, flat(BOXES[4]))])
    text = config_file.read_text()
    labels = tmp_path / "labels"
    config_file.write_text(text.replace(str(labels), str(root)) + "crop_scale = [0.2, 0.6]\ncrop_share = 0.8\n")
    return config_file


def test_samples_match_the_run(cropped: Path) -> None:
    (samples,) = preview(load_config(cropped), 12).values()
    assert [sample.position for sample in samples] == list(range(12))
    assert any(sample.part is None for sample in samples)
    shown = [sample for sample in samples if sample.part_used]
    assert len(shown) > 4
    for sample in samples:
        assert [(tag.word, len(tag.places)) for tag in sample.tags] == [(HOSTILE, 1), ("b", 2), ("c", 1), ("d", 1)]
        assert all(tag.kept for tag in sample.tags) or sample.part_used
        assert all(place.shown for tag in sample.tags for place in tag.places) or sample.part_used
    for sample in shown:
        left, top, right, bottom = sample.part
        for tag in sample.tags:
            assert tag.kept == any(place.shown for place in tag.places)
            for place in tag.places:
                x, y = sum(place.corners[::2]) / 4, sum(place.corners[1::2]) / 4
                if place.shown:  # a box that is four fifths visible has its center inside
                    assert left < x < right
                    assert top < y < bottom
    assert any(not tag.places[0].shown and tag.kept for sample in shown for tag in sample.tags)


def test_page_shows_kept_and_dropped_tags(cropped: Path, tmp_path: Path) -> None:
    samples = preview(load_config(cropped), 12)
    page = preview_page(cropped, samples)
    tags = [tag for sample in samples["ocr"] for tag in sample.tags]
    places = [place for tag in tags for place in tag.places]
    assert page.count('<li class="kept-tag"') == sum(tag.kept for tag in tags)
    assert page.count('<li class="dropped-tag"') == sum(not tag.kept for tag in tags)
    assert page.count('<polygon class="inside"') == sum(place.shown for place in places)
    assert page.count('<polygon class="outside"') == sum(not place.shown for place in places)
    assert len(places) == 12 * 5
    assert page.count('class="veil"') == sum(sample.part_used for sample in samples["ocr"])
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 24  # in the list and at the box of each sample
    assert preview_page(cropped, preview(load_config(cropped), 12)) == page


def test_command_writes_a_page_without_training(
    cropped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_command.main([str(cropped), "--preview", str(tmp_path / "page.html")], standalone_mode=False)
    assert len(re.findall("<article>", (tmp_path / "page.html").read_text())) == 24
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}: the first 24 samples of each head\n"


def test_images_whose_classes_have_no_boxes(config_file: Path, tmp_path: Path, make_data_set) -> None:
    numbers = make_data_set("numbers", [4], words=None)
    text = config_file.read_text().replace(str(tmp_path / "labels"), str(numbers))
    config_file.write_text(text + 'kind = "image"\n')
    (samples,) = preview(load_config(config_file), 3).values()
    assert all(tag.kept and tag.places == () for sample in samples for tag in sample.tags)
    assert "<polygon" not in preview_page(config_file, {"ocr": samples})

"""Preview of the samples of a run."""

import re
from pathlib import Path

import pytest

from ovocr.base.errors import UsageError
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
    samples = preview(load_config(cropped), 12)["ocr"].samples
    assert [sample.position for sample in samples] == list(range(12))
    assert any(sample.part is None for sample in samples)
    shown = [sample for sample in samples if sample.part_used]
    assert len(shown) > 4
    for sample in samples:
        assert [(tag.word, len(tag.places)) for tag in sample.tags] == [(HOSTILE, 1), ("b", 2), ("c", 1), ("d", 1)]
        assert all(tag.state == "kept" for tag in sample.tags) or sample.part_used
        assert all(place.state == "kept" for tag in sample.tags for place in tag.places) or sample.part_used
    for sample in shown:
        left, top, right, bottom = sample.part
        assert sample.scale == pytest.approx(32 / max(right - left, bottom - top) / 240)
        for tag in sample.tags:
            assert tag.state == ("kept" if any(place.state == "kept" for place in tag.places) else "cut")
            for place in tag.places:
                x, y = sum(place.corners[::2]) / 4, sum(place.corners[1::2]) / 4
                if place.state == "kept":  # a box that is four fifths visible has its center inside
                    assert left < x < right
                    assert top < y < bottom
    assert any(tag.places[0].state == "cut" and tag.state == "kept" for sample in shown for tag in sample.tags)


def test_small_tags_and_heights(cropped: Path) -> None:
    """The words are 30, 30, 40 and 25 pixels high, and the image 240; another place of the second word is 31 high."""
    text = cropped.read_text().replace("crop_scale = [0.2, 0.6]\ncrop_share = 0.8\n", "min_text_height = 4.05\n")
    cropped.write_text(text)
    (head,) = preview(load_config(cropped), 2).values()
    samples = head.samples
    for sample in samples:
        assert sample.scale == 32 / 240
        assert [tag.state for tag in sample.tags] == ["ignored", "kept", "kept", "ignored"]
        assert [tag.height for tag in sample.tags] == pytest.approx([4.0, 4.1, 5.3, 3.3], abs=0.06)
        assert [place.state for place in sample.tags[1].places] == ["small", "kept"]
    page = preview_page(cropped, {"ocr": head})
    assert page.count('<li class="ignored-tag"') == 4
    assert page.count('<polygon class="small"') == 6
    assert "<title>c, 5.3 px</title>" in page


def test_image_without_a_legible_tag_is_reported(cropped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cropped.write_text(
        cropped.read_text().replace("crop_scale = [0.2, 0.6]\ncrop_share = 0.8\n", "min_text_height = 9\n")
    )
    (head,) = preview(load_config(cropped), 1).values()
    reason = "no tag with text of at least 9 pixels in the input; lower min_text_height, or use crop_text_height"
    assert head.samples == []
    (replaced,) = head.replaced
    assert re.fullmatch(rf"position 0: .*rec id 0 \(0.png of source.tar\): {reason}", replaced)
    assert capsys.readouterr().err == f"ovocr: {replaced.replace(': ', ': replaced: ', 1)}\n"
    page = preview_page(cropped, {"ocr": head})
    assert "1 position not shown" in page
    assert reason in page


def test_reasons_why_tags_are_ignored(cropped: Path, tmp_path: Path) -> None:
    """The record has slots for three of five words; crops cut words off."""
    record = (encoded(painted()), [0, 1, 2] * 2, [flat(box) for box in BOXES[:3]])
    again = [(3, flat(BOXES[3])), (4, flat(BOXES[4]))]
    root = write_placed(tmp_path / "few", [record], ["a", "b", "c", "d", "e"], again=again)
    text = re.sub(r"data = \[.*\]", f'data = ["{root}"]', cropped.read_text())
    cropped.write_text(text.replace("labels_stored = 10", "labels_stored = 6") + "min_text_height = 6.5\n")
    (head,) = preview(load_config(cropped), 40).values()
    ignored = [tag for sample in head.samples for tag in sample.tags if tag.state == "ignored"]
    assert {tag.note for tag in ignored} == {"no slot", "cut off", ""}
    assert all(tag.word in "de" for tag in ignored if tag.note == "no slot")
    assert all(tag.height is None for tag in ignored if tag.note == "cut off")
    assert all(tag.height is not None and tag.height <= 6.5 for tag in ignored if not tag.note)


def test_samples_of_a_later_step(cropped: Path) -> None:
    config = load_config(cropped)
    batch = config.heads["ocr"].global_batch
    early, late = preview(config, batch + 1)["ocr"].samples, preview(config, 1, step=1)["ocr"].samples
    assert late == [early[batch]]
    with pytest.raises(UsageError, match=r"^--preview-step 12: the run has 12 steps, counted from 0$"):
        preview(config, 1, step=12)


def test_page_shows_kept_and_cut_tags(cropped: Path, tmp_path: Path) -> None:
    heads = preview(load_config(cropped), 12)
    page = preview_page(cropped, heads)
    samples = heads["ocr"].samples
    tags = [tag for sample in samples for tag in sample.tags]
    places = [place for tag in tags for place in tag.places]
    for state in ("kept", "ignored", "cut"):
        assert page.count(f'<li class="{state}-tag"') == sum(tag.state == state for tag in tags)
    for state in ("kept", "small", "cut"):
        assert page.count(f'<polygon class="{state}"') == sum(place.state == state for place in places)
    assert {tag.state for tag in tags} == {"kept", "cut"}
    assert len(places) == 12 * 5
    assert page.count('class="veil"') == sum(sample.part_used for sample in samples)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 24  # in the list and at the box of each sample
    assert preview_page(cropped, preview(load_config(cropped), 12)) == page


def test_command_writes_a_page_without_training(
    cropped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_command.main([str(cropped), "--preview", str(tmp_path / "page.html")], standalone_mode=False)
    assert len(re.findall("<article>", (tmp_path / "page.html").read_text())) == 24
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}: head ocr: 24 samples from step 0 on\n"
    with pytest.raises(UsageError, match=r"^--preview-step: needs --preview F, the page to write$"):
        train_command.main([str(cropped), "--preview-step", "2"], standalone_mode=False)
    with pytest.raises(UsageError, match=r"^--preview -: a page cannot be printed; a file's path is needed$"):
        train_command.main([str(cropped), "--preview", "-"], standalone_mode=False)


def test_images_whose_classes_have_no_boxes(config_file: Path, tmp_path: Path, make_data_set) -> None:
    numbers = make_data_set("numbers", [4], words=None)
    text = config_file.read_text().replace(str(tmp_path / "labels"), str(numbers))
    config_file.write_text(text + 'kind = "image"\n')
    (head,) = preview(load_config(config_file), 3).values()
    assert all(tag.state == "kept" and tag.places == () for sample in head.samples for tag in sample.tags)
    assert "<polygon" not in preview_page(config_file, {"ocr": head})

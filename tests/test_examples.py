"""The committed example shards: complete, small, varied, with few words in common."""

import importlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ovocr.labelgen.tables import LineTable
from ovocr.vocab import segment_lines

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MOST_BYTES = 3_000_000


@pytest.fixture
def make_pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Returns the script that made the shards, with its folder on the import path."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("make_pages")


@pytest.fixture
def pages(make_pages: ModuleType, example_shards: Path) -> list[tuple[str, bytes, list[str]]]:
    return list(make_pages.read_shards(sorted(example_shards.glob("*.tar"))))


def test_shards_are_small_and_contain_each_image_before_its_text(example_shards: Path) -> None:
    shards = sorted(example_shards.iterdir())
    assert [shard.name for shard in shards] == ["pages-00000.tar", "pages-00001.tar"]
    assert sum(shard.stat().st_size for shard in shards) <= MOST_BYTES
    names = []
    for shard in shards:
        with tarfile.open(shard) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, ""), member.name
                names.append(member.name)
    stems = [name.partition(".")[0] for name in names]
    assert stems[0::2] == stems[1::2] == [f"{number:05d}" for number in range(len(names) // 2)]
    assert len(names) // 2 >= 96
    assert all(re.fullmatch(r"\d{5}\.(jpg|png|webp)", name) for name in names[0::2])
    assert all(name.endswith(".txt") for name in names[1::2])


def test_images_decode_and_vary_in_format_and_size(pages: list[tuple[str, bytes, list[str]]]) -> None:
    formats, sizes, grounds = set(), set(), set()
    for name, content, _ in pages:
        with Image.open(io.BytesIO(content)) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert 320 <= max(image.size) <= 700, name
        assert pixels.std() > 5, f"{name} is empty"
        formats.add(image.format)
        sizes.add(image.size)
        grounds.add(tuple(pixels[pixels.shape[0] // 30, pixels.shape[1] // 2] // 32))
    assert formats == {"JPEG", "PNG", "WEBP"}
    assert len(sizes) >= 30
    assert len(grounds) >= 12


def test_pages_have_distinct_texts_in_both_languages(pages: list[tuple[str, bytes, list[str]]]) -> None:
    texts = ["\n".join(lines) for _, _, lines in pages]
    assert len(set(texts)) == len(texts)
    for name, _, lines in pages:
        assert lines, name
        assert all(line == line.strip() != "" for line in lines), name
        assert 5 <= len(segment_lines(lines)) <= 60, name
    assert sum(bool(re.search("[\u4e00-\u9fff]", text)) for text in texts) >= 40
    assert sum(bool(re.search("[A-Za-z]{3}", text)) for text in texts) >= 40


def test_constant_answer_scores_low(make_pages: ModuleType, pages: list[tuple[str, bytes, list[str]]]) -> None:
    recall = make_pages.prior_recall([set(segment_lines(lines)) for _, _, lines in pages])
    assert 0 < recall < 0.08  # 0.046 when the pages were made


def test_prior_recall_is_the_mean_share_of_words_found(make_pages: ModuleType) -> None:
    assert make_pages.prior_recall([{"a", "b"}, {"a"}]) == 1.0  # ten answers contain both words
    many = [{"a", *map(str, range(100, 119))}, {"a", *map(str, range(200, 219))}]
    # The answer: "a" and the nine words that sort first, all of them on the first page.
    assert make_pages.prior_recall(many) == pytest.approx((10 / 10 + 1 / 10) / 2)


def test_rendering_a_page_reproduces_the_committed_size_and_text(
    make_pages: ModuleType, pages: list[tuple[str, bytes, list[str]]]
) -> None:
    from page_designs import draw_page
    from page_sheet import MissingFontError

    descriptions = make_pages.load_pages()
    assert len(descriptions) == len(pages)
    for number in (0, 2, 4, 15, 20):
        try:
            image, lines = draw_page(number, descriptions[number])
        except MissingFontError as error:
            pytest.skip(str(error))
        name, content, committed_lines = pages[number]
        with Image.open(io.BytesIO(content)) as committed:
            assert image.size == committed.size, name
            difference = np.abs(np.asarray(committed.convert("RGB"), np.int16) - np.asarray(image, np.int16))
        assert lines == committed_lines, name
        assert difference.mean() < 12, name  # JPEG loss; a different Pillow version may shift a letter by half a pixel


def test_missing_font_names_the_packages_to_install(
    make_pages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import page_sheet

    monkeypatch.setattr(page_sheet, "FONT_FOLDERS", (tmp_path,))
    page_sheet.font_files.cache_clear()
    page_sheet.font.cache_clear()
    try:
        with pytest.raises(page_sheet.MissingFontError, match=r"Lato-Black\.ttf.*apt-get install .*fonts-lato .*wqy"):
            page_sheet.font("lato", 20, True)
    finally:
        page_sheet.font_files.cache_clear()


def test_unreadably_small_text_is_refused(make_pages: ModuleType) -> None:
    from page_designs import draw_page
    from page_sheet import MissingFontError

    page = {"layout": "sign", "occurrence": 0, "title": "Harbour " * 12, "lines": []}
    try:
        with pytest.raises(ValueError, match="does not fit"):
            draw_page(0, page)
    except MissingFontError as error:
        pytest.skip(str(error))


def make_lines(images: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, EXAMPLES / "make_lines.py", images, "--out", out]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_text_beside_images_becomes_a_table_of_lines(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "b.PNG", "c.webp", "sub/a.jpg"):
        (tmp_path / name).touch()
    box = [0, 0, 10, 0, 10, 5, 0, 5]
    (tmp_path / "a.json").write_text(json.dumps([{"box": box, "text": "名"}, {"box": box, "text": None}]))
    (tmp_path / "b.txt").write_text("\ufefffirst\r\n\nsecond", encoding="utf-8")
    (tmp_path / "sub" / "a.json").write_text("[]")
    (tmp_path / "list.tsv").write_text('c.webp\t"quoted\nsub/a.jpg\t\nc.webp\ttwo words\n')
    done = make_lines(tmp_path, tmp_path / "lines.jsonl")
    assert done.stdout == f"{tmp_path / 'lines.jsonl'}: 3 images, 5 lines\n"
    table = LineTable.load(str(tmp_path / "lines.jsonl"), key_column=None)
    found = {key: table.lines(key) for key in ("a.jpg", "b.PNG", "c.webp", "sub/a.jpg")}
    assert [(line.text, line.box) for line in found["a.jpg"]] == [("名", tuple(map(float, box)))]
    assert [line.text for line in found["b.PNG"]] == ["first", "second"]
    assert (found["c.webp"], found["sub/a.jpg"]) == (None, [])
    assert make_lines(tmp_path / "list.tsv", tmp_path / "list.jsonl").returncode == 0
    table = LineTable.load(str(tmp_path / "list.jsonl"), key_column=None)
    assert [line.text for line in table.lines("c.webp")] == ['"quoted', "two words"]
    assert table.lines("sub/a.jpg") == []


def test_mistakes_in_text_beside_images_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("a.jpg\tx\nb.jpg\n")
    done = make_lines(tmp_path / "list.tsv", tmp_path / "lines.jsonl")
    assert (done.returncode, done.stderr) == (1, f"{tmp_path / 'list.tsv'}: line 2: no tab between file and text\n")
    done = make_lines(tmp_path, tmp_path / "lines.jsonl")
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}: no image has a text file\n")
    assert not (tmp_path / "lines.jsonl").exists()


def test_figure_of_the_readme_is_small() -> None:
    assert (EXAMPLES / "figure.png").stat().st_size <= 300_000

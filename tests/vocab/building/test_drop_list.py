"""Drop lists: words in any spelling, one per line."""

from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.vocab import Segmentation, segment
from ovocr.vocab.building.drop_list import read_drop_lists


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_read_drop_lists_normalises_words(tmp_path: Path) -> None:
    first = write(tmp_path / "a", '\ufeffＦｕｌｌ\r\n\n "C++", \ncafe\u0301')
    second = write(tmp_path / "b", "full\n乾淨\n")
    assert read_drop_lists((first, second), Segmentation()) == ["c++", "café", "full", "乾淨"]
    assert read_drop_lists((second,), Segmentation(han="simplified")) == ["full", "干净"]
    assert read_drop_lists((), Segmentation()) == []


def test_chinese_word_that_is_cut_when_alone_is_one_word(tmp_path: Path) -> None:
    assert segment("不在") == ["不", "在"]
    assert read_drop_lists((write(tmp_path / "a", "不在\n"),), Segmentation()) == ["不在"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("state-of-the-art", r'a:2: "state-of-the-art" is 4 words \(state of the art\)'),
        ("不 在", r'a:2: "不 在" is 2 words'),
        ("wifi密码", "is 2 words"),
        ("12.50", 'a:2: "12.50" is not a word'),
    ],
)
def test_read_drop_lists_refuses_lines_that_are_not_one_word(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(OvocrError, match=message):
        read_drop_lists((write(tmp_path / "a", f"fine\n{line}\n"),), Segmentation())


def test_read_drop_lists_refuses_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ncaf\xe9\n")
    with pytest.raises(OvocrError, match="a:2: not UTF-8; save the list as UTF-8 text"):
        read_drop_lists((tmp_path / "a",), Segmentation())

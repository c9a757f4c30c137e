"""The tables that docs/given_text.md shows have the lines that they are said to have."""

import re
from pathlib import Path

import pytest

from ovocr.labelgen.tables import LineTable

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "given_text.md").read_text(encoding="utf-8")
TABLES = [block for block in re.findall(r"```(\w+)\n(.*?)```", DOCUMENT, re.DOTALL) if "00000.jpg" in block[1]]


@pytest.mark.parametrize(("kind", "content"), TABLES)
def test_a_documented_table_gives_the_lines_of_the_example_page(
    tmp_path: Path, example_shards: Path, kind: str, content: str
):
    path = tmp_path / f"lines.{kind}"
    path.write_text(content, encoding="utf-8")
    lines = LineTable.load(str(path), key_column=None).lines("00000.jpg")
    assert [line.text for line in lines] == ["Harbour Ferry", "Platform Seven", "Mind the slippery gangway"]
    boxes = [line.box for line in lines if line.box is not None]
    assert boxes == [(23, 58, 356, 64, 355, 118, 22, 111), (89, 155, 290, 155, 290, 188, 89, 188)][: len(boxes)]


def test_every_kind_of_table_is_documented():
    assert {kind for kind, _ in TABLES} == {"json", "jsonl", "csv"}
    assert len(TABLES) == 5

"""Checks the tables of settings in docs/training.md and runs the example in docs/partial_fc.md."""

import re
import shutil
from pathlib import Path

import pytest

from ovocr.trainer.config import tables

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_documented_tables_are_up_to_date(tmp_path: Path) -> None:
    document = DOCS / "training.md"
    tables.main(Path(shutil.copy(document, tmp_path)))
    assert (tmp_path / "training.md").read_text(encoding="utf-8") == document.read_text(encoding="utf-8")


def test_tables_show_defaults_by_kind() -> None:
    rows = tables.settings_tables().splitlines()
    assert "| `steps` | required | Number of optimizer steps |" in rows
    assert "| `labels_stored` | ocr | 100 | Number of tags read from a record |" in rows
    assert "| `labels_stored` | image, video | 10 | Number of tags read from a record |" in rows
    assert sum(row.startswith("| `global_batch` | | required |") for row in rows) == 1


def test_examples_of_the_head_run(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", (DOCS / "partial_fc.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    exec("".join(examples).replace("365_187", "3_651"), {})
    assert capsys.readouterr().out.startswith("tensor([")

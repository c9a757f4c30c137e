"""docs/training.md says of every setting what the code says; what docs/partial_fc.md shows runs."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from ovocr.trainer.config import sections
from ovocr.trainer.config.settings import Settings

DOCS = Path(__file__).resolve().parents[3] / "docs"
DOCUMENT = DOCS / "training.md"
SECTIONS = {
    "[run]": sections.LoopConfig,
    "[backbone]": sections.BackboneConfig,
    "[optimizer]": sections.OptimizerConfig,
    "[loader]": sections.LoaderConfig,
    "[heads.NAME]": sections.HeadConfig,
    "[heads.NAME.margin]": sections.MarginConfig,
}


def shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    if default is None:
        return "left out"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f'"{default}"'
    return str(list(default)) if isinstance(default, tuple) else str(default)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_documented_as_it_is(section: str) -> None:
    settings: type[Settings] = SECTIONS[section]
    text = DOCUMENT.read_text(encoding="utf-8").split(f"### `{section}`\n")[1].split("###")[0]
    documented = [line for line in text.splitlines() if line.startswith("| `")]
    assert documented == [
        f"| `{field.name}` | {shown(field.default)} | {field.metadata['doc']} |"
        for field in dataclasses.fields(settings)
        if field.name != "margin"  # a section of its own
    ]


def test_the_example_of_the_head_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "partial_fc.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(example.replace("365_187", "3_651"), {})
    assert capsys.readouterr().out.startswith("tensor([")

"""docs/training.md says of every setting what the code says."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ovocr.trainer import config
from ovocr.trainer.settings import Settings

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SECTIONS = {
    "[run]": config.LoopConfig,
    "[backbone]": config.BackboneConfig,
    "[optimizer]": config.OptimizerConfig,
    "[loader]": config.LoaderConfig,
    "[heads.NAME]": config.HeadConfig,
    "[heads.NAME.margin]": config.MarginConfig,
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

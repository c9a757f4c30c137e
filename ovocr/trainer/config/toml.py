"""Converts sections to TOML text, with the documentation of each setting as a comment."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovocr.trainer.config.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def dump_config(settings: Settings) -> str:
    """Returns every setting as TOML, including defaults. ``load_config`` of this text returns an equal configuration.

    Omits settings that have no value or no effect.
    """
    return "\n".join(_lines(settings, "")).lstrip("\n") + "\n"


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Returns the settings of ``dump_config`` as nested tables of text, numbers, booleans and lists."""
    return tomllib.loads(dump_config(settings))


def _lines(settings: Settings, section: str) -> Iterator[str]:
    tables: dict[str, Settings] = {}
    lines = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            tables[name] = value
        elif isinstance(value, dict):
            tables |= {f"{name}.{key}": item for key, item in value.items()}
        elif value is not None and name not in settings.unused():
            lines.append(f"{name} = {format_value(value)}  # {field.description}")
    if lines:
        yield from ("", f"[{section}]", *lines)
    for name, table in tables.items():
        yield from _lines(table, f"{section}.{name}".lstrip("."))


def format_value(value: Any) -> str:
    """Returns a value in TOML syntax. JSON's escapes are valid in TOML, except that JSON does not escape DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {format_value(item)}' for key, item in value.items())}}}"
    return repr(value) if isinstance(value, int | float) else str(value)

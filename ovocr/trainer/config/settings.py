"""Frozen settings that check themselves, read from parsed TOML and written back as TOML.

A settings class is a keyword-only frozen dataclass that derives from Settings; the type, the documentation, the unit
and the range of each value stand at its field. Every mistake is one SettingError that names the key.
"""

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ovocr.base.errors import UsageError

SettingsT = TypeVar("SettingsT", bound="Settings")
# Bounds of a value, in the order in which a message names them: (name in the field's metadata, words, is it kept?).
_BOUNDS = (
    ("minimum", "at least", lambda value, bound: value >= bound),
    ("above", "more than", lambda value, bound: value > bound),
    ("maximum", "at most", lambda value, bound: value <= bound),
    ("below", "less than", lambda value, bound: value < bound),
)


class SettingError(UsageError):
    """A setting that is unknown, missing, of the wrong type or impossible; ``key`` is its dotted name."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem

    def below(self, section: str) -> "SettingError":
        """The same mistake, its key named from one level further up; an empty section changes nothing."""
        return SettingError(_join(section, self.key), self.problem)


def described(doc: str, *, unit: str = "", **bounds: float) -> dict[str, Any]:
    """Metadata of a field: what it is, its unit, and its bounds: ``minimum``, ``above``, ``maximum``, ``below``."""
    unknown = set(bounds) - {name for name, _, _ in _BOUNDS}
    if unknown:
        raise TypeError(f"unknown bounds: {sorted(unknown)}")
    return {"doc": f"{doc} [{unit}]" if unit else doc, **bounds}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of a section of settings: refuses impossible values with a SettingError, however it is made."""

    def __post_init__(self) -> None:
        """Check every value against its field's bounds, then the values against each other."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                _check_bounds(field.name, item, field.metadata)
        for key, problem in self.conflicts():
            raise SettingError(key, problem)

    def conflicts(self) -> Iterable[tuple[str, str]]:
        """Keys whose value does not go with the others, each with what is wrong about it."""
        return ()


def _check_bounds(key: str, value: object, metadata: Mapping[str, Any]) -> None:
    if not isinstance(value, int | float):
        return
    stated = [(words, metadata[name], kept) for name, words, kept in _BOUNDS if name in metadata]
    if not all(kept(value, bound) for _, bound, kept in stated):
        allowed = ", ".join(f"{words} {bound}" for words, bound, _ in stated)
        raise SettingError(key, f"{value} is out of range: {allowed}")


def build(cls: type[SettingsT], table: Mapping[str, Any], section: str = "") -> SettingsT:
    """Make settings from a parsed TOML table; ``section`` is the table's dotted name. Raises SettingError."""
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in table:
        if key not in fields:
            raise SettingError(_join(section, key), unknown_key(key, fields))
    values = {}
    for name, field in fields.items():
        key = _join(section, name)
        if name in table:
            values[name] = _parse(key, hints[name], table[name])
        elif dataclasses.is_dataclass(hints[name]) or get_origin(hints[name]) is dict:
            values[name] = _parse(key, hints[name], {})  # a table left out is an empty one: its own keys are missing
        elif field.default is dataclasses.MISSING:
            raise SettingError(key, f"missing: {field.metadata['doc']}")
    try:
        return cls(**values)
    except SettingError as error:
        raise error.below(section) from None


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What is wrong about a key that is none of ``known``: names the nearest, or all."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; known are {', '.join(known)}"


def _parse(key: str, hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):  # only "X | None" is used: TOML has no null, so a value is an X
        return _parse(key, next(argument for argument in arguments if argument is not type(None)), value)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise SettingError(key, f"{_toml(value)} is not allowed; allowed are {', '.join(map(_toml, arguments))}")
        return value
    if origin is tuple:
        return _parse_list(key, arguments, value)
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise SettingError(key, f"a section [{key}] is expected, not {_toml(value)}")
        if origin is dict:
            return {name: _parse(_join(key, name), arguments[1], item) for name, item in value.items()}
        return build(hint, value, key)
    return _parse_scalar(key, hint, value)


def _parse_list(key: str, item_hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise SettingError(key, f"a list is expected, not {_toml(value)}")
    if item_hints[-1] is Ellipsis:
        if not value:
            raise SettingError(key, "an empty list: at least one value is needed")
        item_hints = (item_hints[0],) * len(value)
    if len(value) != len(item_hints):
        raise SettingError(key, f"{len(item_hints)} values are expected, not {len(value)}")
    return tuple(
        _parse(f"{key}[{i}]", hint, item) for i, (hint, item) in enumerate(zip(item_hints, value, strict=True))
    )


def _parse_scalar(key: str, hint: Any, value: Any) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise SettingError(key, f"{value} is not a finite number")
        return float(value)
    if hint in (str, Path) and isinstance(value, str):
        if not value:
            raise SettingError(key, "the text is empty")
        if "\0" in value:
            raise SettingError(key, "the text has a NUL character in it")
        return hint(value)
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}[hint]
    raise SettingError(key, f"{expected} is expected, not {_toml(value)}")


def dump(settings: Settings, section: str = "") -> str:
    """TOML text that ``build`` reads back as equal settings; every value with its documentation as a comment."""
    return "\n".join(_dump_lines(settings, section)).lstrip("\n") + "\n"


def _dump_lines(settings: Settings, section: str) -> Iterator[str]:
    tables: list[tuple[str, Settings]] = []
    lines = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, Settings):
            tables.append((_join(section, field.name), value))
        elif isinstance(value, dict):
            tables.extend((_join(_join(section, field.name), name), item) for name, item in value.items())
        elif value is not None:
            lines.append(f"{field.name} = {_toml(value)}  # {field.metadata['doc']}")
    if lines:
        yield from ("", f"[{section}]", *lines)
    for name, table in tables:
        yield from _dump_lines(table, name)


def _toml(value: Any) -> str:
    """A value as TOML spells it; JSON's text escapes are TOML's, but for DEL, which JSON leaves bare."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_toml(item)}' for key, item in value.items())}}}"
    return repr(value) if isinstance(value, int | float) else str(value)


def _join(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key

"""Converts parsed TOML tables to sections; an error is one line that names the key."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ovocr.base.errors import UsageError
from ovocr.trainer.config.heads import HEAD_KINDS, HeadConfig
from ovocr.trainer.config.settings import Settings, SettingsT
from ovocr.trainer.config.toml import format_value


class SettingError(UsageError):
    """A setting that is unknown, missing, of the wrong type or impossible.

    key: the setting's dotted name.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


def parse(cls: type[SettingsT], table: Mapping[str, Any]) -> SettingsT:
    """Returns the section that a parsed TOML table describes. Raises SettingError for its first mistake."""
    try:
        return cls.model_validate(table)
    except ValidationError as error:
        first, *others = error.errors()
        # A misspelled key is both missing and unknown; the message about the unknown one helps.
        unknown = (d for d in others if d["type"] == "extra_forbidden" and d["loc"][:-1] == first["loc"][:-1])
        raise _explain(cls, next(unknown, first)) from None


def _explain(cls: type[Settings], details: ErrorDetails) -> SettingError:
    section, key, name = _locate(cls, details["loc"])
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "conflict":
        return SettingError(f"{key}.{context['key']}".lstrip("."), context["problem"])
    if kind == "extra_forbidden":
        return SettingError(key, _unknown_key(section, name))
    if kind == "missing":
        return SettingError(key, f"missing: {section.model_fields[name].description}")
    if kind in ("model_type", "dict_type", "union_tag_not_found"):
        return SettingError(key, f"must be a section [{key}], not {format_value(value)}")
    if kind == "union_tag_invalid":
        key, value, allowed = f"{key}.kind", value["kind"], f"be one of {context['expected_tags']}"
    else:  # "Input should be ...", "Tuple should have at least 1 item after validation, not 0"
        allowed = details["msg"].split(" should ", 1)[1].split(" after ")[0].replace("valid tuple", "list")
    allowed = allowed.replace("'", '"')  # allowed texts, in TOML syntax
    return SettingError(key, f"must {allowed}, not {format_value(value)}")


def _locate(cls: type[Settings], location: tuple[int | str, ...]) -> tuple[type[Settings], str, str]:
    """Returns the section that contains an error, the error's dotted key, and the last name of that key."""
    section, key, name = cls, "", ""
    for depth, part in enumerate(location):
        if isinstance(part, int):
            key += f"[{part}]"
        elif depth == 2 and location[0] == "heads":  # pydantic names the member of the union
            section, name = HEAD_KINDS[part], ""
        else:
            annotation = section.model_fields[name].annotation if name in section.model_fields else None
            section = annotation if isinstance(annotation, type(Settings)) else section
            key, name = f"{key}.{part}".lstrip("."), part
    return section, key, name


def _unknown_key(section: type[Settings], key: str) -> str:
    kinds = [kind for kind, head in HEAD_KINDS.items() if key in head.model_fields]
    if kinds and issubclass(section, HeadConfig):
        having, own = " or ".join(f'"{kind}"' for kind in kinds), section.model_fields["kind"].default
        return f'only heads of kind {having} have it; this head is of kind "{own}"'
    near = difflib.get_close_matches(key, section.model_fields, n=1)
    return f"unknown key; {f'did you mean {near[0]}?' if near else 'known are ' + ', '.join(section.model_fields)}"

"""The base class of a configuration's sections."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ovocr.dataset.access.opening import DataLocation, data_location

SettingsT = TypeVar("SettingsT", bound="Settings")


class Settings(BaseModel):
    """A section: immutable, without unknown keys, with strict types. Raises ValidationError for an invalid value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def conflicts(self) -> Iterable[tuple[str, str]]:
        """Yields each key whose value contradicts other settings, with an error message."""
        return ()

    def unused(self) -> dict[str, str]:
        """Returns the keys that have no effect with these settings, each with the reason. Setting one is an error."""
        return {}

    @model_validator(mode="after")
    def _check_together(self: SettingsT) -> SettingsT:
        given = [(key, reason) for key, reason in self.unused().items() if key in self.model_fields_set]
        for key, problem in (*given, *self.conflicts()):
            raise PydanticCustomError("conflict", "{key}: {problem}", {"key": key, "problem": problem})
        return self


def _to_path(value: Any) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise PydanticCustomError("path", "Input should be a path: text that is not empty and has no NUL character")


def _to_location(value: Any) -> DataLocation:
    path = _to_path(value)
    return data_location(value) if isinstance(value, str) else path


SettingPath = Annotated[Path, BeforeValidator(_to_path)]
SettingLocation = Annotated[Path | str, BeforeValidator(_to_location)]
"""A path, or the URL of a folder in an object store as text."""

PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def wrong_order(**ranges: tuple[float, float] | None) -> Iterator[tuple[str, str]]:
    """Yields the key of each range whose larger value comes first, with an error message."""
    for key, pair in ranges.items():
        if pair and pair[0] > pair[1]:
            yield key, f"[{pair[0]:g}, {pair[1]:g}]: the smaller value comes first"

"""The base class of a configuration's sections."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

SettingsT = TypeVar("SettingsT", bound="Settings")


class Settings(BaseModel):
    """A section: frozen, without unknown keys, with exact types. Raises ValidationError for an impossible value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def conflicts(self) -> Iterable[tuple[str, str]]:
        """Yields each key whose value does not fit the others, with the problem."""
        return ()

    def unused(self) -> dict[str, str]:
        """Returns the keys that have no effect beside the others, each with the reason. They must not be given."""
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


SettingPath = Annotated[Path, BeforeValidator(_to_path)]

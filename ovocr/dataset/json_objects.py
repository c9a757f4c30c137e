"""JSON objects in the files of a data set, read and checked value by value."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ovocr.base.errors import OvocrError

_SHOWN_CHARACTERS = 300

Value = TypeVar("Value")


@dataclass(frozen=True)
class Problem:
    """A value that differs from what ovocr writes. name: of the value, empty for the file as a whole."""

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        found = self.found if len(self.found) <= _SHOWN_CHARACTERS else f"{self.found[:_SHOWN_CHARACTERS]}..."
        return f"{self.name}{': ' if self.name else ''}should be {self.expected}, is {found}"


class DamagedFileError(OvocrError):
    """A file of a data set is not as ovocr writes it."""

    def __init__(self, path: Path, problem: Problem) -> None:
        super().__init__(f"{path}: {problem}; put the file back")
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem)


def check_file(path: Path) -> None:
    """Raises DamagedFileError unless the path is a regular file or a link to one; reading a pipe would block."""
    if not path.is_file():
        raise DamagedFileError(path, Problem("", "a file", "something else" if path.exists() else "missing"))


def read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file. Raises DamagedFileError."""
    check_file(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedFileError(path, Problem("", "readable", str(error.strerror))) from error
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, Problem("", "a JSON object", f"no JSON: {error}")) from error
    if not isinstance(value, dict):
        raise DamagedFileError(path, Problem("", "a JSON object", f"other JSON: {value!r}"))
    return value


def is_count(value: object) -> bool:
    """Returns True for a whole number of 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class ObjectReader:
    """Reads values of a JSON object by name and collects a Problem for each that is wrong.

    A name with dots leads into nested objects. Wrong values are replaced by valid ones.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self.problems: list[Problem] = []

    def get(self, name: str, default: object = None) -> Any:
        """Returns the value, or the default if it is missing."""
        value: Any = self._data
        for part in name.split("."):
            value = value.get(part, default) if isinstance(value, dict) else default
        return value

    def number(self, name: str, least: int, most: int | None = None) -> int:
        """Returns a whole number from ``least`` to ``most``, or of any size."""
        value = self.get(name)
        if is_count(value) and value >= least and (most is None or value <= most):
            return int(value)
        self.report(name, "a count" if most is None else f"a whole number from {least} to {most}", value)
        return least

    def typed(self, name: str, kind: type[Value], expected: str) -> Value:
        """Returns a value of a type."""
        value = self.get(name)
        if isinstance(value, kind):
            return value
        self.report(name, expected, value)
        return kind()

    def choice(self, name: str, default: Any, choices: Sequence[Any]) -> Any:
        """Returns one of the choices; ``default`` if the value is missing."""
        value = self.get(name, default)
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
        self.report(name, f"one of {', '.join(map(repr, choices))}", value)
        return default

    def report(self, name: str, expected: str, value: object) -> None:
        """Adds a problem."""
        self.problems.append(Problem(name, expected, repr(value)))

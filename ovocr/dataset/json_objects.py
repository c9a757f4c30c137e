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
    """A value that ovocr does not write.

    name: name of the value; empty if the problem concerns the whole file. expected: description of valid values.
    found: the value as text.
    """

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        found = self.found if len(self.found) <= _SHOWN_CHARACTERS else f"{self.found[:_SHOWN_CHARACTERS]}..."
        return f"{self.name}{': ' if self.name else ''}expected {self.expected}, found {found}"


class DamagedFileError(OvocrError):
    """A file of a data set is missing, unreadable or invalid."""

    def __init__(self, path: Path, problem: Problem) -> None:
        super().__init__(f"{path}: {problem}; restore the file")
        self.path = path
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem)


def check_file(path: Path) -> None:
    """Raises DamagedFileError unless the path is a regular file or a link to one.

    Opening a pipe would block.
    """
    if not path.is_file():
        raise DamagedFileError(path, Problem("", "a file", "something else" if path.exists() else "nothing"))


def read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file. Raises DamagedFileError."""
    return parse_object(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of a file. Raises DamagedFileError."""
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedFileError(path, Problem("", "a readable file", str(error.strerror))) from error


def parse_object(path: Path, data: bytes) -> dict[str, Any]:
    """Returns the JSON object in UTF-8 bytes. path: their file, for messages. Raises DamagedFileError."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, Problem("", "a JSON object", f"invalid JSON: {error}")) from error
    if not isinstance(value, dict):
        raise DamagedFileError(path, Problem("", "a JSON object", repr(value)))
    return value


def is_count(value: object) -> bool:
    """Returns True if the value is an integer of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class ObjectReader:
    """Reads values of a JSON object by name and collects a Problem for each invalid value.

    Dots in a name separate the keys of nested objects. Invalid values are replaced by valid ones.
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

    def number(self, name: str, least: int, most: int | None = None, *, default: int | None = None) -> int:
        """Returns an integer from ``least`` to ``most``; if ``most`` is None, there is no upper limit.

        default: the integer if the value is missing; None if it must not be missing.
        """
        value = self.get(name, default)
        if is_count(value) and value >= least and (most is None or value <= most):
            return int(value)
        self.report(name, "a count" if most is None else f"a whole number from {least} to {most}", value)
        return least

    def share(self, name: str, default: float) -> float:
        """Returns a number from 0 to 1; ``default`` if the value is missing or invalid."""
        value = self.get(name, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        self.report(name, "a number from 0 to 1", value)
        return default

    def typed(self, name: str, kind: type[Value], expected: str) -> Value:
        """Returns a value of type ``kind``. expected: description of the type in problems."""
        value = self.get(name)
        if isinstance(value, kind):
            return value
        self.report(name, expected, value)
        return kind()

    def choice(self, name: str, default: Any, choices: Sequence[Any]) -> Any:
        """Returns one of the choices; ``default`` if the value is missing or invalid."""
        value = self.get(name, default)
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
        self.report(name, f"one of {', '.join(map(repr, choices))}", value)
        return default

    def report(self, name: str, expected: str, value: object) -> None:
        """Adds a problem with ``value``."""
        self.problems.append(Problem(name, expected, repr(value)))

"""Errors of cells, and the place in the table that messages name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from ovocr.base.errors import OvocrError


class WrongCellError(Exception):
    """A cell with a value that is not allowed. row: its index in the column."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class WrongTypeError(Exception):
    """A column of a type that cannot contain the wanted values."""


def show(value: Any) -> str:
    """Returns a value for a message; a long one is cut."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


@contextmanager
def cell_errors(path: str, column: str, start: int, keys: pa.Array | None = None) -> Iterator[None]:
    """Adds file, row and key to errors inside the block.

    start: index of the batch's first row in the file. keys: keys of the batch's rows, None if they are unknown.
    """
    try:
        yield
    except WrongTypeError as error:
        raise OvocrError(f"{path}: column {column!r}: {error}") from error
    except WrongCellError as error:
        key = "" if keys is None else f" (key {keys[error.row].as_py()!r})"
        raise OvocrError(f"{path}: row {start + error.row}{key}: column {column!r}: {error}") from error

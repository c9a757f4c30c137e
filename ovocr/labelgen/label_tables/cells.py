"""Conversion of table cells of any type to text keys and to class ids."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# A class id as text. Programs write 17.0 for integers in a column that also has empty cells.
_MAX_DIGITS = 9
_ID_TEXT = rf"^[0-9]{{1,{_MAX_DIGITS}}}(\.0*)?$"
_SEPARATORS = r"[\s,;]+"
_BRACKETS = " \t\r\n[](){}"


@dataclass(frozen=True)
class JsonColumn:
    """JSON cells of different types."""

    cells: list[Any]


Column: TypeAlias = pa.Array | JsonColumn


class WrongCellError(Exception):
    """A cell that is not a key, or has a value that is not a class id. row: its index in the column."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class WrongTypeError(Exception):
    """A column of a type that cannot contain keys or class ids."""


def json_column(cells: list[Any]) -> Column:
    """Returns cells of one JSON type as an Arrow array, others as JsonColumn."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {list}:
        # Arrow fails on a list of texts among lists of numbers. Keep the cells, to name the wrong one.
        inner = {type(value) for cell in cells if cell for value in cell}
        kinds = set() if inner <= {int} else {dict}
    if kinds <= {int, str} and len(kinds) < 2:
        try:
            return pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # beyond 64 bits; a lone surrogate
            pass
    return JsonColumn(cells)


def read_keys(column: Column) -> pa.Array:
    """Returns the keys as large_string [rows], integers as text. Raises WrongCellError for a missing key."""
    if isinstance(column, JsonColumn):
        column = pa.array([_json_key(row, cell) for row, cell in enumerate(column.cells)], pa.large_string())
    column = _plain(column)
    if not (_is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise WrongTypeError(f"keys are of type {column.type}; must be text or integers")
    keys = pc.cast(column, pa.large_string())
    missing = _as_numpy(pc.fill_null(pc.equal(keys, ""), True))
    if missing.any():
        raise WrongCellError(int(np.flatnonzero(missing)[0]), "the key is missing")
    return keys


def read_ids(column: Column, bound: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Returns the number of class ids of each cell, int64 [rows], and the ids of all cells in order, int32 [sum].

    A cell is an integer, a list of integers, or text with integers separated by spaces, commas or semicolons. A null
    or an empty text has no ids. Raises WrongCellError for a value that is not an integer from 0 to bound - 1.
    """
    if isinstance(column, JsonColumn):
        return _read_json_ids(column.cells, bound)
    column = _plain(column)
    if _is_text(column.type):
        column = _split(column)
    if not _is_list(column.type):
        counts = _as_numpy(column.is_valid()).astype(np.int64)
        return counts, _check_ids(column.drop_null(), counts, bound)
    counts = _as_numpy(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    values = pc.list_flatten(column)
    if _is_text(values.type) and len(values):
        # Splitting gives an empty text for an empty cell, and for a comma at the end of a cell.
        empty = _as_numpy(pc.fill_null(pc.equal(values, ""), False))
        counts -= np.bincount(np.repeat(np.arange(len(counts)), counts)[empty], minlength=len(counts))
        values = values.filter(pa.array(~empty))
    return counts, _check_ids(values, counts, bound)


def _check_ids(values: pa.Array, counts: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.int32]:
    """Converts values [sum of counts] of any type to class ids. Raises WrongCellError for the first wrong value."""
    values = _plain(values)
    if not len(values):
        return np.empty(0, np.int32)
    if _is_text(values.type):
        shown, values = values, _parse(values)
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        shown = values
    else:
        raise WrongTypeError(
            f"class ids are of type {values.type}; must be integers, lists of integers, or text with integers"
        )
    wrong = _as_numpy(values.is_null())
    found = _as_numpy(pc.fill_null(values, 0))
    wrong = wrong | ~((found >= 0) & (found < bound) & (np.floor(found) == found if found.dtype.kind == "f" else True))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        row = int(np.searchsorted(np.cumsum(counts), first, side="right"))
        raise WrongCellError(row, wrong_id(shown[first].as_py(), bound))
    return found.astype(np.int32)


def _split(texts: pa.Array) -> pa.Array:
    """Splits each text at separators. A regular expression would take three times as long."""
    for separator in ",;":
        texts = pc.replace_substring(texts, separator, " ")
    return pc.ascii_split_whitespace(pc.ascii_trim(texts, _BRACKETS))


def _parse(texts: pa.Array) -> pa.Array:
    """Converts texts, none of them empty, to int64; -1 for text that is not an integer."""
    if pc.all(pc.ascii_is_decimal(texts)).as_py() and pc.max(pc.binary_length(texts)).as_py() <= _MAX_DIGITS:
        return pc.cast(texts, pa.int64())
    # Much slower. Rejects numbers that only Arrow accepts, such as 0x10.
    is_number = _as_numpy(pc.fill_null(pc.match_substring_regex(texts, _ID_TEXT), False))
    found = np.full(len(texts), -1, np.int64)
    numbers = pc.replace_substring_regex(texts.filter(pa.array(is_number)), r"\.0*$", "")
    found[is_number] = _as_numpy(pc.cast(numbers, pa.int64()))
    return pa.array(found)


def wrong_id(value: Any, bound: int) -> str:
    """Returns the message for a value that is not a class id."""
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:60] + "…"
    return f"{shown} is not a class id; must be an integer from 0 to {bound - 1}"


def _read_json_ids(cells: Sequence[Any], bound: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    counts, ids = [], []
    for row, cell in enumerate(cells):
        if isinstance(cell, str):
            cell = [text for text in re.split(_SEPARATORS, cell.strip(_BRACKETS)) if text]
        values = [] if cell is None else cell if isinstance(cell, list) else [cell]
        ids += [_json_id(row, value, bound) for value in values]
        counts.append(len(values))
    return np.asarray(counts, np.int64), np.asarray(ids, np.int32)


def _json_id(row: int, value: Any, bound: int) -> int:
    if isinstance(value, str) and re.search(_ID_TEXT, value):
        value = float(value)
    if type(value) in (int, float) and 0 <= value < bound and value == int(value):
        return int(value)
    raise WrongCellError(row, wrong_id(value, bound))


def _json_key(row: int, cell: Any) -> str | None:
    if isinstance(cell, str) and any("\ud800" <= character <= "\udfff" for character in cell):
        raise WrongCellError(row, f"the key is {cell!a}, which is not text: it has a lone surrogate")
    if cell is None or isinstance(cell, str) or type(cell) is int:
        return None if cell is None else str(cell)
    raise WrongCellError(row, f"the key is {cell!r}; must be text or an integer")


def _plain(column: pa.Array) -> pa.Array:
    """Decodes dictionaries and string views, which few Arrow functions accept."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return pc.cast(column, pa.large_string()) if str(column.type) == "string_view" else column


def _as_numpy(array: pa.Array) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))

"""The cells of a table: from whatever type a column has to text keys and to class ids."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# A class id in a cell of text; a program that met empty cells in a column of whole numbers writes 17.0.
_MAX_DIGITS = 9
_ID_TEXT = rf"^[0-9]{{1,{_MAX_DIGITS}}}(\.0*)?$"
_SEPARATORS = r"[\s,;]+"
_BRACKETS = " \t\r\n[](){}"


@dataclass(frozen=True)
class JsonColumn:
    """Cells of JSON, which need not be of one type."""

    cells: list[Any]


Column: TypeAlias = pa.Array | JsonColumn


class WrongCellError(Exception):
    """A cell that is no key, or holds something that is no class id. row: its place in the column."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class WrongTypeError(Exception):
    """A column of a type that cannot hold keys or class ids; the message says what was needed."""


def json_column(cells: list[Any]) -> Column:
    """Cells of one JSON type as an Arrow array, others as they are."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {list}:
        # Arrow would take a list of texts among lists of numbers for damage; it is a wrong cell, to be named.
        inner = {type(value) for cell in cells if cell for value in cell}
        kinds = set() if inner <= {int} else {dict}
    if kinds <= {int, str} and len(kinds) < 2:
        try:
            return pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # beyond 64 bits; half a character
            pass
    return JsonColumn(cells)


def read_keys(column: Column) -> pa.Array:
    """Keys as large_string [rows]. Whole numbers are written out. Raises WrongCellError for a key that is missing."""
    if isinstance(column, JsonColumn):
        column = pa.array([_json_key(row, cell) for row, cell in enumerate(column.cells)], pa.large_string())
    column = _plain(column)
    if not (_is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise WrongTypeError(f"keys are of type {column.type}; text or whole numbers are needed")
    keys = pc.cast(column, pa.large_string())
    missing = _as_numpy(pc.fill_null(pc.equal(keys, ""), True))
    if missing.any():
        raise WrongCellError(int(np.flatnonzero(missing)[0]), "the key is missing")
    return keys


def read_ids(column: Column, bound: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """How many class ids each cell holds, int64 [rows], and the ids of all cells one after another, int32 [sum].

    A cell is a whole number, a list of them, or text with any number of them between spaces, commas or semicolons; a
    null or an empty text holds none. Raises WrongCellError for what is no whole number from 0 to bound - 1.
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
        # An empty cell is split into one empty text, and there is one beside a comma at a cell's end.
        empty = _as_numpy(pc.fill_null(pc.equal(values, ""), False))
        counts -= np.bincount(np.repeat(np.arange(len(counts)), counts)[empty], minlength=len(counts))
        values = values.filter(pa.array(~empty))
    return counts, _check_ids(values, counts, bound)


def _check_ids(values: pa.Array, counts: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.int32]:
    """Values [sum of counts] of any type as class ids. Raises WrongCellError for the first that is none."""
    values = _plain(values)
    if not len(values):
        return np.empty(0, np.int32)
    if _is_text(values.type):
        shown, values = values, _parse(values)
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        shown = values
    else:
        raise WrongTypeError(
            f"class ids are of type {values.type}; whole numbers, lists of them, or text with them are needed"
        )
    wrong = _as_numpy(values.is_null())
    found = _as_numpy(pc.fill_null(values, 0))
    wrong = wrong | ~((found >= 0) & (found < bound) & (np.floor(found) == found if found.dtype.kind == "f" else True))
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        row = int(np.searchsorted(np.cumsum(counts), place, side="right"))
        raise WrongCellError(row, wrong_id(shown[place].as_py(), bound))
    return found.astype(np.int32)


def _split(texts: pa.Array) -> pa.Array:
    """The pieces of each text between separators. A regular expression would take three times as long."""
    for separator in ",;":
        texts = pc.replace_substring(texts, separator, " ")
    return pc.ascii_split_whitespace(pc.ascii_trim(texts, _BRACKETS))


def _parse(texts: pa.Array) -> pa.Array:
    """Texts, none empty, as int64; -1 for what is no whole number."""
    if pc.all(pc.ascii_is_decimal(texts)).as_py() and pc.max(pc.binary_length(texts)).as_py() <= _MAX_DIGITS:
        return pc.cast(texts, pa.int64())
    # Slower by far. No number that only Arrow takes for one, such as 0x10, is let through.
    is_number = _as_numpy(pc.fill_null(pc.match_substring_regex(texts, _ID_TEXT), False))
    found = np.full(len(texts), -1, np.int64)
    numbers = pc.replace_substring_regex(texts.filter(pa.array(is_number)), r"\.0*$", "")
    found[is_number] = _as_numpy(pc.cast(numbers, pa.int64()))
    return pa.array(found)


def wrong_id(value: Any, bound: int) -> str:
    """What is wrong with a value that should be a class id."""
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:60] + "…"
    return f"{shown} is no class id: a whole number from 0 to {bound - 1} is needed"


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
        raise WrongCellError(row, f"the key is {cell!a}, which is no text: half a character stands in it")
    if cell is None or isinstance(cell, str) or type(cell) is int:
        return None if cell is None else str(cell)
    raise WrongCellError(row, f"the key is {cell!r}; text or a whole number is needed")


def _plain(column: pa.Array) -> pa.Array:
    """Without dictionaries and views, which few functions of Arrow take."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return pc.cast(column, pa.large_string()) if str(column.type) == "string_view" else column


def _as_numpy(array: pa.Array) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _is_text(type: pa.DataType) -> bool:
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))

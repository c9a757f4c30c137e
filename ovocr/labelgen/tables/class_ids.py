"""Conversion of table cells of any type to class ids."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.labelgen.tables.cell_errors import WrongCellError, WrongTypeError, show
from ovocr.labelgen.tables.cells import Column, JsonColumn, as_numpy, is_list, is_text, plain

# A class id as text. Programs write 17.0 for integers in a column that also has empty cells.
_MAX_DIGITS = 9
_ID_TEXT = rf"^[0-9]{{1,{_MAX_DIGITS}}}(\.0*)?$"
_SEPARATORS = r"[\s,;]+"
_BRACKETS = " \t\r\n[](){}"


def read_ids(column: Column, bound: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Returns the number of class ids of each cell, int64 [rows], and the ids of all cells in order, int32 [sum].

    A cell is an integer, a list of integers, or text with integers separated by spaces, commas or semicolons. A null
    or an empty text has no ids. Raises WrongCellError for a value that is not an integer from 0 to bound - 1.
    """
    if isinstance(column, JsonColumn):
        return _read_json_ids(column.cells, bound)
    column = plain(column)
    if is_text(column.type):
        column = _split(column)
    if not is_list(column.type):
        counts = as_numpy(column.is_valid()).astype(np.int64)
        return counts, _check_ids(column.drop_null(), counts, bound)
    counts = as_numpy(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    values = pc.list_flatten(column)
    if is_text(values.type) and len(values):
        # Splitting gives an empty text for an empty cell, and for a comma at the end of a cell.
        empty = as_numpy(pc.fill_null(pc.equal(values, ""), False))
        counts -= np.bincount(np.repeat(np.arange(len(counts)), counts)[empty], minlength=len(counts))
        values = values.filter(pa.array(~empty))
    return counts, _check_ids(values, counts, bound)


def _check_ids(values: pa.Array, counts: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.int32]:
    """Converts values [sum of counts] of any type to class ids. Raises WrongCellError for the first wrong value."""
    values = plain(values)
    if not len(values):
        return np.empty(0, np.int32)
    if is_text(values.type):
        shown, values = values, _parse(values)
    elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        shown = values
    else:
        raise WrongTypeError(
            f"class ids are of type {values.type}; must be integers, lists of integers, or text with integers"
        )
    wrong = as_numpy(values.is_null())
    found = as_numpy(pc.fill_null(values, 0))
    wrong = wrong | ~((found >= 0) & (found < bound) & (np.floor(found) == found if found.dtype.kind == "f" else True))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        row = int(np.searchsorted(np.cumsum(counts), first, side="right"))
        raise WrongCellError(row, _wrong_id(shown[first].as_py(), bound))
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
    is_number = as_numpy(pc.fill_null(pc.match_substring_regex(texts, _ID_TEXT), False))
    found = np.full(len(texts), -1, np.int64)
    numbers = pc.replace_substring_regex(texts.filter(pa.array(is_number)), r"\.0*$", "")
    found[is_number] = as_numpy(pc.cast(numbers, pa.int64()))
    return pa.array(found)


def _wrong_id(value: Any, bound: int) -> str:
    """Returns the message for a value that is not a class id."""
    return f"{show(value)} is not a class id; must be an integer from 0 to {bound - 1}"


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
    raise WrongCellError(row, _wrong_id(value, bound))

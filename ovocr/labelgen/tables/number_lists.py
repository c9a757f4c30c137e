"""Conversion of table cells to lists of numbers, single numbers and boxes."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.labelgen.tables.cell_errors import WrongCellError, WrongTypeError, show
from ovocr.labelgen.tables.cells import Column, JsonColumn, as_numpy, is_json_type, is_list, plain

_Floats = npt.NDArray[np.float64]

# Python's float() also accepts nan, 1_0 and digits of other scripts.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BRACKETS_AND_SEPARATORS = re.compile(r"[\s,;()\[\]{}]+")
_POINTS = 4


@dataclass(frozen=True)
class NumberLists:
    """A list of numbers per cell. given: bool [cells], False for a null or an empty text. counts: int64 [cells].

    values: the numbers of all cells in order, float64 [sum of counts]; NaN for one that is null or not a number.
    """

    given: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    values: _Floats

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Index of the first value of each cell, int64 [cells]."""
        return np.cumsum(self.counts) - self.counts


def read_number_lists(column: Column, *, points: bool = False) -> NumberLists:
    """Returns the numbers of each cell: a list of numbers, or text with numbers between separators and brackets.

    points: accept four points [x, y] as well. Raises WrongCellError for anything else.
    """
    if isinstance(column, JsonColumn):
        return _read_cells(column.cells, points)
    column = plain(column)
    if is_json_type(column.type):
        return _read_cells(column.to_pylist(), points)
    if not is_list(column.type):
        raise WrongTypeError(f"values are of type {column.type}; must be lists of numbers")
    given = as_numpy(column.is_valid())
    counts = as_numpy(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    values = pc.list_flatten(column)
    if points and is_list(values.type):
        _check_points(column, given, counts, as_numpy(pc.fill_null(pc.list_value_length(values), 0)))
        values = pc.list_flatten(values)
        counts *= 2
    if not (_is_number(values.type) or pa.types.is_null(values.type)):
        raise WrongTypeError(f"values are of type {column.type}; must be lists of numbers")
    return NumberLists(given, counts, _to_float64(values))


def read_numbers(column: Column) -> _Floats:
    """Returns the number in each cell, float64 [cells]; NaN for a null or an empty text. Raises WrongCellError."""
    if not isinstance(column, JsonColumn):
        column = plain(column)
        if _is_number(column.type):
            numbers = _to_float64(column)
            wrong = np.isnan(numbers) & as_numpy(column.is_valid())
            if wrong.any():
                raise WrongCellError(int(np.flatnonzero(wrong)[0]), "nan is not a number")
            return numbers
        if not is_json_type(column.type):
            raise WrongTypeError(f"values are of type {column.type}; must be numbers")
        column = JsonColumn(column.to_pylist())
    numbers = np.full(len(column.cells), np.nan)
    for row, cell in enumerate(column.cells):
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            continue
        numbers[row] = _parse_number(row, cell.strip() if isinstance(cell, str) else cell, cell)
    return numbers


def _check_points(
    column: pa.Array, given: npt.NDArray[np.bool_], points: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]
) -> None:
    """Raises WrongCellError unless each cell has four points of two numbers. points, numbers: how many there are."""
    wrong = given & (points != _POINTS)
    wrong |= np.bincount(np.repeat(np.arange(len(points)), points)[numbers != 2], minlength=len(points)) > 0
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise WrongCellError(row, f"{show(column[row].as_py())} is not four points [x, y]")


def _read_cells(cells: Sequence[Any], points: bool) -> NumberLists:
    counts, values = np.zeros(len(cells), np.int64), []
    given = np.zeros(len(cells), bool)
    for row, cell in enumerate(cells):
        numbers: Any = cell
        if isinstance(cell, str):
            numbers = [text for text in _BRACKETS_AND_SEPARATORS.split(cell) if text]
            if not numbers and not cell.strip():
                continue
        elif cell is None:
            continue
        if not isinstance(numbers, list):
            raise WrongCellError(row, f"{show(cell)} is not a list of numbers")
        if points and numbers and all(isinstance(point, list) for point in numbers):
            if len(numbers) != _POINTS or any(len(point) != 2 for point in numbers):
                raise WrongCellError(row, f"{show(cell)} is not four points [x, y]")
            numbers = [number for point in numbers for number in point]
        values += _parse_numbers(row, numbers, cell)
        given[row], counts[row] = True, len(numbers)
    return NumberLists(given, counts, np.asarray(values, np.float64))


def _parse_numbers(row: int, numbers: list[Any], cell: Any) -> list[float]:
    """Returns the numbers of a cell. Raises WrongCellError; the message shows the cell."""
    if {*map(type, numbers)} <= {int, float}:
        with suppress(OverflowError):
            return [*map(float, numbers)]
    return [_parse_number(row, number, cell) for number in numbers]


def _parse_number(row: int, value: Any, cell: Any) -> float:
    """Returns a number of a cell. Raises WrongCellError; the message shows the cell."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    try:
        number = float(value) if type(value) in (int, float) else np.nan
    except OverflowError:  # an integer beyond the range of float64
        number = np.inf
    if np.isnan(number):
        inside = f" in {show(cell)}" if value is not cell else ""
        raise WrongCellError(row, f"{show(value)}{inside} is not a number")
    return number


def _is_number(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type))


def _to_float64(values: pa.Array) -> _Floats:
    return as_numpy(pc.cast(values, pa.float64(), safe=False)).astype(np.float64)

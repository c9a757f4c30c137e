"""Columns of tables, and conversion of their cells to keys and texts."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.labelgen.tables.cell_errors import WrongCellError, WrongTypeError, show


@dataclass(frozen=True)
class JsonColumn:
    """JSON cells of different types."""

    cells: list[Any]


Column: TypeAlias = pa.Array | JsonColumn


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
    column = plain(column)
    if not (is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise WrongTypeError(f"keys are of type {column.type}; must be text or integers")
    keys = _valid_text(pc.cast(column, pa.large_string()))
    missing = as_numpy(pc.fill_null(pc.equal(keys, ""), True))
    if missing.any():
        raise WrongCellError(int(np.flatnonzero(missing)[0]), "the key is missing")
    return keys


def read_texts(column: Column) -> pa.Array:
    """Returns the texts as large_string [cells] with nulls. Raises WrongCellError for a cell that is not text."""
    if not isinstance(column, JsonColumn):
        column = plain(column)
        if not is_json_type(column.type):
            raise WrongTypeError(f"values are of type {column.type}; must be text")
        if pa.types.is_integer(column.type):
            column = JsonColumn(column.to_pylist())
    if isinstance(column, JsonColumn):
        return pa.array([_json_text(row, cell) for row, cell in enumerate(column.cells)], pa.large_string())
    return _valid_text(pc.cast(column, pa.large_string()))


def _json_key(row: int, cell: Any) -> str | None:
    if isinstance(cell, str) and _has_surrogate(cell):
        raise WrongCellError(row, f"the key is {cell!a}, which is not text: it has a lone surrogate")
    if cell is None or isinstance(cell, str) or type(cell) is int:
        return None if cell is None else str(cell)
    raise WrongCellError(row, f"the key is {cell!r}; must be text or an integer")


def _json_text(row: int, cell: Any) -> str | None:
    if isinstance(cell, str) and _has_surrogate(cell):
        raise WrongCellError(row, f"{cell!a} is not text: it has a lone surrogate")
    if cell is None or isinstance(cell, str):
        return cell
    raise WrongCellError(row, f"{show(cell)} is not text")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _valid_text(texts: pa.Array) -> pa.Array:
    """Returns the texts. Raises WrongCellError for bytes that are not UTF-8, which Parquet files may contain."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        for row, data in enumerate(pc.cast(texts, pa.large_binary()).to_pylist()):
            if data is not None and not _is_utf8(data):
                raise WrongCellError(row, f"{show(data)} is not UTF-8") from error
        raise
    return texts


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def plain(column: pa.Array) -> pa.Array:
    """Decodes dictionaries and string views, which few Arrow functions accept."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return pc.cast(column, pa.large_string()) if str(column.type) == "string_view" else column


def as_numpy(array: pa.Array) -> npt.NDArray[Any]:
    """Returns the values as a numpy array."""
    values: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def is_text(type: pa.DataType) -> bool:
    """Returns True for texts that Arrow functions accept."""
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type))


def is_json_type(type: pa.DataType) -> bool:
    """Returns True for the types that ``json_column`` gives cells that are not lists."""
    return bool(is_text(type) or pa.types.is_null(type) or pa.types.is_integer(type))


def is_list(type: pa.DataType) -> bool:
    """Returns True for lists of any kind except list views."""
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))

"""Rows of JSON tables: one object per line, a list of objects, or one object that maps keys to values."""

import gzip
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

from ovocr.base.errors import OvocrError

JSON_LINES = (".jsonl", ".ndjson")
JSON = ".json"
KEY_COLUMN = "key"


def json_rows(path: str, kind: str, value_column: str, row_columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file. Raises OvocrError, naming the line or the row.

    value_column: column of the values if the file is an object that maps keys to values. row_columns: an object with
    KEY_COLUMN and one of these is a row instead.
    """
    return _read_lines(path) if kind in JSON_LINES else _read_document(path, value_column, row_columns)


def _read_lines(path: str) -> Iterator[dict[str, Any]]:
    """Yields one object per line, skipping empty lines. Raises OvocrError, naming the line, counted from 1."""
    decode = json.JSONDecoder().decode  # json.loads takes twice as long, to check its arguments
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = decode(line)
            except (ValueError, RecursionError) as error:
                raise OvocrError(f"{path}: line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise OvocrError(f"{path}: line {number}: expected a JSON object, found {line[:40]!r}")
            yield row


def _read_document(path: str, value_column: str, row_columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file that is one list or one object. The whole file is in memory meanwhile."""
    with open_text(path) as file:
        text = file.read()
    if not text.strip():
        return
    outer: list[tuple[str, Any]] = []

    def keep_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal outer
        outer = pairs  # The outermost object is the last one. A dict would lose all but one of its equal keys.
        return dict(pairs)

    try:
        document = json.loads(text, object_pairs_hook=keep_pairs)
    except (ValueError, RecursionError) as error:
        advice = "; a file with one object per line is named .jsonl" if "Extra data" in str(error) else ""
        raise OvocrError(f"{path}: not JSON: {error}{advice}") from error
    if isinstance(document, dict):
        if KEY_COLUMN in document and any(name in document for name in row_columns):
            raise OvocrError(f"{path}: this object is one row; put rows into a list")
        yield from ({KEY_COLUMN: key, value_column: value} for key, value in outer)
        return
    if not isinstance(document, list):
        raise OvocrError(f"{path}: expected a list of objects, or an object that maps keys to {value_column}")
    for number, row in enumerate(document):
        if not isinstance(row, dict):
            raise OvocrError(f"{path}: row {number}: expected a JSON object, found {repr(row)[:40]}")
        yield row


def open_text(path: str, newline: str | None = None) -> IO[str]:
    """Opens a file of UTF-8 text, with or without compression. newline: as in Python's ``open``."""
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return open(path, encoding="utf-8-sig", newline=newline)

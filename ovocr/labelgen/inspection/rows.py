"""Rows of a shard's Parquet files, without reading what is not asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError


def read_columns(path: Path, schema: pa.Schema, names: Sequence[str]) -> pa.Table:
    """Whole columns of a shard. Raises OvocrError, naming the file, where they cannot be had as ``schema`` says."""
    with _opened(path, schema) as table:
        return table.read(columns=list(names))


def read_rows(path: Path, schema: pa.Schema, places: Sequence[int]) -> list[dict[str, Any]]:
    """The rows at ``places``, ascending from 0, with all columns of ``schema``; only their row groups are read.

    Raises OvocrError, naming the file, where it cannot be read or has no such row.
    """
    with _opened(path, schema) as table:
        ends = np.cumsum([table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)])
        if places and (not len(ends) or places[-1] >= ends[-1]):
            raise KeyError(f"there is no row {places[-1]}")
        groups = np.searchsorted(ends, places, side="right")
        rows: list[dict[str, Any]] = []
        for number in np.unique(groups).tolist():
            start = int(ends[number - 1]) if number else 0
            own = [place - start for place, group in zip(places, groups, strict=True) if group == number]
            rows += table.read_row_group(number, columns=schema.names).take(own).to_pylist()
        return rows


@contextmanager
def _opened(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """Raises OvocrError where a column is missing or of another type, or the block meets damage."""
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise OvocrError(f"{path}: cannot be read: it is a folder, a device or a pipe; put the file back")
    try:
        with pq.ParquetFile(path) as table:
            for name in schema.names:
                if table.schema_arrow.field(name).type != schema.field(name).type:
                    raise KeyError(f"column {name} has another type than {schema.field(name).type}")
            yield table
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise OvocrError(f"{path}: cannot be read: {reason}; put the file back") from error

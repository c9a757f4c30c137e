"""Columns of a data set's Parquet files, and a writer whose bytes depend on the rows alone."""

from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 1000

_BOX = pa.list_(pa.float32(), 8)
_LINE = pa.struct([("text", pa.string()), ("score", pa.float32()), ("box", _BOX)])
_TAG = pa.struct([("id", pa.int32()), ("line", pa.int32()), ("box", _BOX)])

OCR = pa.schema(
    [
        ("key", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("lines", pa.list_(_LINE)),
    ]
)
RECORDS = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("record_id", pa.int64()),
        ("words_found", pa.int32()),
        ("words_in_vocabulary", pa.int32()),
        ("tags", pa.list_(_TAG)),
    ]
)
# Of pictures whose class ids come from a table: there are no words, no lines and no boxes.
PACKED_RECORDS = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("record_id", pa.int64()),
        ("tags", pa.list_(pa.struct([("id", pa.int32())]))),
    ]
)


class RowWriter:
    """Writes rows (dictionaries) to a Parquet file in row groups of ROW_GROUP_ROWS, holding one group in memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._write_group()
        finally:
            self._writer.close()

    def append(self, row: dict[str, Any]) -> None:
        """Add a row with a value for each column; others are left out."""
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema), row_group_size=ROW_GROUP_ROWS)
            self._rows.clear()

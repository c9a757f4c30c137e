"""A shard's Parquet files, read as far as they can be."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.labelgen.verification.finding import Findings

_BATCH_ROWS = 256
_NULLABLE = {"reason", "detail", "record_id"}
# Of packed labels, whose tags are ids alone, no column has more below it.
_BELOW = {"lines": ("text", "score", "box"), "tags": ("id", "line", "box")}


class StoredTable:
    """The rows of one file. sound: no finding yet; a pass over all its batches makes that certain."""

    def __init__(self, path: Path, schema: pa.Schema, findings: Findings) -> None:
        self.path = path
        self.sound = True
        self._schema = schema
        self._findings = findings

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in order; they end, with a finding, where they cannot be read or are not as they were written."""
        rows = 0
        try:
            with pq.ParquetFile(self.path) as file:
                found = file.schema_arrow
                if not found.equals(self._schema):
                    self._add("", f"columns {_columns(self._schema)}", _columns(found))
                    return
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    batch.validate(full=True)
                    if name := unexpected_null(batch):
                        self._add(f"rows from {rows}", f"a value in every {name}", "null")
                        return
                    yield batch
                    rows += batch.num_rows
        except (OSError, pa.ArrowException, ValueError, OverflowError) as error:
            self._add(f"rows from {rows}", "readable", str(error).splitlines()[0])

    def _add(self, where: str, promised: str, found: str) -> None:
        self.sound = False
        self._findings.add(self.path, where, promised, found)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)


def unexpected_null(batch: pa.RecordBatch) -> str:
    """Name of a column that has a null, of its own or below it, where every row has a value; empty for none."""
    for name in batch.schema.names:
        column = batch.column(name)
        if column.null_count and name not in _NULLABLE:
            return str(name)
        if name in _BELOW:
            below = column.flatten()
            fields = [below.field(number) for number in range(below.type.num_fields)]
            boxes = [field.flatten() for field in fields if pa.types.is_fixed_size_list(field.type)]
            if any(part.null_count for part in (below, *fields, *boxes)):
                return str(name)
    return ""

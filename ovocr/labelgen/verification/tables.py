"""Reads a shard's Parquet files up to the first damage."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ovocr.dataset.tables import TableError, find_null, open_table
from ovocr.labelgen.verification.finding import Findings

_BATCH_ROWS = 256


class StoredTable:
    """The rows of one file. valid: False after a finding; final after an iteration over all batches."""

    def __init__(self, path: Path, schema: pa.Schema, findings: Findings) -> None:
        self.path = path
        self.valid = True
        self._schema = schema
        self._findings = findings

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields the rows in order. Adds a finding and stops if rows cannot be read or are invalid."""
        rows = 0
        try:
            with open_table(self.path) as file:
                found = file.schema_arrow
                if not found.equals(self._schema):
                    self._add("", f"columns {_describe(self._schema)}", _describe(found))
                    return
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    batch.validate(full=True)
                    if name := find_null(batch):
                        self._add(f"rows from {rows}", f"a value in every {name}", "null")
                        return
                    yield batch
                    rows += batch.num_rows
        except TableError as error:
            self._add(f"rows from {rows}", "readable rows", error.reason)

    def _add(self, where: str, expected: str, found: str) -> None:
        self.valid = False
        self._findings.add(self.path, where, expected, found)


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)

"""A shard's Parquet files, read as far as possible."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ovocr.dataset.tables import TableError, find_null, open_table
from ovocr.labelgen.verification.finding import Findings

_BATCH_ROWS = 256


class StoredTable:
    """The rows of one file. sound: no finding so far; final after a pass over all batches."""

    def __init__(self, path: Path, schema: pa.Schema, findings: Findings) -> None:
        self.path = path
        self.sound = True
        self._schema = schema
        self._findings = findings

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yields the rows in order; ends, with a finding, if they cannot be read or are not as ovocr writes them."""
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
            self._add(f"rows from {rows}", "readable", error.reason)

    def _add(self, where: str, promised: str, found: str) -> None:
        self.sound = False
        self._findings.add(self.path, where, promised, found)


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in schema)

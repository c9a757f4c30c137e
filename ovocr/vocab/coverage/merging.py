"""From the words of each shard to those of the corpus."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.cores import available_cores
from ovocr.errors import MissingExtraError
from ovocr.vocab.coverage.found_words import FoundWord

# Rows of all shards that are merged in this process's memory, 200 bytes each; DuckDB merges more.
ROWS_IN_MEMORY = 2_000_000
MEMORY = "1GB"  # what DuckDB may take before it writes to the disk
_BATCH_ROWS = 16_384
# Files are told apart by their names without folder and ending.
_MERGED = """
COPY (
SELECT word, sum(tokens)::BIGINT AS tokens, sum(images)::BIGINT AS images,
       min(shard) AS shard, arg_min(example, shard) AS example
FROM read_parquet(?, filename = true) JOIN shards ON parse_filename(filename, true) = name
GROUP BY word
) TO ? (FORMAT parquet)
"""


def merge_words(files: Sequence[Path], scratch: Path) -> Iterator[FoundWord]:
    """The distinct words of shards, in any order. files: as ``ovocr.vocab.counting`` writes them, in order of shards.

    scratch: a folder that is made for what does not fit in memory. Raises MissingExtraError where something does not
    and DuckDB is not installed.
    """
    if sum(pq.read_metadata(path).num_rows for path in files) <= ROWS_IN_MEMORY:
        return _merge_in_memory(files)
    return _merge_on_disk(files, scratch)


def _merge_in_memory(files: Sequence[Path]) -> Iterator[FoundWord]:
    merged: dict[str, FoundWord] = {}
    for shard, path in enumerate(files):
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_BATCH_ROWS):
                for word, tokens, images, example in _rows(batch):
                    before = merged.get(word)
                    merged[word] = (
                        FoundWord(word, tokens, images, shard, example)
                        if before is None
                        else before._replace(tokens=before.tokens + tokens, images=before.images + images)
                    )
    yield from merged.values()


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, int, int, str]]:
    return zip(*(batch.column(name).to_pylist() for name in ("word", "tokens", "images", "example")), strict=True)


def _merge_on_disk(files: Sequence[Path], scratch: Path) -> Iterator[FoundWord]:
    if find_spec("duckdb") is None:
        raise MissingExtraError(f"merging more than {ROWS_IN_MEMORY:,} words of shards", "vocab")
    return _merge_by_duckdb(files, scratch)


def _merge_by_duckdb(files: Sequence[Path], scratch: Path) -> Iterator[FoundWord]:
    import duckdb

    merged = scratch / "merged.parquet"
    settings: dict[str, Any] = {"temp_directory": str(scratch), "memory_limit": MEMORY, "threads": available_cores()}
    scratch.mkdir()
    with duckdb.connect(config={**settings, "preserve_insertion_order": False}) as connection:
        connection.execute("CREATE TABLE shards (name VARCHAR, shard BIGINT)")
        connection.executemany("INSERT INTO shards VALUES (?, ?)", [(path.stem, at) for at, path in enumerate(files)])
        connection.execute(_MERGED, [[str(path) for path in files], str(merged)])
    with pq.ParquetFile(merged) as table:
        for batch in table.iter_batches(_BATCH_ROWS):
            yield from map(FoundWord._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))

"""Merges the word counts of shards into the word counts of the corpus."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.vocab.count_merging import merged_counts
from ovocr.vocab.coverage.corpus_words import CorpusWord

# Up to this number of rows, about 300 bytes each, is merged in memory; DuckDB merges more.
ROWS_IN_MEMORY = 2_000_000
_BATCH_ROWS = 16_384


def merge_words(files: Sequence[Path], scratch: Path) -> Iterator[CorpusWord]:
    """Yields the distinct words of shards, in any order.

    files: as ``ovocr.vocab.counting`` writes them, in the order of the shards.
    scratch: a folder that is created if the words do not fit in memory.

    Raises MissingExtraError if they do not fit and DuckDB is not installed, and OvocrError if the disk is full.
    """
    if sum(pq.read_metadata(path).num_rows for path in files) <= ROWS_IN_MEMORY:
        return _merge_in_memory(files)
    return _merge_on_disk(files, scratch)


def _merge_in_memory(files: Sequence[Path]) -> Iterator[CorpusWord]:
    merged: dict[str, CorpusWord] = {}
    for shard, path in enumerate(files):
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_BATCH_ROWS):
                for word, tokens, images, example in _rows(batch):
                    before = merged.get(word)
                    merged[word] = (
                        CorpusWord(word, tokens, images, shard, example)
                        if before is None
                        else before._replace(tokens=before.tokens + tokens, images=before.images + images)
                    )
    yield from merged.values()


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[str, int, int, str]]:
    return zip(*(batch.column(name).to_pylist() for name in ("word", "tokens", "images", "example")), strict=True)


def _merge_on_disk(files: Sequence[Path], scratch: Path) -> Iterator[CorpusWord]:
    merged = scratch / "merged.parquet"
    scratch.mkdir()
    with merged_counts(files, scratch, examples=True) as connection:
        columns = ", ".join(CorpusWord._fields)
        connection.execute(f"COPY (SELECT {columns} FROM words) TO ? (FORMAT parquet)", [str(merged)])
    with pq.ParquetFile(merged) as table:
        for batch in table.iter_batches(_BATCH_ROWS):
            yield from map(CorpusWord._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))

"""Sums the word counts of shards with DuckDB, within a memory limit. The disk limits the number of distinct words."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.processes.cores import available_cores

DEFAULT_MEMORY = 2 * 10**9
# DuckDB fails with less: each of its threads keeps blocks that it cannot spill to disk.
LEAST_MEMORY = 100 * 10**6
_MEMORY_PER_THREAD = 100 * 10**6

_SUMS = "CAST(sum(tokens) AS BIGINT) AS tokens, CAST(sum(images) AS BIGINT) AS images"
_WORDS = f"CREATE TABLE words AS SELECT word, {_SUMS} FROM read_parquet(?) GROUP BY word"
# Takes three times as long: the examples are strings, and nearly every word has its own.
_WORDS_WITH_EXAMPLES = f"""
    CREATE TABLE words AS
    SELECT word, {_SUMS}, min(shard) AS shard, arg_min(example, shard) AS example
    FROM read_parquet(?, filename = true) JOIN files ON filename = path
    GROUP BY word
"""


@contextmanager
def merged_counts(
    files: Sequence[Path], folder: Path, *, memory: int = DEFAULT_MEMORY, examples: bool = False
) -> Iterator[Any]:
    """Yields a DuckDB connection with a table ``words``: word, tokens, images; one row per word, summed over ``files``.

    files: one or more Parquet files with these columns; with ``examples``, as ``ovocr.vocab.counting`` writes them.
    folder: an existing folder for DuckDB's table and temporary files. The caller removes it.
    memory: bytes that DuckDB may use, at least LEAST_MEMORY. With little memory it uses fewer threads than cores.
    examples: adds the columns shard and example: the index in ``files`` of the first file with the word, and the word's
    example in that file.

    Words are compared by their UTF-8 bytes, including in ``ORDER BY word``. Raises MissingExtraError if DuckDB is not
    installed, and OvocrError, including inside the block, if memory or disk space runs out.
    """
    duckdb = _import_duckdb()
    try:
        with duckdb.connect(str(folder / "words.duckdb"), config=_settings(folder, memory)) as connection:
            _fill(connection, files, examples)
            yield connection
    except duckdb.OutOfMemoryException as error:  # also raised if the disk for temporary files is full
        raise OvocrError(
            f"{folder}: merging the word counts failed: {_first_line(error)}; allow more memory than "
            f"{memory / 1e6:,.0f} MB and free space on this disk"
        ) from error
    except duckdb.IOException as error:
        raise OvocrError(f"{folder}: merging the word counts failed: {_first_line(error)}") from error


def fetch_rows(connection: Any, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Returns all rows of a query. Ctrl-C interrupts it immediately.

    The query runs in a thread: in the main thread DuckDB finishes a step of the query first, which takes up to 15 s.
    """
    with ThreadPoolExecutor(1) as executor:
        rows = executor.submit(lambda: connection.execute(query, parameters).fetchall())
        try:
            return rows.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _fill(connection: Any, files: Sequence[Path], examples: bool) -> None:
    # DuckDB reads paths as glob patterns.
    patterns = [re.sub(r"[\[*?]", r"[\g<0>]", str(path)) for path in files]
    if not examples:
        fetch_rows(connection, _WORDS, [patterns])
        return
    fetch_rows(
        connection,
        "CREATE TABLE files AS SELECT unnest(?) AS path, CAST(unnest(range(?)) AS INTEGER) AS shard",
        [[str(path) for path in files], len(files)],
    )
    fetch_rows(connection, _WORDS_WITH_EXAMPLES, [patterns])


def _settings(folder: Path, memory: int) -> dict[str, Any]:
    return {
        "memory_limit": f"{memory}B",
        "threads": max(1, min(available_cores(), memory // _MEMORY_PER_THREAD)),
        "temp_directory": str(folder / "spilled"),
        "preserve_insertion_order": False,
        # Otherwise DuckDB downloads extensions; the ones used here are built in.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def check_duckdb() -> None:
    """Raises MissingExtraError if DuckDB is not installed. Call it before counting shards, which may take hours."""
    _import_duckdb()


def _import_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("merging the word counts of shards", "vocab") from error
    return duckdb

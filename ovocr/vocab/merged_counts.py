"""The counts of shards, added up: as many distinct words as the disk holds, by DuckDB within a memory limit."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.processes.cores import available_cores

DEFAULT_MEMORY = 2 * 10**9
# With less DuckDB gives up: each of its threads holds blocks that it cannot put on the disk.
LEAST_MEMORY = 100 * 10**6
_MEMORY_OF_A_THREAD = 100 * 10**6

_SUMS = "CAST(sum(tokens) AS BIGINT) AS tokens, CAST(sum(images) AS BIGINT) AS images"
_WORDS = f"CREATE TABLE words AS SELECT word, {_SUMS} FROM read_parquet(?) GROUP BY word"
# Three times as long: the examples are strings, and nearly each word has one.
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
    """A DuckDB connection with a table ``words``: word, tokens, images, one row a word, the sums over ``files``.

    files: one or more, Parquet with those columns, and with examples as ``ovocr.vocab.counting`` writes them. folder:
    where DuckDB keeps the table and what does not fit in memory; it must be there, and is the caller's to remove.
    memory: bytes that DuckDB may take, at least LEAST_MEMORY; it uses fewer threads than cores where that is little.

    examples: two columns more, shard and example: the place in ``files`` of the first file with the word, and the key
    that it has for it.

    Words compare by their UTF-8 bytes, as ``ORDER BY word`` does. Raises MissingExtraError where DuckDB is not
    installed, and OvocrError, inside the block too, where the memory or the disk does not suffice.
    """
    duckdb = _import_duckdb()
    try:
        with duckdb.connect(str(folder / "words.duckdb"), config=_settings(folder, memory)) as connection:
            _fill(connection, files, examples)
            yield connection
    except duckdb.OutOfMemoryException as error:  # of its temporary files as well
        raise OvocrError(
            f"merging the counted words: {_first_line(error)}; give it more memory than {memory / 1e6:,.0f} MB, "
            f"and more room on the disk of {folder}"
        ) from error
    except duckdb.IOException as error:
        raise OvocrError(f"{folder}: merging the counted words: {_first_line(error)}") from error


def fetch_rows(connection: Any, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query, in memory. Ctrl-C ends it at once.

    It runs in a thread of its own: in the main thread DuckDB goes on until a step of the query, a quarter of a minute,
    is done.
    """
    with ThreadPoolExecutor(1) as executor:
        rows = executor.submit(lambda: connection.execute(query, parameters).fetchall())
        try:
            return rows.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _fill(connection: Any, files: Sequence[Path], examples: bool) -> None:
    # A path is a pattern for DuckDB.
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
        "threads": max(1, min(available_cores(), memory // _MEMORY_OF_A_THREAD)),
        "temp_directory": str(folder / "spilled"),
        "preserve_insertion_order": False,
        # It asks the network for extensions otherwise; what is used here is built in.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def check_duckdb() -> None:
    """Raises MissingExtraError where DuckDB is not installed: to be known before shards are counted for hours."""
    _import_duckdb()


def _import_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("merging the words of shards", "vocab") from error
    return duckdb

"""A table that assigns images to groups, such as the receipts of one shop, for intervals over groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.json as arrow_json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.holdout.rule import GROUP, KEY

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")


class GroupTable:
    """The group of each key.

    path: a .csv, .tsv, .jsonl, .ndjson or .parquet file with the column ``key`` and one of groups, texts or integers.
    option: the option or setting that names the file, for messages. column: name of the column of groups.

    Raises UsageError or OvocrError, naming the option and the file, if it cannot be used.
    """

    def __init__(self, path: Path, option: str = "--groups", column: str = GROUP) -> None:
        self._where = f"{option} {path}" if option.startswith("--") else f"{option}: {path}"
        rows = _read(path, self._where, (KEY, column))
        keys, groups = (_texts(self._where, name, rows[name]) for name in (KEY, column))
        self._group_of: dict[str, str] = {}
        for key, group in zip(keys, groups, strict=True):
            if self._group_of.setdefault(key, group) != group:
                raise OvocrError(f"{self._where}: key {key!r} has two groups, {self._group_of[key]!r} and {group!r}")
        if not self._group_of:
            raise OvocrError(f"{self._where}: this table has no row")
        self._numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}

    def of_images(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """Returns the number of each image's group, int64 [images]; an image without a row gets a group of its own,
        at least ``len(self)``.

        Raises OvocrError if no image has a row, which means that the keys are spelled differently.
        """
        groups = [self.of_image(key) for key in keys]
        if not any(group is not None for group in groups):
            raise self.no_row(keys[0])
        return np.array(
            [len(self) + image if group is None else self._numbers[group] for image, group in enumerate(groups)],
            np.int64,
        )

    def of_image(self, key: str) -> str | None:
        """Returns the name of an image's group; None if the image has no row."""
        return self._group_of.get(key)

    def no_row(self, key: str) -> OvocrError:
        """Returns the error for images none of which has a row. key: key of one of them."""
        difference = f"an image's key is {key!r}, the table's first is {next(iter(self._group_of))!r}"
        return OvocrError(
            f"{self._where}: no image has a row: {difference}; a key is the path inside the source, "
            "including the file extension"
        )

    def __len__(self) -> int:
        """Returns the number of groups."""
        return len(self._numbers)


def _read(path: Path, where: str, columns: tuple[str, str]) -> pa.Table:
    kind = path.suffix.lower()
    if kind not in (*_DELIMITERS, *_JSON_LINES, ".parquet"):
        raise UsageError(f"{where}: unknown kind of table; allowed: .csv, .tsv, .jsonl, .ndjson or .parquet")
    if not path.is_file():
        raise UsageError(f"{where}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as file:
            rows = _read_rows(file, kind, columns)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise OvocrError(f"{where}: this table cannot be read: {reason}") from error
    if missing := [name for name in columns if name not in rows.column_names]:
        needed = " and ".join(map(repr, columns))
        raise OvocrError(
            f"{where}: has no column {missing[0]!r}; needed are the columns {needed}, it has "
            f"{', '.join(map(repr, rows.column_names))}"
        )
    return rows.select(columns)


def _read_rows(file: BinaryIO, kind: str, columns: tuple[str, str]) -> pa.Table:
    if kind in _JSON_LINES:
        return arrow_json.read_json(file)
    if kind == ".parquet":
        return pq.read_table(file)
    return arrow_csv.read_csv(
        file,
        parse_options=arrow_csv.ParseOptions(delimiter=_DELIMITERS[kind]),
        # As text: a key such as 0017 is not a number.
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )


def _texts(where: str, name: str, column: pa.ChunkedArray) -> list[str]:
    """Returns the cells of a column as texts. Raises OvocrError for a missing cell or another type."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise OvocrError(f"{where}: column {name!r} is of type {column.type}; must be text or integers")
    texts = column.cast(pa.large_string())
    missing = pc.fill_null(pc.equal(texts, ""), True).to_numpy()
    if missing.any():
        raise OvocrError(f"{where}: row {int(missing.argmax())}: column {name!r} is empty")
    found: list[str] = texts.to_pylist()
    return found

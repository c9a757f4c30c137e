"""Chooses a table's columns for keys and class ids."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.labelgen.label_tables.files import TableFile

KEY_COLUMN = "key"
LABEL_COLUMNS = ("labels", "label", "class_ids", "class_id", "classes", "class")
_NUMBERED = re.compile(rf"({'|'.join(LABEL_COLUMNS)})_?[0-9]+")
_NAMES_SHOWN = 20


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read. labels: columns of class ids, in the order of a row's ids."""

    key: str
    labels: tuple[str, ...]


def choose_columns(file: TableFile, key: str | None, labels: Sequence[str]) -> Columns:
    """Returns the columns that the user names, or else those with default names.

    The defaults are ``key`` and the first of LABEL_COLUMNS in the table, or all columns with such a name and a number
    (label_0, label_1). Raises UsageError, listing the columns of the table.
    """
    key_column = _require(file, key or KEY_COLUMN, "--key-column")
    label_columns = tuple(_require(file, name, "--label-column") for name in labels) or _default_labels(file)
    names = [key_column, *label_columns]
    for name in names:
        if Counter(names)[name] > 1:
            raise UsageError(f"--labels {file.path}: column {name!r} is named twice for keys and class ids")
        if Counter(file.columns)[name] > 1:
            raise UsageError(f"--labels {file.path}: has two columns {name!r}; rename one")
    return Columns(key_column, label_columns)


def _default_labels(file: TableFile) -> tuple[str, ...]:
    for name in LABEL_COLUMNS:
        if name in file.columns:
            return (name,)
    numbered = tuple(name for name in file.columns if _NUMBERED.fullmatch(name))
    if not numbered:
        raise UsageError(
            f"--labels {file.path}: no column of class ids ({', '.join(LABEL_COLUMNS)}, or label_0, label_1 ...); "
            f"name it with --label-column; its columns: {_names(file)}"
        )
    return numbered


def _require(file: TableFile, name: str, option: str) -> str:
    if name not in file.columns:
        raise UsageError(
            f"--labels {file.path}: no column {name!r}; name it with {option}; its columns: {_names(file)}"
        )
    return name


def _names(file: TableFile) -> str:
    more = f" and {len(file.columns) - _NAMES_SHOWN} more" if len(file.columns) > _NAMES_SHOWN else ""
    return (", ".join(file.columns[:_NAMES_SHOWN]) or "none") + more

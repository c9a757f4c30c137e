"""Which columns of a table hold keys and class ids."""

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
    """Names of a table's columns that are read. labels: in the order in which a row's ids are taken."""

    key: str
    labels: tuple[str, ...]


def choose_columns(file: TableFile, key: str | None, labels: Sequence[str]) -> Columns:
    """The columns that the user names, or those with usual names: ``key``, and of LABEL_COLUMNS the first that is
    there, else all with such a name and a number (label_0, label_1). Raises UsageError that says which are there."""
    key_column = _require(file, key or KEY_COLUMN, "--key-column")
    label_columns = tuple(_require(file, name, "--label-column") for name in labels) or _usual_labels(file)
    names = [key_column, *label_columns]
    for name in names:
        if Counter(names)[name] > 1:
            raise UsageError(f"--labels {file.path}: column {name!r} is named twice for keys and class ids")
        if Counter(file.columns)[name] > 1:
            raise UsageError(f"--labels {file.path}: has two columns {name!r}; rename one")
    return Columns(key_column, label_columns)


def _usual_labels(file: TableFile) -> tuple[str, ...]:
    for name in LABEL_COLUMNS:
        if name in file.columns:
            return (name,)
    numbered = tuple(name for name in file.columns if _NUMBERED.fullmatch(name))
    if not numbered:
        raise UsageError(
            f"--labels {file.path}: no column of class ids ({', '.join(LABEL_COLUMNS)}, or label_0, label_1 ...); "
            f"name it with --label-column; there are: {_names(file)}"
        )
    return numbered


def _require(file: TableFile, name: str, option: str) -> str:
    if name not in file.columns:
        raise UsageError(f"--labels {file.path}: no column {name!r}; name it with {option}; there are: {_names(file)}")
    return name


def _names(file: TableFile) -> str:
    more = f" and {len(file.columns) - _NAMES_SHOWN} more" if len(file.columns) > _NAMES_SHOWN else ""
    return (", ".join(file.columns[:_NAMES_SHOWN]) or "none") + more

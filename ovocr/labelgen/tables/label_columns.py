"""Chooses a table's columns for keys and class ids."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.labelgen.tables.columns import KEY_OPTION, check_unambiguous, require_column, show_columns
from ovocr.labelgen.tables.files import TableFile
from ovocr.labelgen.tables.json_rows import KEY_COLUMN

LABEL_COLUMNS = ("labels", "label", "class_ids", "class_id", "classes", "class")
_NUMBERED = re.compile(rf"({'|'.join(LABEL_COLUMNS)})_?[0-9]+")


@dataclass(frozen=True)
class LabelColumns:
    """Names of the columns to read. labels: columns of class ids, in the order of a row's ids."""

    key: str
    labels: tuple[str, ...]


def choose_label_columns(file: TableFile, key: str | None, labels: Sequence[str]) -> LabelColumns:
    """Returns the columns that the user names, or else those with default names.

    The defaults are ``key`` and the first of LABEL_COLUMNS in the table, or all columns with such a name and a number
    (label_0, label_1). Raises UsageError, listing the columns of the table.
    """
    key_column = require_column(file, key or KEY_COLUMN, KEY_OPTION)
    label_columns = tuple(require_column(file, name, "--label-column") for name in labels) or _default_labels(file)
    names = [key_column, *label_columns]
    for name in names:
        if Counter(names)[name] > 1:
            raise UsageError(f"{file.named}: column {name!r} is named twice for keys and class ids")
    check_unambiguous(file, names)
    return LabelColumns(key_column, label_columns)


def _default_labels(file: TableFile) -> tuple[str, ...]:
    for name in LABEL_COLUMNS:
        if name in file.columns:
            return (name,)
    numbered = tuple(name for name in file.columns if _NUMBERED.fullmatch(name))
    if not numbered:
        raise UsageError(
            f"{file.named}: no column of class ids ({', '.join(LABEL_COLUMNS)}, or label_0, label_1 ...); "
            f"name it with --label-column; its columns: {show_columns(file)}"
        )
    return numbered

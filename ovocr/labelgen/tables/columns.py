"""Finds the columns of a table by name."""

from collections import Counter
from collections.abc import Sequence

from ovocr.base.errors import UsageError
from ovocr.labelgen.tables.files import TableFile

KEY_OPTION = "--key-column"
_NAMES_SHOWN = 20


def require_column(file: TableFile, name: str, option: str) -> str:
    """Returns the name. Raises UsageError, listing the columns of the file, if it has no such column.

    option: the option that names the column.
    """
    if name not in file.columns:
        raise UsageError(f"{file.named}: no column {name!r}; name it with {option}; its columns: {show_columns(file)}")
    return name


def check_unambiguous(file: TableFile, names: Sequence[str]) -> None:
    """Raises UsageError if the file has one of the named columns twice."""
    for name in names:
        if Counter(file.columns)[name] > 1:
            raise UsageError(f"{file.named}: has two columns {name!r}; rename one")


def show_columns(file: TableFile) -> str:
    """Returns the names of a file's columns for a message."""
    return show_names(file.columns)


def show_names(names: Sequence[str]) -> str:
    """Returns the first of the names for a message."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return (", ".join(names[:_NAMES_SHOWN]) or "none") + more

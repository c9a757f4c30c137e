"""Chooses a table's columns for keys and lines."""

from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.labelgen.tables.columns import KEY_OPTION, check_unambiguous, require_column, show_columns
from ovocr.labelgen.tables.files import TableFile
from ovocr.labelgen.tables.json_rows import KEY_COLUMN

LINES, TEXT = "lines", "text"
# Further columns of a table with a row per line, and further fields of the objects in a column of lines.
BOX, SCORE, EDGES = "box", "score", "edges"
FIELDS = (TEXT, BOX, SCORE, EDGES)
_DELIMITED = (".csv", ".tsv")


@dataclass(frozen=True)
class LineColumns:
    """Names of the columns to read.

    text: LINES for a table with a row per image, TEXT for a table with a row per line.
    """

    key: str
    text: str

    def check_same(self, file: TableFile, other: "LineColumns") -> None:
        """Raises UsageError if another file of the same table, with the columns ``other``, differs."""
        if other.text != self.text:
            raise UsageError(
                f"{file.named}: has a column {other.text!r}, but the table's first file has {self.text!r}; "
                "all files of a table must have the same one"
            )

    def fields(self, file: TableFile) -> list[str]:
        """Returns the columns of a file with a row per line: TEXT, and the others that it has or, as JSON, may have."""
        return [name for name in FIELDS if name == TEXT or file.is_json or name in file.columns]


def choose_line_columns(file: TableFile, key: str | None) -> LineColumns:
    """Returns the columns of a file. key: the column that the user names; None for KEY_COLUMN.

    Raises UsageError, listing the columns of the file, if it has neither LINES nor TEXT, or both.
    """
    key_column = require_column(file, key or KEY_COLUMN, KEY_OPTION)
    found = [name for name in (LINES, TEXT) if name in file.columns]
    if not found:
        raise UsageError(
            f"{file.named}: no column {LINES!r} (a row per image) or {TEXT!r} (a row per line); "
            f"its columns: {show_columns(file)}"
        )
    if len(found) > 1:
        raise UsageError(f"{file.named}: has a column {LINES!r} and a column {TEXT!r}; remove or rename one")
    if found == [LINES] and file.kind in _DELIMITED:
        raise UsageError(
            f"{file.named}: a column {LINES!r} needs Parquet or JSON; give a row and {TEXT!r} for each line"
        )
    if key_column in (found if found == [LINES] else FIELDS):
        raise UsageError(
            f"{file.named}: column {key_column!r} is named for keys and is the {key_column!r} of lines; "
            f"name another column with {KEY_OPTION}"
        )
    check_unambiguous(file, [key_column, *FIELDS, LINES])
    return LineColumns(key_column, found[0])

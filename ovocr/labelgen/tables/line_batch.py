"""The checked lines of a batch of rows, in Arrow and numpy arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.dataset.lines import BOX_DECIMALS, EDGE_DECIMALS, SCORE_DECIMALS, Box
from ovocr.labelgen.tables.cell_errors import WrongCellError, show
from ovocr.labelgen.tables.cells import Column, JsonColumn, as_numpy, read_texts
from ovocr.labelgen.tables.line_boxes import read_boxes
from ovocr.labelgen.tables.line_cells import LineCells
from ovocr.labelgen.tables.line_columns import BOX, EDGES, SCORE, TEXT
from ovocr.labelgen.tables.number_lists import read_number_lists, read_numbers

# Where Python's str.splitlines splits.
_BREAKS = r"[\n\r\x0B\x0C\x1C-\x1E\x{85}\x{2028}\x{2029}]+"

_Floats = npt.NDArray[np.float32]
_Counts = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GivenLine:
    """A line of text of a table.

    score: 0 to 1. box: corners in pixels of the stored image, clockwise from the top left; None if unknown.
    edges: as in ``ovocr.dataset.lines.Line``.
    """

    text: str
    score: float
    box: Box | None
    edges: tuple[float, ...]


@dataclass(frozen=True)
class _Edges:
    """The edges of characters. counts: number per line, int64 [lines]. values: all of them, float32 [sum]."""

    counts: _Counts
    values: _Floats


@dataclass(frozen=True)
class LineBatch:
    """Lines. texts: large_string [lines].

    scores: float32 [lines], or None if all are 1. boxes: float32 [lines, 8], NaN for an unknown box, or None if all are
    unknown. edge_ends: ends of the lines' edges in ``edges``, int64 [lines], or None if all are unknown.
    """

    texts: pa.Array
    scores: _Floats | None
    boxes: _Floats | None
    edge_ends: _Counts | None
    edges: _Floats

    def lines(self, start: int, stop: int) -> list[GivenLine]:
        """Returns the lines from ``start`` to ``stop``."""
        texts = self.texts[start:stop].to_pylist()
        return [GivenLine(text, *self._numbers(start + number)) for number, text in enumerate(texts)]

    def _numbers(self, line: int) -> tuple[float, Box | None, tuple[float, ...]]:
        score = 1.0 if self.scores is None else round(float(self.scores[line]), SCORE_DECIMALS)
        box = None
        if self.boxes is not None and not np.isnan(self.boxes[line, 0]):
            box = tuple(round(value, BOX_DECIMALS) for value in self.boxes[line].tolist())
        edges: list[float] = []
        if self.edge_ends is not None:
            edges = self.edges[self.edge_ends[line - 1] if line else 0 : self.edge_ends[line]].tolist()
        return score, box, tuple(round(edge, EDGE_DECIMALS) for edge in edges)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def without_box(self) -> int:
        """Number of lines without a box."""
        return len(self) if self.boxes is None else int(np.isnan(self.boxes[:, 0]).sum())

    @property
    def extent(self) -> tuple[float, float]:
        """The smallest and the largest coordinate of a box, in pixels; inf and -inf if there is no box."""
        if self.boxes is None:
            return np.inf, -np.inf
        return float(np.nanmin(self.boxes)), float(np.nanmax(self.boxes))


def read_lines(cells: LineCells) -> tuple[LineBatch, _Counts, int]:
    """Returns the lines, the number of lines of each row, int64 [rows], and the number of lines without text.

    Lines without text are left out, and a text with line breaks becomes several lines. Raises OvocrError, naming file,
    row, key and line, for a cell with a wrong value.
    """
    with cells.errors(TEXT):
        texts = read_texts(cells.columns[TEXT])
    trimmed = pc.utf8_trim_whitespace(texts)
    has_text = as_numpy(pc.fill_null(pc.not_equal(trimmed, ""), False))
    texts, trimmed = (column.filter(pa.array(has_text)) for column in (texts, trimmed))
    kept = _KeptLines(cells, has_text)
    boxes, scores = kept.boxes(), kept.scores()
    has_box = ~np.isnan(boxes[:, 0])
    edges = kept.edges(texts, has_box)
    # Edges belong to the characters of the text as it is, with white space around it.
    parts, lines = kept.split(pc.if_else(pa.array(edges.counts > 0), texts, trimmed), has_box)
    batch = LineBatch(
        texts=parts,
        scores=scores[lines] if (scores != 1).any() else None,
        boxes=boxes[lines] if has_box.any() else None,
        edge_ends=np.cumsum(edges.counts[lines]) if edges.counts.any() else None,
        edges=edges.values,  # a line that was split has none
    )
    counts = np.bincount(kept.rows[lines], minlength=len(cells.counts)).astype(np.int64)
    return batch, counts, int((~has_text).sum())


class _KeptLines:
    """Reads the fields of the lines with text. has_text: bool [lines of ``cells``]."""

    def __init__(self, cells: LineCells, has_text: _Mask) -> None:
        self._cells = cells
        self._has_text = has_text
        self._numbers = np.flatnonzero(has_text)
        self.rows = cells.rows[has_text]

    def boxes(self) -> _Floats:
        """Returns the boxes, float32 [lines with text, 8]; NaN if unknown."""
        column = self._column(BOX)
        if column is None:
            return np.full((len(self._numbers), 8), np.nan, np.float32)
        return self._read(BOX, read_boxes, column)

    def scores(self) -> _Floats:
        """Returns the scores, float32 [lines with text]; 1 by default."""
        column = self._column(SCORE)
        if column is None:
            return np.ones(len(self._numbers), np.float32)
        return self._read(SCORE, _read_scores, column)

    def edges(self, texts: pa.Array, has_box: _Mask) -> _Edges:
        """Returns the edges of the characters. texts, has_box: of the lines with text."""
        column = self._column(EDGES)
        if column is None:
            return _Edges(np.zeros(len(self._numbers), np.int64), np.empty(0, np.float32))
        return self._read(EDGES, _read_edges, column, texts, has_box)

    def split(self, texts: pa.Array, has_box: _Mask) -> tuple[pa.Array, _Counts]:
        """Splits texts at line breaks. Returns the parts that are not blank, and the index of the text of each part.

        Raises OvocrError if a text with line breaks has a box: the boxes of its parts are unknown.
        """
        has_break = as_numpy(pc.match_substring_regex(texts, _BREAKS)).astype(bool)
        if not has_break.any():
            return texts, np.arange(len(texts))
        self._read(TEXT, _check_boxes_of_parts, texts, has_break & has_box)
        lists = pc.split_pattern_regex(texts, _BREAKS)
        parts = pc.list_flatten(lists)
        trimmed = pc.utf8_trim_whitespace(parts)
        texts_of_parts = np.repeat(np.arange(len(texts)), as_numpy(pc.list_value_length(lists)))
        is_line = as_numpy(pc.not_equal(trimmed, "")).astype(bool)
        # A text with edges is not split, so its white space is kept.
        parts = pc.if_else(pa.array(has_break[texts_of_parts]), trimmed, parts)
        return parts.filter(pa.array(is_line)), texts_of_parts[is_line]

    def _column(self, field: str) -> Column | None:
        """Returns the cells of the lines with text; None if the table does not have the field."""
        column = self._cells.columns.get(field)
        if column is None or self._has_text.all():
            return column
        if isinstance(column, JsonColumn):
            return JsonColumn([column.cells[number] for number in self._numbers])
        return column.filter(pa.array(self._has_text))

    def _read(self, field: str, read: Any, *arguments: Any) -> Any:
        """Calls ``read``, whose errors name the index of a line with text."""
        with self._cells.errors(field):
            try:
                return read(*arguments)
            except WrongCellError as error:
                raise WrongCellError(int(self._numbers[error.row]), str(error)) from error


def _read_scores(column: Column) -> _Floats:
    scores = read_numbers(column)
    scores[np.isnan(scores)] = 1.0
    wrong = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(wrong):
        raise WrongCellError(int(wrong[0]), f"{scores[wrong[0]]:g} is not a score; must be from 0 to 1")
    return scores.astype(np.float32)


def _read_edges(column: Column, texts: pa.Array, has_box: _Mask) -> _Edges:
    lists = read_number_lists(column)
    values = lists.values
    lengths = as_numpy(pc.utf8_length(texts)).astype(np.int64)
    wrong = (lists.counts > 0) & (lists.counts != lengths + 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        count = int(lists.counts[row])
        raise WrongCellError(row, f"{count} edges for {show(texts[row].as_py())}; a text of n characters has n + 1")
    alone = (lists.counts > 0) & ~has_box
    if alone.any():
        raise WrongCellError(int(np.flatnonzero(alone)[0]), "edges are fractions of a box, but the line has none")
    lines = np.repeat(np.arange(len(lists.counts)), lists.counts)
    is_wrong = ~((values >= 0) & (values <= 1))
    is_wrong[1:] |= ~(values[1:] >= values[:-1]) & (lines[1:] == lines[:-1])
    if is_wrong.any():
        raise WrongCellError(int(lines[is_wrong][0]), "edges must be ascending fractions from 0 to 1")
    return _Edges(lists.counts, values.astype(np.float32))


def _check_boxes_of_parts(texts: pa.Array, wrong: _Mask) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        shown = show(texts[row].as_py())
        raise WrongCellError(
            row, f"{shown} has several lines but one box; give each line its own, or leave the box out"
        )

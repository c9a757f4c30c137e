"""Gradients over rows: sparse COO as a sampled head makes them, or dense; and what several backward passes add up to.

Autograd puts the rows of a second pass behind those of the first, so that four passes would hold four gradients. Here
they are merged pass by pass; once they touch more than half of the rows they are kept as one dense tensor, which costs
no more memory and is added to in place. It carries a mark, so that an optimizer leaves rows of nothing but zeros alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MERGED = "_ovocr_merged_rows"  # attribute of a dense gradient that was made of sparse ones


@dataclass(frozen=True)
class RowGradient:
    """A gradient of the touched rows of a matrix.

    rows: their numbers, ascending, each once, int64; None: all.
    values: a row for each of them, in their order; with ``by_row`` a row for each row of the matrix.
    """

    rows: Tensor | None
    values: Tensor
    by_row: bool = False

    @property
    def count(self) -> int:
        """How many rows are touched."""
        return self.values.shape[0] if self.rows is None else self.rows.shape[0]

    def chunk(self, first: int, last: int) -> tuple[Tensor | slice, Tensor]:
        """Touched rows first to last: an index of the matrix, and their gradients."""
        if self.rows is None:
            return slice(first, last), self.values[first:last]
        rows = self.rows[first:last]
        return rows, self.values[rows] if self.by_row else self.values[first:last]


def touched_rows(gradient: Tensor) -> RowGradient:
    """The touched rows of a parameter's gradient.

    The values are the gradient's own storage unless rows had to be added up. A head's rows are ascending and distinct;
    where the mark that says so got lost, they are looked at before torch sorts and copies them all.
    """
    if not gradient.is_sparse:
        if not getattr(gradient, _MERGED, False):
            return RowGradient(None, gradient)
        largest = torch.linalg.vector_norm(gradient, ord=float("inf"), dim=1)  # no matrix of bools in between
        return RowGradient((largest != 0).nonzero().squeeze(1), gradient, by_row=True)
    if not gradient.is_coalesced():
        rows = gradient._indices()[0]
        if not bool((rows[1:] > rows[:-1]).all()):
            gradient = gradient.coalesce()
    return RowGradient(gradient._indices()[0], gradient._values())


def make_room(parameter: Tensor, rows: Tensor) -> None:
    """Before a pass over these rows is added to ``parameter.grad``: make that dense if it will touch more than half."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse:
        return
    known = touched_rows(gradient)
    if known.rows is None or 2 * (known.rows.shape[0] + rows.shape[0]) <= parameter.shape[0]:
        return
    touched = torch.zeros(parameter.shape[0], dtype=torch.bool, device=parameter.device)
    touched[known.rows] = True
    touched[rows] = True
    if 2 * int(touched.sum()) > parameter.shape[0]:
        dense = torch.zeros_like(parameter)
        dense.index_copy_(0, known.rows, known.values)
        setattr(dense, _MERGED, True)
        parameter.grad = dense


def merge_rows(parameter: Tensor, rows: Tensor) -> None:
    """After a pass over these rows, ascending and distinct, was added to ``parameter.grad``: each row once."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse or gradient.is_coalesced():
        return
    if gradient._indices().data_ptr() == rows.data_ptr():  # the first pass: nothing but its rows
        gradient._coalesced_(True)
    else:
        parameter.grad = gradient.coalesce()

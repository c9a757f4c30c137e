"""Gradients over rows, sparse COO or dense, and their accumulation over several backward passes.

Autograd concatenates the rows of several sparse gradients, so four passes would store four gradients. Here they are
merged after each pass. Once they touch more than half of the rows, they are stored as one dense tensor, which needs no
more memory and is accumulated in place. This tensor is marked, so an optimizer skips rows that are all zeros.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_MERGED = "_ovocr_merged_rows"  # attribute of a dense gradient that was merged from sparse ones


@dataclass(frozen=True)
class RowGradient:
    """A gradient of the touched rows of a matrix.

    rows: touched row numbers, ascending, each once, int64; None if all rows are touched.
    values: one row per touched row, in order; with ``by_row`` one row per row of the matrix.
    """

    rows: Tensor | None
    values: Tensor
    by_row: bool = False

    @property
    def count(self) -> int:
        """Number of touched rows."""
        return self.values.shape[0] if self.rows is None else self.rows.shape[0]

    def chunk(self, first: int, last: int) -> tuple[Tensor | slice, Tensor]:
        """Returns touched rows first to last: an index into the matrix, and their gradients."""
        if self.rows is None:
            return slice(first, last), self.values[first:last]
        rows = self.rows[first:last]
        return rows, self.values[rows] if self.by_row else self.values[first:last]


def touched_rows(gradient: Tensor) -> RowGradient:
    """Returns the touched rows of a parameter's gradient.

    The values share the gradient's storage unless rows have to be summed. A head's rows are ascending and distinct; if
    the coalesced flag got lost, this is checked before torch sorts and copies them all.
    """
    if not gradient.is_sparse:
        if not getattr(gradient, _MERGED, False):
            return RowGradient(None, gradient)
        largest = torch.linalg.vector_norm(gradient, ord=float("inf"), dim=1)  # avoids a boolean matrix
        return RowGradient((largest != 0).nonzero().squeeze(1), gradient, by_row=True)
    if not gradient.is_coalesced():
        rows = gradient._indices()[0]
        if not bool((rows[1:] > rows[:-1]).all()):
            gradient = gradient.coalesce()
    return RowGradient(gradient._indices()[0], gradient._values())


def densify_before_adding(parameter: Tensor, rows: Tensor) -> None:
    """Makes ``parameter.grad`` dense if adding a pass over these rows will touch more than half of the rows."""
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


def merge_repeated_rows(parameter: Tensor, rows: Tensor) -> None:
    """Merges repeated rows of ``parameter.grad``; call after adding a pass over these ascending, distinct rows."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse or gradient.is_coalesced():
        return
    if gradient._indices().data_ptr() == rows.data_ptr():  # the first pass: already distinct
        gradient._coalesced_(True)
    else:
        parameter.grad = gradient.coalesce()

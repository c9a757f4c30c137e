"""Gradients over rows: sparse COO as a sampled head makes them, or dense."""

from torch import Tensor


def touched_rows(gradient: Tensor) -> tuple[Tensor | None, Tensor]:
    """Row numbers, each once and ascending, and their gradients [rows, D]; None for the numbers of a dense gradient.

    The values are the gradient's own storage unless rows had to be added up. A head's rows are ascending and distinct
    already, but autograd drops the mark that says so, and torch would sort and copy them all again.
    """
    if not gradient.is_sparse:
        return None, gradient
    if not gradient.is_coalesced():
        rows = gradient._indices()[0]
        if not bool((rows[1:] > rows[:-1]).all()):
            gradient = gradient.coalesce()
    return gradient._indices()[0], gradient._values()

"""Memory that is used again: on a CPU, fresh memory costs as much as the arithmetic done in it."""

import sys

import numpy as np
import torch
from torch import Tensor


class Workspace:
    """Named scratch matrices of one dtype and device; a name's memory is used again whenever it is asked for."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._matrices: dict[str, Tensor] = {}

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """A matrix [rows, columns] of whatever was in it; ask for the largest number of rows first."""
        found = self._matrices.get(name)
        if found is None or found.shape[0] < rows or found.shape[1] != columns:
            found = self._matrices[name] = torch.empty((rows, columns), device=self._device, dtype=self._dtype)
        return found[:rows]


class LentMemory:
    """CPU memory for one large tensor at a time, lent anew when nothing holds the last one any more.

    The gradient of the class centers is hundreds of megabytes, made in each backward pass and dropped after each
    optimizer step. Given back to the system and taken again, its pages cost more time than what is written to them.
    """

    _ALIGNMENT = 64  # a cache line [bytes]
    _SLACK = 1.05  # samples differ a little in size from step to step; what is never touched takes no memory

    def __init__(self) -> None:
        self._memory = np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple[type["LentMemory"], tuple[()]]:
        return LentMemory, ()  # a copy begins with none

    def matrix(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """A matrix [rows, columns] of whatever was in it: the memory lent before if it is free, else new."""
        size = rows * columns * dtype.itemsize
        # A tensor holds the array that it was made from, and so do all its views: this attribute and the argument of
        # getrefcount are the other two that do.
        if self._memory.nbytes < size + self._ALIGNMENT or sys.getrefcount(self._memory) > 2:
            self._memory = np.empty(int(size * self._SLACK) + self._ALIGNMENT, dtype=np.uint8)
        first = -self._memory.ctypes.data % self._ALIGNMENT
        return torch.from_numpy(self._memory[first : first + size]).view(dtype).view(rows, columns)

"""Reused memory: on a CPU, fresh memory costs as much as the arithmetic done in it."""

import sys

import numpy as np
import torch
from torch import Tensor


class Workspace:
    """Named scratch matrices of one dtype and device; each name's memory is reused."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._matrices: dict[str, Tensor] = {}

    def matrix(self, name: str, rows: int, columns: int) -> Tensor:
        """Returns a matrix [rows, columns] with undefined contents; request the largest number of rows first."""
        found = self._matrices.get(name)
        if found is None or found.shape[0] < rows or found.shape[1] != columns:
            found = self._matrices[name] = torch.empty((rows, columns), device=self._device, dtype=self._dtype)
        return found[:rows]


class ReusableMemory:
    """CPU memory for one large tensor at a time, reused when nothing refers to the previous tensor.

    The gradient of the class centers takes hundreds of megabytes, is created in each backward pass and dropped after
    each optimizer step. Returning its pages to the system and allocating them again takes longer than writing to them.
    """

    _ALIGNMENT = 64  # bytes, a cache line
    _SLACK = 1.05  # sample sizes differ slightly between steps; untouched pages take no memory

    def __init__(self) -> None:
        self._memory = np.empty(0, dtype=np.uint8)

    def __reduce__(self) -> tuple[type["ReusableMemory"], tuple[()]]:
        return ReusableMemory, ()  # a copy starts empty

    def matrix(self, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Returns a matrix [rows, columns] with undefined contents, in the previous memory if it is free."""
        size = rows * columns * dtype.itemsize
        # A tensor and its views refer to their array. The other two references are this attribute and getrefcount's
        # argument.
        if self._memory.nbytes < size + self._ALIGNMENT or sys.getrefcount(self._memory) > 2:
            self._memory = np.empty(int(size * self._SLACK) + self._ALIGNMENT, dtype=np.uint8)
        first = -self._memory.ctypes.data % self._ALIGNMENT
        return torch.from_numpy(self._memory[first : first + size]).view(dtype).view(rows, columns)

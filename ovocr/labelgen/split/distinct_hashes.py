"""Counts distinct hashes, of which there may be one for each image of a data set, in little memory."""

from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
import numpy.typing as npt

# Hashes with the same highest bits are in the same file. Of a billion hashes, a file has 8 million: 63 MB.
_BITS = 7
# This many hashes wait in memory, 8 MB.
WAITING = 10**6

_Hashes = npt.NDArray[np.uint64]


class DistinctHashes:
    """Hashes in temporary files, 8 bytes each. A context manager, which removes the files. Raises OSError."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="ovocr-split-")
        self._waiting: list[_Hashes] = []

    def __enter__(self) -> "DistinctHashes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def add(self, hashes: _Hashes) -> None:
        """Adds hashes: uint64 [N]."""
        self._waiting.append(hashes)
        if sum(map(len, self._waiting)) >= WAITING:
            self._write()

    def count(self, below: int = 2**64) -> int:
        """Returns the number of distinct hashes that are less than ``below``."""
        self._write()
        total = 0
        for path in self._paths():
            if path.exists():
                found = np.unique(np.fromfile(path, np.uint64))
                total += len(found) if below == 2**64 else int(np.searchsorted(found, np.uint64(below)))
        return total

    def _write(self) -> None:
        hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *self._waiting]))
        self._waiting.clear()
        starts = np.arange(2**_BITS, dtype=np.uint64) << np.uint64(64 - _BITS)
        for path, own in zip(self._paths(), np.split(hashes, np.searchsorted(hashes, starts[1:])), strict=True):
            if len(own):
                with path.open("ab") as file:
                    file.write(own.tobytes())

    def _paths(self) -> list[Path]:
        return [Path(self._folder.name) / str(number) for number in range(2**_BITS)]

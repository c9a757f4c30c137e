"""Where a vocabulary is made: beside its file, on a disk that has room for it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ovocr.base.files import locked

SUFFIX = ".building"


@dataclass(frozen=True)
class WorkFolder:
    """counts: of the counted shards. merged: of the merge, and of what does not fit in memory. Both are there."""

    root: Path

    @property
    def counts(self) -> Path:
        """Folder of Parquet files."""
        return self.root / "counts"

    @property
    def merged(self) -> Path:
        """Folder of DuckDB's files."""
        return self.root / "merged"

    @property
    def parts(self) -> tuple[Path, Path]:
        """Both."""
        return self.counts, self.merged


@contextmanager
def work_folder(out: Path) -> Iterator[WorkFolder]:
    """The empty folder ``<out>.building``; it is gone behind the block, and what a killed run left in it before.

    Raises OvocrError where another process makes the same vocabulary.
    """
    folder = WorkFolder(out.with_name(out.name + SUFFIX))
    try:
        with locked(folder.root / "lock", f"--out {out}: another process makes this vocabulary"):
            _clear(folder)
            for part in folder.parts:
                part.mkdir()
            try:
                yield folder
            finally:
                _clear(folder)
    finally:
        with suppress(OSError):  # another process is in it
            folder.root.rmdir()


def _clear(folder: WorkFolder) -> None:
    for part in folder.parts:
        shutil.rmtree(part, ignore_errors=True)

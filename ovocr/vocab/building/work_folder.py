"""The temporary folder of a vocabulary build, next to the vocabulary's file and so on the same disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ovocr.base.files import locked

SUFFIX = ".building"


@dataclass(frozen=True)
class WorkFolder:
    """The temporary folder and its two subfolders, both of which exist."""

    root: Path

    @property
    def counts(self) -> Path:
        """Folder of the Parquet files of word counts."""
        return self.root / "counts"

    @property
    def merged(self) -> Path:
        """Folder of DuckDB's table and temporary files."""
        return self.root / "merged"

    @property
    def parts(self) -> tuple[Path, Path]:
        """Both subfolders."""
        return self.counts, self.merged


@contextmanager
def work_folder(out: Path) -> Iterator[WorkFolder]:
    """Yields the empty folder ``<out>.building`` and removes it afterwards. Removes files left by a killed run.

    Raises OvocrError if another process builds the same vocabulary.
    """
    folder = WorkFolder(out.with_name(out.name + SUFFIX))
    try:
        with locked(folder.root / "lock", f"--out {out}: another process builds this vocabulary"):
            _clear(folder)
            for part in folder.parts:
                part.mkdir()
            try:
                yield folder
            finally:
                _clear(folder)
    finally:
        with suppress(OSError):  # another process uses it
            folder.root.rmdir()


def _clear(folder: WorkFolder) -> None:
    for part in folder.parts:
        shutil.rmtree(part, ignore_errors=True)

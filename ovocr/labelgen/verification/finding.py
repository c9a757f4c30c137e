"""A promise that a data set breaks, and a bounded list of them."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ovocr.base.escape import for_terminal

# Of a shard; one that is damaged throughout has as many as images.
LISTED = 20
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One broken promise.

    file: path inside the data set. where: in the file; empty for the file as a whole. promised, found: what should be
    there, and what is. shard: its number, None for a file that is of no shard. mend: what to do about a file that is
    of no shard; a shard is made anew.
    """

    file: str
    where: str = ""
    promised: str
    found: str
    shard: int | None = None
    mend: str = ""

    def format(self) -> str:
        """One line for a terminal. Parts may be a stranger's text: they are shown, not sent, and cut where long."""
        place = f"{self.file}: {self.where}" if self.where else self.file
        return ": ".join((for_terminal(place), f"should be {_shown(self.promised)}, is {_shown(self.found)}"))

    def to_json(self) -> dict[str, Any]:
        """The fields by their names."""
        return asdict(self)


@dataclass
class Findings:
    """Those of one shard, or of what belongs to no shard: the first LISTED, and how many there are beyond.

    root: of the data set. complete: no finding yet.
    """

    root: Path
    shard: int | None = None
    listed: list[Finding] = field(default_factory=list)
    beyond: int = 0

    def add(self, path: Path, where: str, promised: object, found: object, *, mend: str = "") -> None:
        """Note one; ``path`` is that of a file in the data set."""
        if len(self.listed) >= LISTED:
            self.beyond += 1
            return
        file = path.relative_to(self.root).as_posix()
        self.listed.append(
            Finding(file=file, where=where, promised=str(promised), found=str(found), shard=self.shard, mend=mend)
        )


def named(number: int, key: str) -> str:
    """A row or record and its key, which may be long."""
    return f"{number} ({key if len(key) <= 80 else key[:77] + '...'})"


def _shown(text: str) -> str:
    return for_terminal(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "...")

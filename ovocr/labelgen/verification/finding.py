"""What verification finds: a bounded list of the places where a data set differs from what it should be."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.dataset.json_objects import DamagedFileError, Problem, check_file, read_object

# Findings of one shard; a shard that is damaged throughout has as many as images.
LISTED = 20
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A place that differs from what it should be.

    file: path inside the data set. where: in the file; empty for the file as a whole.
    promised, found: what should be there, and what is.
    shard: its number; None for a file of no shard.
    mend: what to do about a file of no shard; shards are made again.
    """

    file: str
    where: str = ""
    promised: str
    found: str
    shard: int | None = None
    mend: str = ""

    def format(self) -> str:
        """Returns one line for a terminal: control characters are escaped, long parts are cut."""
        place = f"{self.file}: {self.where}" if self.where else self.file
        return ": ".join((for_terminal(place), f"should be {_cut(self.promised)}, is {_cut(self.found)}"))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by their names."""
        return asdict(self)


@dataclass
class Findings:
    """The findings of one shard, or of the files of no shard.

    root: of the data set. listed: the first LISTED. beyond: number of the others.
    """

    root: Path
    shard: int | None = None
    listed: list[Finding] = field(default_factory=list)
    beyond: int = 0

    @property
    def count(self) -> int:
        """Number of findings."""
        return len(self.listed) + self.beyond

    def add(self, path: Path, where: str, promised: object, found: object, *, mend: str = "") -> None:
        """Adds a finding in the file ``path`` of the data set."""
        if len(self.listed) >= LISTED:
            self.beyond += 1
            return
        file = path.relative_to(self.root).as_posix()
        self.listed.append(
            Finding(file=file, where=where, promised=str(promised), found=str(found), shard=self.shard, mend=mend)
        )

    def add_problem(self, path: Path, problem: Problem, *, mend: str = "") -> None:
        """Adds a problem with a value of the file."""
        self.add(path, problem.name, problem.expected, problem.found, mend=mend)

    def check_file(self, path: Path, *, mend: str = "") -> bool:
        """Returns True for a regular file; else adds a finding."""
        try:
            check_file(path)
        except DamagedFileError as error:
            self.add_problem(path, error.problem, mend=mend)
            return False
        return True

    def read_object(self, path: Path, *, mend: str = "") -> dict[str, Any] | None:
        """Returns the JSON object in a file; None, with a finding, if it cannot be read."""
        try:
            return read_object(path)
        except DamagedFileError as error:
            self.add_problem(path, error.problem, mend=mend)
            return None


def _cut(text: str) -> str:
    return for_terminal(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "...")

"""Findings of a verification: a bounded list of differences between a data set and its expected content."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.dataset.json_objects import DamagedFileError, Problem, check_file, read_object
from ovocr.dataset.layout import LabelledDataSet

# Maximum number of listed findings per shard. Each image of a damaged shard may have one.
LISTED = 20
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A difference between a data set and its expected content.

    file: path inside the data set. where: position in the file; empty if the finding concerns the whole file.
    expected, found: expected and actual content.
    shard: number of the shard; None if the file belongs to no shard.
    fix: instruction for a file that belongs to no shard; shards are rebuilt.
    """

    file: str
    where: str = ""
    expected: str
    found: str
    shard: int | None = None
    fix: str = ""

    def format(self) -> str:
        """Returns one line for a terminal. Control characters are escaped; long parts are cut."""
        position = f"{self.file}: {self.where}" if self.where else self.file
        return ": ".join((for_terminal(position), f"expected {_cut(self.expected)}, found {_cut(self.found)}"))

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        values = asdict(self)
        return {"promised" if name == "expected" else name: value for name, value in values.items()}


@dataclass
class Findings:
    """The findings of one shard, or of the files that belong to no shard.

    data_set: its folder has the files that are checked. listed: the first LISTED findings. beyond: number of other
    findings.
    """

    data_set: LabelledDataSet
    shard: int | None = None
    listed: list[Finding] = field(default_factory=list)
    beyond: int = 0

    @property
    def count(self) -> int:
        """Number of findings."""
        return len(self.listed) + self.beyond

    def add(self, path: Path, where: str, expected: object, found: object, *, fix: str = "") -> None:
        """Adds a finding in the file ``path`` of the data set. Messages name the URL of one in an object store."""
        if len(self.listed) >= LISTED:
            self.beyond += 1
            return
        file = path.relative_to(self.data_set.root).as_posix()
        expected, found, fix = map(self.data_set.shown, (str(expected), str(found), fix))
        self.listed.append(Finding(file=file, where=where, expected=expected, found=found, shard=self.shard, fix=fix))

    def add_problem(self, path: Path, problem: Problem, *, fix: str = "") -> None:
        """Adds a finding for an invalid value in the file."""
        self.add(path, problem.name, problem.expected, problem.found, fix=fix)

    def check_file(self, path: Path, *, fix: str = "") -> bool:
        """Returns True if the path is a regular file; otherwise adds a finding."""
        try:
            check_file(path)
        except DamagedFileError as error:
            self.add_problem(path, error.problem, fix=fix)
            return False
        return True

    def read_object(self, path: Path, *, fix: str = "") -> dict[str, Any] | None:
        """Returns the JSON object in a file; if it cannot be read, adds a finding and returns None."""
        try:
            return read_object(path)
        except DamagedFileError as error:
            self.add_problem(path, error.problem, fix=fix)
            return None


def _cut(text: str) -> str:
    return for_terminal(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "...")

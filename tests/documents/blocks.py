"""The blocks of code in documents, and the commands in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
# The documents whose commands are tested; tests/test_readme.py runs README's. Records of benchmarks are history.
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md")
)
# Words with which a line of a shell begins, after assignments of variables.
PROGRAMS = (
    *("ovocr", "python", "python3", "pip", "torchrun", "make", "pytest", "pre-commit", ".ci/run"),
    *("ray", "sbatch", "srun", "git", "sudo", "apt-get", "docker", "conda", "uv", "curl", "wget", "aws"),
    *("tar", "echo", "printf", "cat", "cd", "cp", "ls", "mkdir", "export", "fetch/bin/img2dataset", "tensorboard"),
)
SHELLS = {"", "sh", "bash", "shell", "console"}
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{'|'.join(map(re.escape, PROGRAMS))})(?:\s|$)")


@dataclass(frozen=True)
class Block:
    """A block of code.

    language: as named at its beginning; "" for an indented block.
    line: number of its first line in the document.
    """

    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[str]:
        """Commands of a shell in it, each on one line; none in a block of another language or of output."""
        if self.language not in SHELLS:
            return []
        lines = re.sub(r" *\\\n\s*", " ", self.text).splitlines()
        if any(line.startswith("$ ") for line in lines):  # with their output
            return [line[2:] for line in lines if line.startswith("$ ")]
        if not lines or not _COMMAND.match(lines[0]):
            return []
        return [line for line in _joined(lines) if line and not line.startswith("#")]


def blocks(document: str) -> list[Block]:
    """Returns the blocks of a document, whose path is relative to the checkout."""
    tokens = MarkdownIt().parse((ROOT / document).read_text(encoding="utf-8"))
    return [
        Block(token.info.strip(), token.content, token.map[0] + 1)
        for token in tokens
        if token.type in ("fence", "code_block") and token.map is not None
    ]


def _joined(lines: list[str]) -> Iterator[str]:
    """Yields lines; indented ones belong to the line before."""
    whole = ""
    for line in lines:
        if line.startswith(" "):
            whole += " " + line.strip()
        else:
            yield whole
            whole = line
    yield whole

"""Runs every command and every Python block of the documents, page by page, in a folder with small real data."""

import re
import shlex
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.documents.blocks import DOCUMENTS, Block, blocks
from tests.documents.conftest import execute
from tests.documents.places import REPLACED, reason_not_to_run


def has_something_to_run(document: str) -> bool:
    for block in blocks(document):
        if block.language == "python" or any(
            reason_not_to_run(document, command) is None for command in block.commands
        ):
            return True
    return False


# tests/test_readme.py runs README's.
RUN = [document for document in DOCUMENTS if document != "README.md" and has_something_to_run(document)]
# The files in which queries are saved, as the pages say.
QUERY_FILES = {"docs/obelics.md": "explode.sql", "docs/reading_records.md": "query.sql"}
# Numbers in Python blocks that need gigabytes of memory.
SMALLER = {"365_187": "3_651"}


def filled(document: str, command: str) -> str:
    """Returns a command with what the test takes for its gaps."""
    for word, value in REPLACED.get(document, {}).items():
        command = re.sub(rf"(?<![\w/-]){re.escape(word)}(?![\w/])", value, command)
    return command


def remove_outputs(block: Block, document: str, place: Path) -> None:
    """Removes what an earlier block wrote where this one writes."""
    for command in block.commands:
        words = shlex.split(filled(document, command), comments=True)
        for word in (after for option, after in pairwise(words) if option == "--out"):
            if (place / word).is_dir():
                shutil.rmtree(place / word)
            for file in (place / word, place / f"{word}.json"):
                file.unlink(missing_ok=True)


@pytest.mark.parametrize("document", RUN)
def test_commands_and_python_blocks_run(document: str, place: Path) -> None:
    script = ""
    for block in blocks(document):
        remove_outputs(block, document, place)
        for command in block.commands:
            if reason_not_to_run(document, command) is None:
                execute(place, filled(document, command))
        if block.language == "sql" and document in QUERY_FILES:
            (place / QUERY_FILES[document]).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            # A block without an import continues the one before.
            script = block.text if re.match(r"(from|import) ", block.text) else script + block.text
            for number, smaller in SMALLER.items():
                script = script.replace(number, smaller)
            (place / "block.py").write_text(script, encoding="utf-8")
            execute(place, f"{sys.executable} block.py")

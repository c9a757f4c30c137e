"""Every command and configuration of the documents has the right syntax, whether or not a test runs it."""

import re
import sys
from pathlib import Path

import pytest

from ovocr.trainer.config.file import load_config
from tests.documents.blocks import DOCUMENTS, ROOT, Block, blocks
from tests.documents.command_syntax import check
from tests.documents.places import NOT_RUN, REPLACED, reason_not_to_run, shortened

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COMMANDS = [(document, command) for document in DOCUMENTS for block in blocks(document) for command in block.commands]


@pytest.mark.parametrize(("document", "command"), COMMANDS)
def test_a_command_has_the_right_syntax(document: str, command: str) -> None:
    check(command)


def test_every_exception_is_about_a_command() -> None:
    for document, exceptions in (*NOT_RUN.items(), *REPLACED.items()):
        commands = [command for where, command in COMMANDS if where == document]
        for text in exceptions:
            assert any(text in command for command in commands), f"{document}: {text}"


def test_most_commands_run() -> None:
    run = [command for document, command in COMMANDS if reason_not_to_run(document, command) is None]
    assert len(run) > 40
    assert {"build-labels", "relabel", "vocab", "verify", "why", "inspect", "train", "eval", "read", "export"} <= {
        command.split()[1] for command in run if command.startswith("ovocr ")
    }


@pytest.mark.parametrize(
    ("document", "block"),
    [(document, block) for document in DOCUMENTS for block in blocks(document) if block.language == "toml"],
    ids=lambda value: value if isinstance(value, str) else str(value.line),
)
def test_a_documented_configuration_is_valid(document: str, block: Block, tmp_path: Path) -> None:
    text = shortened(block.text)
    if "heads" not in tomllib.loads(text):  # sections of a configuration
        whole = (ROOT / "configs" / "demo.toml").read_text(encoding="utf-8")
        for section in tomllib.loads(text):
            whole = re.sub(rf"^\[{section}\]\n(?:[^\[].*\n|\n)*", "", whole, flags=re.MULTILINE)
        text = whole + text
    path = tmp_path / "documented.toml"
    path.write_text(text, encoding="utf-8")
    load_config(path, (), check_paths=False)

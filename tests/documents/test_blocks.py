"""Which lines of a block are commands, and which wrong commands their check finds."""

import pytest
from click import UsageError

from tests.documents.blocks import Block
from tests.documents.command_syntax import check, is_form


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("ovocr verify labels\n", ["ovocr verify labels"]),
        ("ovocr train a.toml \\\n    --dry-run\nmake demo\n", ["ovocr train a.toml --dry-run", "make demo"]),
        ("ovocr eval RUN --data DIR\n           [--top-k K]\n", ["ovocr eval RUN --data DIR [--top-k K]"]),
        ("$ ovocr read run a.jpg\na.jpg:\n", ["ovocr read run a.jpg"]),
        ("A=1 ovocr doctor\n", ["A=1 ovocr doctor"]),
        ("ovocr: a.tar: an error\n", []),
        ("ovocr/\n  cli.py\n", []),
        ("manifest.json   options\n", []),
    ],
)
def test_commands_of_a_block(text: str, commands: list[str]) -> None:
    assert Block("", text, 1).commands == commands


def test_blocks_of_other_languages_have_no_commands() -> None:
    assert Block("python", "make = 1\n", 1).commands == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("ovocr build-labels a.tar --out b --no-such-option", "No such option"),
        ("ovocr train a.toml --steps", "No such option"),
        ("ovocr eval run --top-k", "requires an argument"),
        ("ovocr read RUN IMAGE... [--device wrong|cpu]", "is not one of"),
    ],
)
def test_a_wrong_option_is_found(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(command)


@pytest.mark.parametrize(
    "command",
    [
        "ovocr build-labels a.tar",
        "make no-such-target",
        "pip install '.[no-such-extra]'",
        "python examples/make_lines.py a --no-such-option",
        "torchrun -m other train",
    ],
)
def test_other_mistakes_are_found(command: str) -> None:
    with pytest.raises(AssertionError):
        check(command)


def test_a_form_is_told_from_a_command() -> None:
    assert is_form("ovocr why DIR KEY [TAG]")
    assert not is_form("ovocr train a.toml --set 'heads.ocr.data=[\"trained\"]'")

"""The references of the site: every command, option and public name, and docstrings as Markdown."""

import importlib
import re
from pathlib import Path

import click
import pytest

from ovocr.cli import main
from website.command_reference import command_reference
from website.docstring_lists import as_markdown

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = (ROOT / "website" / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("room", ["recordio", "vocab", "trainer"])
def test_every_public_name_is_on_its_page(room: str) -> None:
    page = (ROOT / "website" / "pages" / "api" / f"{room}.md").read_text(encoding="utf-8")
    names = importlib.import_module(f"ovocr.{room}").__all__
    assert sorted(re.findall(rf"^::: ovocr\.{room}\.(\w+)$", page, re.MULTILINE)) == sorted(names)


def options(group: click.Group) -> list[tuple[str, str]]:
    """Returns the name of each command and each of its options."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", option) for inner, option in options(command)]
        else:
            found += [(name, option) for p in command.params if isinstance(p, click.Option) for option in p.opts]
    return found


def test_every_option_is_in_the_reference() -> None:
    sections = dict(re.findall(r"^## ovocr (.*)\n((?:(?!^## ).*\n)*)", command_reference() + "\n", re.MULTILINE))
    assert len(options(main)) > 80
    for command, option in options(main):
        assert re.search(rf"^`[^`]*{option}\b[^`]*`{{ #", sections[command], re.MULTILINE), f"{command} {option}"


def test_help_texts_are_no_markup() -> None:
    page = command_reference()
    assert r"CONFIG.toml contains the settings of the run: see [docs/training.md](training.md)." in page
    assert r"\[default: " in page


def test_notes_of_a_docstring_become_a_list() -> None:
    text = (
        "Writes.\n\nid: 0 to 2**64 - 1.\nstart, end: offsets\n    in ``a**b``.\n\nRaises an error: none.\n\nweight: w."
    )
    assert as_markdown(text) == (
        "Writes.\n\n- `id`: 0 to 2\\*\\*64 - 1.\n- `start`, `end`: offsets\n    in ``a**b``.\n\n"
        "Raises an error: none.\n\n- `weight`: w."
    )


def test_a_line_of_prose_is_no_note() -> None:
    text = "A sentence that names several\nthings: this and that."
    assert as_markdown(text) == text


def test_every_document_has_a_place_in_the_navigation() -> None:
    listed = re.findall(r"^ +- .+: (\w+\.md)$", CONFIGURATION, re.MULTILINE)
    documents = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert documents <= set(listed)
    assert len(listed) == len(set(listed))


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    documents = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert documents <= set(re.findall(r"\]\((\w+\.md)", index))

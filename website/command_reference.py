"""Makes the page of all commands from the help texts of the command line."""

import re
from collections.abc import Iterator
from textwrap import dedent

import click

from ovocr.cli import main

_SPECIAL = re.compile(r"([\\*_<>\[\]#|])")


def command_reference() -> str:
    """Returns the page, in Markdown: each command with its usage, arguments, options and defaults."""
    context = click.Context(main, info_name="ovocr", **main.context_settings)
    parts = ["# Commands\n", f"{_prose(main.help or '')}\n", "Exit codes: 0 done, 1 failed, 2 wrong usage.\n"]
    parts += ["Options of `ovocr` itself stand before the command.\n", *_options(main, context)]
    for command, inner in _commands(main, context):
        parts += [f"## {inner.command_path}\n", *_command(command, inner)]
    return "\n".join(parts)


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yields all commands with their contexts; those of a group instead of the group."""
    for name, command in sorted(group.commands.items()):
        inner = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
        else:
            yield command, inner


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    yield f"{_prose(command.help or '')}\n"
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yields a definition list of the options."""
    anchor = context.command_path.replace(" ", "-")
    for parameter in command.get_params(context):
        names, text = parameter.get_help_record(context) or ("", "")
        if not text or "--help" in names:  # an argument, of which the usage and the text say everything
            continue
        yield f"`{names}`{{ #{anchor}-{parameter.name} }}\n:   {_escaped(text)}\n"


def _prose(text: str) -> str:
    """Returns a help text as Markdown. A paragraph after a line with backspace keeps its lines."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith("\b"):
            lines = dedent("\n".join(paragraph.split("\n")[1:]))
            paragraphs.append(f"```text\n{lines}\n```")
        else:
            paragraphs.append(_escaped(" ".join(paragraph.split())))
    return "\n\n".join(paragraphs)


def _escaped(text: str) -> str:
    """Returns plain text as Markdown. Names of documents become links, and code stays code."""
    pieces = re.split(r"(`[^`]+`)", text)
    plain = [piece if piece.startswith("`") else _SPECIAL.sub(r"\\\1", piece) for piece in pieces]
    return re.sub(
        r"\bdocs/([a-z\\_]+)\.md", lambda link: f"[{link[0]}]({link[1]}.md)".replace("\\_", "_"), "".join(plain)
    )

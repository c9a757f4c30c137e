"""Checks a documented command without running it: its program, its options, the files that it names."""

import re
import shlex
from pathlib import Path

import click

from ovocr.cli import main
from tests.documents.blocks import ROOT
from tests.install.matrix import every_extra

_VARIABLE = re.compile(r"[A-Z_]+=\S+$")


def is_form(command: str) -> bool:
    """Returns True if a command shows which options there are: it cannot run as it is printed."""
    return re.search(r" \[(?:-|[A-Z])|=value\]", command) is not None


def check(command: str) -> None:
    """Raises an error if a command cannot be right."""
    words = shlex.split(_without_brackets(command) if is_form(command) else command, comments=True)
    while _VARIABLE.match(words[0]):
        words = words[1:]
    program, *arguments = words
    if program == "ovocr":
        _check_ovocr(arguments)
    elif program == "torchrun":
        module = arguments.index("-m")
        assert arguments[module + 1] == "ovocr", command
        _check_ovocr(arguments[module + 2 :])
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in (word for word in arguments if not _VARIABLE.match(word)):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"{command}: no target {target}"
    elif program == "pip":
        for extras in re.findall(r"\[([\w,-]+)\]", command):
            assert set(extras.split(",")) <= {*every_extra()}, command
    elif program in ("python", "sbatch") and arguments[0].endswith((".py", ".sbatch")):
        _check_script(arguments[0], arguments[1:])


def _without_brackets(form: str) -> str:
    """Returns one call of a form: with every option, each once, and the first of alternatives."""
    form = re.sub(r"\(also.*", "", form).replace("[", " ").replace("]", " ").replace("...", "")
    return re.sub(r"(?<=\S)\|\S+", "", form)


def _check_ovocr(arguments: list[str]) -> None:
    """Parses arguments with click, without their types: files need not exist, and placeholders are values."""
    command: click.Command = main
    context = click.Context(main, info_name="ovocr")
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
        context = click.Context(command, info_name=name, parent=context)
    values, _, _ = command.make_parser(context).parse_args(list(arguments))
    for parameter in command.params:
        value = values.get(parameter.name)
        assert not parameter.required or value, f"{context.command_path}: {parameter.name} is missing"
        if isinstance(parameter.type, click.Choice) and isinstance(value, str) and not value.isupper():
            parameter.type.convert(value, parameter, context)


def _check_script(script: str, arguments: list[str]) -> None:
    text = (ROOT / script).read_text(encoding="utf-8")
    if Path(script).suffix == ".py":
        for option in (word for word in arguments if word.startswith("--")):
            assert f'"{option}"' in text, f"{script} has no option {option}"

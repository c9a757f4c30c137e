"""What a command gives out: figures for people and as JSON, files whose place is looked at first, error lines."""

import json
from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text
from ovocr.dataset.layout import is_inside_data_set

JSON_HELP = "Write the figures as JSON to this file; - for standard output."


def print_figures(text: str, figures: dict[str, Any], json_path: str | None) -> None:
    """Text for people on standard output, unless the JSON goes there."""
    if json_path == "-":
        click.echo(json.dumps(figures, ensure_ascii=False, indent=1))
        return
    if text:
        click.echo(text)
    if json_path is not None:
        write_text(Path(json_path), json.dumps(figures, ensure_ascii=False, indent=1) + "\n")


def print_error(error: Exception) -> None:
    """One line; a name in it may come from a stranger's archive."""
    if isinstance(error, OSError) and error.filename is not None:
        click.echo(f"ovocr: {for_terminal(str(error.filename))}: {error.strerror}", err=True)
    else:
        click.echo(f"ovocr: {for_terminal(str(error))}", err=True)


def print_left_out(lines: list[str]) -> None:
    """What could not be looked at, a line each, on standard error."""
    for line in lines:
        click.echo(f"ovocr: left out: {for_terminal(line)}", err=True)


def json_target(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A file, or - for standard output."""
    return value if value == "-" else file_target(ctx, parameter, value)


def file_target(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a place where no file can be written before the work begins, not after it."""
    if value == "-" and parameter.name == "html_path":
        raise UsageError("--html -: a page is not for a terminal; a file's path is needed")
    if value is not None and (Path(value).is_dir() or not Path(value).absolute().parent.is_dir()):
        raise UsageError(
            f"{parameter.opts[0]} {value}: is a folder, or in a folder that is not there; a file's path is needed"
        )
    if value is not None and Path(value).exists() and not Path(value).is_file():
        use = ", or - for standard output" if parameter.name == "json_path" else ""
        raise UsageError(f"{parameter.opts[0]} {value}: is a device or a pipe; a file's path is needed{use}")
    if value is not None:
        _check_replaceable(f"{parameter.opts[0]} {value}", Path(value), parameter.name)
    return value


def _check_replaceable(what: str, path: Path, name: str | None) -> None:
    """Raises UsageError where a file would take the place of one that a command has not written before."""
    if is_inside_data_set(path):
        raise UsageError(f"{what}: lies in a labelled data set, whose files it might replace; choose another place")
    begins = {"json_path": (b"{", b"["), "html_path": (b"<!DOCTYPE html>",), "preview_path": (b"<!DOCTYPE html>",)}
    if name in begins and path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            start = file.read(64)
        if not start.startswith(begins[name]):
            raise UsageError(f"{what}: is a file of another kind, which it would replace; choose another name")

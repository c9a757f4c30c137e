"""Output of commands: figures as text and JSON, error lines, and checks of output files."""

import json
from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.files import write_text


def print_figures(text: str, figures: dict[str, Any] | list[Any], json_path: str | None) -> None:
    """Prints the text and writes the JSON; prints only the JSON if its path is -."""
    if json_path == "-":
        click.echo(json.dumps(figures, ensure_ascii=False, indent=1))
        return
    if text:
        click.echo(text)
    if json_path is not None:
        write_text(Path(json_path), json.dumps(figures, ensure_ascii=False, indent=1) + "\n")


def print_error(error: Exception) -> None:
    """Prints an error as one line, without control characters: a name in it may come from an untrusted archive."""
    if isinstance(error, OSError) and error.filename is not None:
        click.echo(f"ovocr: {for_terminal(str(error.filename))}: {error.strerror}", err=True)
    else:
        click.echo(f"ovocr: {for_terminal(str(error))}", err=True)


def print_left_out(lines: list[str]) -> None:
    """Prints what was left out to standard error, one line each."""
    for line in lines:
        click.echo(f"ovocr: left out: {for_terminal(line)}", err=True)


def json_target(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Returns an option's value if a JSON file can be written there, or if it is -. Raises UsageError otherwise."""
    return value if value == "-" else file_target(ctx, parameter, value)


def file_target(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Returns an option's value if a file can be written there, before the work starts. Raises UsageError otherwise."""
    if value == "-" and parameter.name in ("html_path", "preview_path"):
        raise UsageError(f"{parameter.opts[0]} -: a page cannot be printed; a file's path is needed")
    if value is not None and (Path(value).is_dir() or not Path(value).absolute().parent.is_dir()):
        raise UsageError(
            f"{parameter.opts[0]} {value}: is a folder, or in a folder that does not exist; a file's path is needed"
        )
    if value is not None and Path(value).exists() and not Path(value).is_file():
        use = ", or - for standard output" if parameter.name == "json_path" else ""
        raise UsageError(f"{parameter.opts[0]} {value}: is a device or a pipe; a file's path is needed{use}")
    if value is not None:
        _check_replaceable(f"{parameter.opts[0]} {value}", Path(value), parameter.name)
    return value


def _check_replaceable(what: str, path: Path, name: str | None) -> None:
    """Raises UsageError if the path is a file that no command wrote, or lies in a labelled data set."""
    from ovocr.dataset.layout import is_inside_data_set

    if is_inside_data_set(path):
        raise UsageError(f"{what}: is inside a labelled data set and might replace its files; choose another folder")
    begins = {"json_path": (b"{", b"["), "html_path": (b"<!DOCTYPE html>",), "preview_path": (b"<!DOCTYPE html>",)}
    if name in begins and path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            start = file.read(64)
        if not start.startswith(begins[name]):
            raise UsageError(f"{what}: would replace a file of a different kind; choose another name")

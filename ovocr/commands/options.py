"""Options that several commands share, and options made from the fields of a dataclass."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import UsageError
from ovocr.base.object_store import is_url
from ovocr.commands.output import json_target
from ovocr.labelgen.options import (
    EXECUTORS,
    BuildOptions,
    PolicyOptions,
    RelabelOptions,
    RunOptions,
    ShardOptions,
    parse_shard_slice,
)

# A smaller limit is a mistake in the unit.
LEAST_WORKER_MEMORY = 100 * 10**6

_Decorator = Callable[[Any], Any]  # the type of click's own decorators


class _OnDisk(click.Path):
    """A path on a disk. A URL of an object store is an error, not the name of a folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            _refuse_url(value)
        return super().convert(value, param, ctx)


class _Step(click.ParamType):
    """A number of steps, or the word best."""

    name = "step"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "best":
            return value
        if not str(value).isdecimal() or int(value) < 1:
            raise UsageError(f"--step {value}: must be a number of steps, at least 1, or best")
        return int(value)


class _OnDiskOrInStore(click.Path):
    """A path on a disk, or a URL of an object store, which stays a text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, str) and is_url(value) else super().convert(value, param, ctx)


FOLDER = _OnDisk(path_type=Path)
FOLDER_OR_URL = _OnDiskOrInStore(path_type=Path)
STEP_OPTION = click.option(
    "--step",
    type=_Step(),
    metavar="N|best",
    help="Checkpoint: after N steps, or the one with the highest word AUC during training; by default the newest.",
)
JSON_OPTION = click.option(
    "--json",
    "json_path",
    metavar="F",
    callback=json_target,
    help="Write the figures as JSON to this file; - for standard output.",
)


def folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """Returns an option's value as a folder. Raises UsageError if it is empty or in an object store."""
    if value == "":  # Path would make it the current folder
        raise UsageError(f"{parameter.opts[0]}: is empty; a folder's path is needed")
    if value is None:
        return None
    _refuse_url(value, f"{parameter.opts[0]} ")
    return Path(value)


def new_folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """Returns --out as a folder. Raises UsageError if it is empty or in an object store."""
    if value is not None and is_url(value):
        raise UsageError(
            f"{parameter.opts[0]} {value}: must be on a disk; copy it to the store afterwards, to s3:// with "
            "`aws s3 sync`"
        )
    return folder(ctx, parameter, value)


def folder_or_url(ctx: click.Context, parameter: click.Parameter, value: str) -> Path | str | None:
    """Returns an option's value as a folder, or as a URL in an object store. Raises UsageError if it is empty."""
    return value if is_url(value) else folder(ctx, parameter, value)


def _refuse_url(value: str, option: str = "") -> None:
    if is_url(value):
        raise UsageError(f"{option}{value}: must be on a disk; copy it there first, for s3:// with `aws s3 sync`")


def field_option(options: type, flag: str, name: str | None = None, **settings: Any) -> _Decorator:
    """Returns a click option with the default and the help text of a dataclass's field.

    flag: the option, such as ``--shard-size``. name: the field's name; by default made from the flag. settings: further
    arguments of click.option.
    """
    name = name or flag.removeprefix("--").replace("-", "_")
    field = next(field for field in fields(options) if field.name == name)
    if field.default is MISSING:
        settings["required"] = True
    elif field.default is False:
        settings["is_flag"] = True
    elif field.default == ():
        settings["multiple"] = True
    elif field.default is not None:
        settings.setdefault("default", field.default)
    if int in (settings.get("type"), type(settings.get("default"))):
        settings.setdefault("metavar", "N")
    return click.option(flag, name, help=field.metadata["help"], **settings)


def count_option(flag: str, help: str, *, least: int = 1, **settings: Any) -> _Decorator:
    """Returns a click option for a count. least: its smallest value. settings: further arguments of click.option."""
    return click.option(flag, help=help, metavar="N", type=click.IntRange(min=least), **settings)


def stack(*options: _Decorator) -> _Decorator:
    """Returns a decorator that adds the options in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def shard_options() -> _Decorator:
    """Returns the options of every run over shards."""
    return stack(
        field_option(ShardOptions, "--workers", type=int),
        field_option(
            ShardOptions,
            "--shard-slice",
            default="/".join(map(str, ShardOptions.shard_slice)),
            callback=lambda ctx, parameter, value: parse_shard_slice(value),
            metavar="I/N",
        ),
    )


def policy_options(options: type[BuildOptions] | type[RelabelOptions]) -> _Decorator:
    """Returns the options that decide which words become tags and get slots, with the defaults of ``options``."""
    return stack(
        field_option(options, "--tags", type=int),
        field_option(options, "--seed", type=int),
        field_option(options, "--min-score", type=float, metavar="S"),
        field_option(options, "--min-letters", type=int),
        field_option(PolicyOptions, "--policy"),
        field_option(PolicyOptions, "--repeats"),
        field_option(PolicyOptions, "--idf", callback=folder, metavar="FILE"),
    )


def run_options(options: type[RunOptions]) -> _Decorator:
    """Returns the options of every run that reads sources, with the defaults of ``options``."""
    return stack(
        field_option(options, "--executor", type=click.Choice(EXECUTORS)),
        shard_options(),
        field_option(options, "--shard-size"),
        field_option(options, "--image-column", metavar="NAME"),
        field_option(options, "--image-key-column", metavar="NAME"),
        field_option(options, "--image-root", callback=folder, metavar="DIR"),
        field_option(options, "--max-pixels"),
        field_option(options, "--image-timeout", "image_timeout_s", metavar="S"),
        field_option(options, "--append"),
        field_option(options, "--accept-upgrade"),
        field_option(options, "--retry-quarantined"),
        field_option(options, "--worker-images"),
        field_option(options, "--worker-memory", callback=_worker_memory, metavar="SIZE"),
        JSON_OPTION,
    )


def _worker_memory(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from ovocr.base.memory_size import parse_memory

    return None if value is None else parse_memory(value, option="--worker-memory", least=LEAST_WORKER_MEMORY)

"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ovocr.base.errors import UsageError
from ovocr.base.object_store import is_url
from ovocr.commands.output import JSON_HELP, json_target

# No worker is smaller: a mistake in the unit is met before anything starts.
LEAST_WORKER_MEMORY = 100 * 10**6

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _OnDisk(click.Path):
    """A path; what names an object store is refused rather than taken for a folder of that name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            _refuse_url(value)
        return super().convert(value, param, ctx)


FOLDER = _OnDisk(path_type=Path)


def folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    """A callback: the folder's path. Raises UsageError where it is empty, or in an object store."""
    if value == "":  # Path would make it the current folder
        raise UsageError(f"{parameter.opts[0]}: is empty; a folder's path is needed")
    if value is None:
        return None
    _refuse_url(value, f"{parameter.opts[0]} ")
    return Path(value)


def folder_or_url(ctx: click.Context, parameter: click.Parameter, value: str) -> Path | str | None:
    """A callback: the folder's path, or the URL of one in an object store. Raises UsageError where it is empty."""
    return value if is_url(value) else folder(ctx, parameter, value)


def _refuse_url(value: str, option: str = "") -> None:
    if is_url(value):
        raise UsageError(f"{option}{value}: must be on a disk; copy it there first, for s3:// with `aws s3 sync`")


def policy_options(command: _Command) -> _Command:
    """How the words of an image take its tag slots."""
    for option in reversed(
        (
            click.option(
                "--policy",
                default="uniform",
                show_default=True,
                help="More words than slots: uniform, or idf for rare ones rather than common ones.",
            ),
            click.option("--repeats", is_flag=True, help="A word counts as often as it stands in the image."),
            click.option(
                "--idf",
                callback=folder,
                metavar="FILE",
                help="For --policy idf: the frequencies.tsv of a relabelled data set.",
            ),
        )
    ):
        command = option(command)
    return command


def run_options(command: _Command) -> _Command:
    """The options of every command that runs over pictures; without --tags, whose default differs."""
    for option in reversed(
        (
            click.option(
                "--executor",
                default="local",
                show_default=True,
                type=click.Choice(["local", "ray"]),
                help="Who makes the shards: this machine, or actors on the nodes of a Ray cluster.",
            ),
            click.option(
                "--workers",
                type=int,
                help="Worker processes of one thread each.  [default: one a core; with ray one in each actor]",
            ),
            click.option(
                "--shard-slice", default="0/1", show_default=True, metavar="I/N", help="Only every N-th shard, from I."
            ),
            click.option(
                "--shard-size", default=10_000, show_default=True, help="Images a shard when SOURCE is a folder."
            ),
            click.option(
                "--max-pixels", default=50_000_000, show_default=True, help="Larger images are quarantined undecoded."
            ),
            click.option(
                "--image-timeout", default=120.0, show_default=True, metavar="S", help="Seconds an image may take."
            ),
            click.option(
                "--retry-quarantined", is_flag=True, help="Redo finished shards that have quarantined images."
            ),
            click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP),
        )
    ):
        command = option(command)
    return command


def worker_options(images: int) -> Callable[[_Command], _Command]:
    """When a worker process is replaced. images: the default, which depends on how long an image takes."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(
            (
                click.option(
                    "--worker-images",
                    default=images,
                    show_default=True,
                    metavar="N",
                    help="A worker process is replaced after N images.",
                ),
                click.option(
                    "--worker-memory",
                    callback=_worker_memory,
                    metavar="SIZE",
                    help="One that holds more, such as 4GB, is replaced.  [default: an equal share of the memory]",
                ),
            )
        ):
            command = option(command)
        return command

    return decorate


def _worker_memory(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from ovocr.base.memory_size import parse_memory

    return None if value is None else parse_memory(value, option="--worker-memory", least=LEAST_WORKER_MEMORY)

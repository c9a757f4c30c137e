"""The `ovocr` command line: the group of all commands, and the printing of their errors."""

import traceback
from typing import Any

import click

from ovocr import __version__
from ovocr.base.errors import OvocrError
from ovocr.commands.doctor import doctor
from ovocr.commands.inspect import inspect
from ovocr.commands.labels import build_labels_command, pack_labels_command, relabel_command, split_command
from ovocr.commands.output import print_error
from ovocr.commands.train import evaluate_command, export, read, train
from ovocr.commands.verification import verify_command, why_command
from ovocr.commands.vocab import vocab


class _Commands(click.Group):
    """Prints an error as one line; with --debug, after its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OvocrError, OSError) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            print_error(error)
            ctx.exit(getattr(error, "exit_code", 1))


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="ovocr")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Label images with the words that OCR reads in them, and train vision encoders on these labels."""


for _command in (
    *(build_labels_command, relabel_command, pack_labels_command, split_command, vocab),
    *(verify_command, inspect, why_command),
    *(train, evaluate_command, read, export, doctor),
):
    main.add_command(_command)

"""The command that shows labelled images."""

from pathlib import Path
from typing import Any

import click

from ovocr.base.files import write_text
from ovocr.commands.options import FOLDER_OR_URL, JSON_OPTION, field_option
from ovocr.commands.output import file_target, print_figures, print_left_out
from ovocr.labelgen.inspection.options import InspectOptions


@click.command()
@click.argument("source", metavar="DIR", type=FOLDER_OR_URL)
@click.option("--html", "html_path", required=True, metavar="F", callback=file_target, help="File of the page.")
@field_option(InspectOptions, "--limit")
@field_option(InspectOptions, "--seed")
@field_option(InspectOptions, "--status", metavar="STATUS")
@field_option(InspectOptions, "--word", metavar="WORD")
@field_option(InspectOptions, "--key", "keys", metavar="KEY")
@field_option(InspectOptions, "--shard", type=int)
@field_option(InspectOptions, "--side", metavar="PX")
@JSON_OPTION
def inspect(html_path: str, json_path: str | None, **options: Any) -> None:
    """Write a page with labelled images.

    The page shows images of the labelled data set DIR, a folder or a URL in an object store (s3://bucket/labels), with
    their boxes, lines, words and tags. It needs no network and no other file. The images are spread evenly over all
    shards. Page and terminal also tell how many tags of the data set, or of 100 of its shards, are legible at which
    size of an encoder's input, in whole images and in crops.
    """
    from ovocr.labelgen.inspection.inspecting import inspect_labels
    from ovocr.labelgen.inspection.page import inspection_page

    inspection = inspect_labels(InspectOptions(**options), progress=True)
    print_left_out(inspection.left_out)
    page = inspection_page(inspection)
    write_text(Path(html_path), page)
    print_figures(f"{inspection.format()}\n{html_path}: {len(page) / 1e6:.1f} MB", inspection.to_json(), json_path)

"""The command that shows what was labelled."""

from pathlib import Path
from typing import Any

import click

from ovocr.base.files import write_text
from ovocr.commands.options import FOLDER
from ovocr.commands.output import JSON_HELP, file_target, json_target, print_figures, print_left_out


@click.command()
@click.argument("source", metavar="DIR", type=FOLDER)
@click.option("--html", "html_path", required=True, metavar="F", callback=file_target, help="Where the page goes.")
@click.option("--limit", default=50, show_default=True, metavar="N", help="Pictures on the page at most.")
@click.option("--seed", default=0, show_default=True, help="Chooses the pictures among those that may be there.")
@click.option("--status", metavar="STATUS", help="Only images that are ok, dropped or quarantined.")
@click.option("--word", metavar="WORD", help="Only images that have WORD as a tag; of packed images a class id.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Only the image with this key; may be given again.")
@click.option("--shard", type=int, metavar="N", help="Only images of shard N.")
@click.option("--side", default=1200, show_default=True, metavar="PX", help="Longest side of a picture on the page.")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def inspect(html_path: str, json_path: str | None, **options: Any) -> None:
    """Write a page of images of the labelled data set DIR with the boxes, lines, words and tags that they were given.

    The page needs no network and no other file. Images are taken evenly from all shards.
    """
    from ovocr.labelgen.inspection.inspecting import inspect_labels
    from ovocr.labelgen.inspection.options import InspectOptions
    from ovocr.labelgen.inspection.page import inspection_page

    inspection = inspect_labels(InspectOptions(**options), progress=True)
    print_left_out(inspection.left_out)
    page = inspection_page(inspection)
    write_text(Path(html_path), page)
    print_figures(f"{inspection.format()}\n{html_path}: {len(page) / 1e6:.1f} MB", inspection.to_json(), json_path)

"""Commands that make labelled data sets."""

from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import OvocrError, UsageError
from ovocr.commands.options import (
    FOLDER_OR_URL,
    JSON_OPTION,
    field_option,
    folder,
    folder_or_url,
    new_folder,
    policy_options,
    run_options,
    shard_options,
)
from ovocr.commands.output import print_figures
from ovocr.labelgen.options import BuildOptions, PackOptions, RelabelOptions, SplitOptions


@click.command("build-labels")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@field_option(BuildOptions, "--out", callback=folder_or_url, metavar="DIR")
@field_option(BuildOptions, "--vocab", metavar="PATH")
@field_option(BuildOptions, "--lines", metavar="TABLE")
@field_option(BuildOptions, "--key-column", metavar="NAME")
@field_option(BuildOptions, "--engine")
@field_option(BuildOptions, "--model-dir", callback=folder, metavar="DIR")
@field_option(BuildOptions, "--det-model", metavar="NAME")
@field_option(BuildOptions, "--rec-model", metavar="NAME")
@field_option(BuildOptions, "--precision")
@policy_options(BuildOptions)
@run_options(BuildOptions)
def build_labels_command(json_path: str | None, **options: Any) -> None:
    """Label images with the words in them.

    SOURCE is one of these, or a glob of these, on a disk or in an object store (s3://bucket/...):

    \b
    image files          photo.jpg *.png
    a folder             images, archives and tables in it, recursively
    archives             .tar (also .tar.gz), .zip, .rec with its .idx
    tables               .parquet or .arrow with a column of images
    a list               .txt or .lst with one path per line

    An OCR engine reads the text, or a table gives it (--lines); its words become exactly --tags tags per image,
    repeated if there are fewer words. Run the same command again to resume.
    """
    from ovocr.labelgen.build import build_labels

    totals = build_labels(BuildOptions(**options), progress=True)
    print_figures(totals.format(), totals.to_json(), json_path)
    if totals.failure:
        raise OvocrError(totals.failure)


@click.command("relabel")
@click.argument("source", metavar="DIR", type=FOLDER_OR_URL)
@field_option(RelabelOptions, "--out", callback=new_folder, metavar="DIR2")
@field_option(RelabelOptions, "--vocab", metavar="PATH")
@field_option(RelabelOptions, "--han", metavar="FORM")
@policy_options(RelabelOptions)
@shard_options()
@field_option(RelabelOptions, "--retry-out-of-reach")
@JSON_OPTION
def relabel_command(json_path: str | None, **options: Any) -> None:
    """Give labelled images new tags.

    The tags come from the text that is stored in the labelled data set DIR, a folder or a URL in an object store
    (s3://bucket/labels); no OCR engine is needed. Images that had no tags before are read from their source. Run the
    same command again to resume.
    """
    from ovocr.labelgen.relabel.relabel import relabel

    totals = relabel(RelabelOptions(**options), progress=True)
    print_figures(totals.format(), totals.to_json(), json_path)


@click.command("pack-labels")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@field_option(PackOptions, "--labels", metavar="TABLE")
@field_option(PackOptions, "--out", callback=folder_or_url, metavar="DIR")
@field_option(PackOptions, "--tags")
@field_option(PackOptions, "--num-classes", type=int)
@field_option(PackOptions, "--key-column", metavar="NAME")
@field_option(PackOptions, "--label-column", "label_columns", metavar="NAME")
@run_options(PackOptions)
def pack_labels_command(json_path: str | None, **options: Any) -> None:
    """Pack images with class ids from a table.

    SOURCE is image files, a folder, a .tar, .zip or .rec archive, a .parquet or .arrow table of images, a .txt list of
    paths, or a glob of these, as for build-labels. The key of an image is its path inside the source, with the file
    extension. Each image gets exactly --tags class ids; they repeat if the table has fewer. Run the same command again
    to resume.
    """
    from ovocr.labelgen.pack import pack_labels

    totals = pack_labels(PackOptions(**options), progress=True)
    print_figures(totals.format(), totals.to_json(), json_path)
    if totals.failure:
        raise OvocrError(totals.failure)


@click.command("split")
@click.argument("source", metavar="DIR", type=FOLDER_OR_URL)
@click.option(
    "--out",
    callback=new_folder,
    metavar="OUT",
    help="Folder of the parts, OUT/train and OUT/held-out; by default DIR with -split added to its name.",
)
@field_option(SplitOptions, "--share", metavar="S")
@field_option(SplitOptions, "--by", metavar="COLUMN|source")
@field_option(SplitOptions, "--groups", callback=folder, metavar="TABLE")
@field_option(SplitOptions, "--seed")
@field_option(SplitOptions, "--workers", type=int)
@JSON_OPTION
def split_command(source: Path | str, out: Path | None, json_path: str | None, **options: Any) -> None:
    """Divide a labelled data set into training images and held-out ones.

    DIR is a folder, or a URL in an object store (s3://bucket/labels), whose shards are copied. OUT/train and
    OUT/held-out become data sets for all commands. What is held out depends on the key of an image, or on its group,
    and on --seed alone, so a data set that has grown is divided alike. With --by source, or with --groups, images that
    belong together, such as the pages of a document, stay together. Shards of one side are hard-linked, not copied,
    where the file system can. Run the same command again to resume.
    """
    from ovocr.labelgen.split.split import split

    if out is None:
        if isinstance(source, str):
            raise UsageError(f"--out: {source} is in an object store; name a folder for the parts")
        out = source.resolve().with_name(f"{source.resolve().name}-split")
    totals = split(SplitOptions(source=source, out=out, **options), progress=True)
    print_figures(f"{totals.format()}\nwritten to {out}/train and {out}/held-out", totals.to_json(), json_path)

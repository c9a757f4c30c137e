"""Commands that make labelled data sets."""

from pathlib import Path
from typing import Any

import click

from ovocr.commands.options import FOLDER, folder, folder_or_url, policy_options, run_options, worker_options
from ovocr.commands.output import JSON_HELP, json_target, print_figures


@click.command("build-labels")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--out",
    callback=folder_or_url,
    required=True,
    metavar="DIR",
    help="Folder, or s3:// URL, of the labelled data set.",
)
@click.option("--vocab", default="lexicon", show_default=True, help="A vocabulary file, or the built-in 'lexicon'.")
@click.option("--engine", default="rapidocr", show_default=True, help="OCR engine: rapidocr or paddleocr.")
@click.option(
    "--model-dir",
    callback=folder,
    metavar="DIR",
    help="Folder with det/ and rec/ models, instead of the engine's own.",
)
@click.option("--det-model", metavar="NAME", help="PaddleOCR's name of a text detection model, which is then fetched.")
@click.option("--rec-model", metavar="NAME", help="PaddleOCR's name of a text recognition model, likewise.")
@click.option(
    "--precision", default="float32", show_default=True, help="bfloat16 is faster on processors that have it."
)
@click.option("--tags", default=100, show_default=True, help="Tag slots of an image.")
@click.option("--seed", default=0, show_default=True, help="Chooses the tags of images with more words than slots.")
@policy_options
@run_options
@worker_options(images=10_000)
def build_labels_command(
    sources: tuple[str, ...],
    out: Path | str,
    shard_slice: str,
    image_timeout: float,
    json_path: str | None,
    **options: Any,
) -> None:
    """Label images: OCR, words, exactly --tags tags an image, .rec shards.

    SOURCE is a WebDataset .tar, a .rec with its .idx, a .parquet with a column of encoded images, a folder, or a
    glob of these, on a disk or in an object store (s3://bucket/...). A rerun goes on where the last one stopped.
    """
    from ovocr.labelgen.build import build_labels
    from ovocr.labelgen.options import BuildOptions, parse_shard_slice

    totals = build_labels(
        BuildOptions(
            sources=sources,
            out=out,
            shard_slice=parse_shard_slice(shard_slice),
            image_timeout_s=image_timeout,
            **options,
        ),
        progress=True,
    )
    print_figures(totals.format(), totals.to_json(), json_path)


@click.command("relabel")
@click.argument("source", metavar="DIR", type=FOLDER)
@click.option("--out", callback=folder, required=True, metavar="DIR2", help="Folder of the new data set.")
@click.option("--vocab", metavar="PATH", help="A vocabulary file, or 'lexicon'.  [default: that of DIR]")
@click.option(
    "--han", metavar="FORM", help="as-read, or simplified: fold traditional characters.  [default: --vocab's]"
)
@click.option("--tags", type=int, help="Tag slots of an image.  [default: as in DIR]")
@click.option("--seed", type=int, help="Chooses the tags of images with more words than slots.  [default: as in DIR]")
@policy_options
@click.option("--workers", type=int, help="Worker processes of one thread each.  [default: one a core]")
@click.option("--shard-slice", default="0/1", show_default=True, metavar="I/N", help="Only every N-th shard, from I.")
@click.option("--retry-out-of-reach", is_flag=True, help="Redo finished shards that lack pictures of their source.")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def relabel_command(shard_slice: str, json_path: str | None, **options: Any) -> None:
    """Give the images of the labelled data set DIR new tags, from the text that is stored there.

    No engine is needed. A picture that gets tags only now is read from the source that DIR was made from. A rerun goes
    on where the last one stopped.
    """
    from ovocr.labelgen.options import RelabelOptions, parse_shard_slice
    from ovocr.labelgen.relabel.relabel import relabel

    totals = relabel(RelabelOptions(shard_slice=parse_shard_slice(shard_slice), **options), progress=True)
    print_figures(totals.format(), totals.to_json(), json_path)


@click.command("pack-labels")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--labels", required=True, metavar="TABLE", help="Parquet, CSV, TSV or JSON lines: key -> class ids.")
@click.option(
    "--out",
    callback=folder_or_url,
    required=True,
    metavar="DIR",
    help="Folder, or s3:// URL, of the labelled data set.",
)
@click.option("--tags", default=10, show_default=True, help="Tag slots of an image.")
@click.option("--num-classes", type=int, metavar="N", help="Class ids are below N.  [default: the largest + 1]")
@click.option("--key-column", metavar="NAME", help="Column of TABLE with the images' keys.  [default: key]")
@click.option(
    "--label-column",
    "label_columns",
    multiple=True,
    metavar="NAME",
    help="Column of TABLE with class ids; may be given several times.  [default: labels, label, class ...]",
)
@run_options
@worker_options(images=1_000_000)
def pack_labels_command(
    sources: tuple[str, ...],
    out: Path | str,
    shard_slice: str,
    image_timeout: float,
    json_path: str | None,
    **options: Any,
) -> None:
    """Pack images with the class ids that TABLE has for them: exactly --tags an image, .rec shards, no OCR.

    SOURCE is as for build-labels, and so is an image's key: its path inside the source, ending included. A rerun goes
    on where the last one stopped.
    """
    from ovocr.labelgen.options import PackOptions, parse_shard_slice
    from ovocr.labelgen.pack import pack_labels

    totals = pack_labels(
        PackOptions(
            sources=sources,
            out=out,
            shard_slice=parse_shard_slice(shard_slice),
            image_timeout_s=image_timeout,
            **options,
        ),
        progress=True,
    )
    print_figures(totals.format(), totals.to_json(), json_path)

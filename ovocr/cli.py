"""The `ovocr` command: parses, calls one function, prints. Each command imports the heavy packages it needs."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

from ovocr import __version__
from ovocr.errors import MissingExtraError, OvocrError, UsageError
from ovocr.escape import for_terminal
from ovocr.files import write_text

_FOLDER = click.Path(path_type=Path)
_JSON_HELP = "Write the figures as JSON to this file; - for standard output."


_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Commands(click.Group):
    """Prints a user's mistake as one line; --debug shows where it came from."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OvocrError, OSError) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            _print_error(error)
            ctx.exit(getattr(error, "exit_code", 1))


def _print_error(error: Exception) -> None:
    """One line; a name in it may come from a stranger's archive."""
    if isinstance(error, OSError) and error.filename is not None:
        click.echo(f"ovocr: {for_terminal(str(error.filename))}: {error.strerror}", err=True)
    else:
        click.echo(f"ovocr: {for_terminal(str(error))}", err=True)


def _json_target(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A file, or - for standard output."""
    return value if value == "-" else _file_target(ctx, parameter, value)


def _file_target(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse a place where no file can be written before the work begins, not after it."""
    if value == "-" and parameter.name == "html_path":
        raise UsageError("--html -: a page is not for a terminal; a file's path is needed")
    if value is not None and (Path(value).is_dir() or not Path(value).absolute().parent.is_dir()):
        raise UsageError(
            f"{parameter.opts[0]} {value}: is a folder, or in a folder that is not there; a file's path is needed"
        )
    return value


def _folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    if value == "":  # Path would make it the current folder
        raise UsageError(f"{parameter.opts[0]}: is empty; a folder's path is needed")
    return None if value is None else Path(value)


def _run_options(command: _Command) -> _Command:
    """The options of every command that runs over pictures; without --tags, whose default differs."""
    for option in reversed(
        (
            click.option("--workers", type=int, help="Worker processes of one thread each.  [default: one a core]"),
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
            click.option("--json", "json_path", metavar="F", callback=_json_target, help=_JSON_HELP),
        )
    ):
        command = option(command)
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ovocr")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Turn images into supervision for reading: OCR words as tags, and a vision encoder trained on them."""


@main.command("build-labels")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", callback=_folder, required=True, metavar="DIR", help="Folder of the labelled data set.")
@click.option("--vocab", default="lexicon", show_default=True, help="A vocabulary file, or the built-in 'lexicon'.")
@click.option("--engine", default="rapidocr", show_default=True, help="OCR engine: rapidocr or paddleocr.")
@click.option(
    "--model-dir",
    callback=_folder,
    metavar="DIR",
    help="Folder with det/ and rec/ models, instead of the engine's own.",
)
@click.option("--det-model", metavar="NAME", help="PaddleOCR's name of a text detection model, which is then fetched.")
@click.option("--rec-model", metavar="NAME", help="PaddleOCR's name of a text recognition model, likewise.")
@click.option(
    "--precision", default="float32", show_default=True, help="bfloat16 is faster on processors that have it."
)
@click.option("--executor", default="local", show_default=True, type=click.Choice(["local"]), help="Who runs workers.")
@click.option("--tags", default=100, show_default=True, help="Tag slots of an image.")
@click.option("--seed", default=0, show_default=True, help="Chooses the tags of images with more words than slots.")
@_run_options
def build_labels_command(
    sources: tuple[str, ...],
    out: Path,
    shard_slice: str,
    image_timeout: float,
    json_path: str | None,
    **options: Any,
) -> None:
    """Label images: OCR, words, exactly --tags tags an image, .rec shards.

    SOURCE is a WebDataset .tar, a .rec with its .idx, a .parquet with a column of encoded images, a folder, or a
    glob of these. A rerun goes on where the last one stopped.
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
    _print_figures(totals.format(), totals.to_json(), json_path)


@main.command("pack-labels")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--labels", required=True, metavar="TABLE", help="Parquet, CSV, TSV or JSON lines: key -> class ids.")
@click.option("--out", callback=_folder, required=True, metavar="DIR", help="Folder of the labelled data set.")
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
@_run_options
def pack_labels_command(
    sources: tuple[str, ...],
    out: Path,
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
    from ovocr.labelgen.packing import pack_labels

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
    _print_figures(totals.format(), totals.to_json(), json_path)


@main.group()
def vocab() -> None:
    """Look into vocabularies and how they cover a corpus."""


@vocab.command("coverage")
@click.argument("data_sets", nargs=-1, required=True, type=_FOLDER, metavar="DIR...")
@click.option("--vocab", "path", default="lexicon", show_default=True, help="A vocabulary file, or 'lexicon'.")
@click.option("--json", "json_path", metavar="F", callback=_json_target, help=_JSON_HELP)
def vocab_coverage(data_sets: tuple[Path, ...], path: str, json_path: str | None) -> None:
    """Report what share of the words read in labelled data sets a vocabulary covers."""
    from ovocr.vocab import Vocabulary
    from ovocr.vocab.coverage import measure_coverage

    coverage = measure_coverage(list(data_sets), Vocabulary.load(path))
    _print_figures(coverage.format_table(), coverage.to_json(), json_path)


@vocab.command("show")
@click.argument("path", metavar="PATH")
@click.argument("items", nargs=-1, required=True, metavar="WORD|ID...")
def vocab_show(path: str, items: tuple[str, ...]) -> None:
    """Show the class id of each WORD and the word of each ID in a vocabulary."""
    from ovocr.vocab import Vocabulary

    vocabulary = Vocabulary.load(path)
    for item in items:
        class_id = int(item) if item.isascii() and item.isdecimal() else vocabulary.id(item)
        if class_id is None:
            click.echo(f"{for_terminal(item)}: not in the vocabulary")
        elif class_id >= len(vocabulary):
            raise UsageError(f"{item}: class ids of {path} go from 0 to {len(vocabulary) - 1}")
        else:
            click.echo(f"{class_id}\t{for_terminal(vocabulary.word(class_id))}")


@main.command()
@click.argument("config", type=_FOLDER, metavar="CONFIG.toml")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Replace a setting of the file.")
@click.option(
    "--nproc-per-node",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Ranks to start on this machine, by torchrun.",
)
@click.option(
    "--dry-run", is_flag=True, help="Build everything, run two steps on made data, print sizes; write nothing."
)
def train(config: Path, overrides: tuple[str, ...], nproc_per_node: int, dry_run: bool) -> None:
    """Train a vision encoder on labelled data sets, as CONFIG.toml says; go on if the run was stopped."""
    _require_torch()
    from ovocr.trainer.config_file import load_config

    # Before any rank is started: a mistake is told once.
    settings = load_config(config, overrides, check_paths=not dry_run)
    if nproc_per_node > 1:
        from ovocr.trainer.launch import launch_ranks

        debug = ["--debug"] if click.get_current_context().find_root().params["debug"] else []
        options = [part for override in overrides for part in ("--set", override)]
        options += ["--dry-run"] if dry_run else []
        launch_ranks([*debug, "train", str(config), *options], nproc_per_node)
        return
    if dry_run:
        from ovocr.trainer.dry_run import dry_run as try_out

        for line in try_out(settings):
            click.echo(line)
        return
    from ovocr.trainer.loop import train as run_training

    summary = run_training(settings)
    if summary.is_first_rank:
        click.echo(summary.format())


@main.command("eval")
@click.argument("run", type=_FOLDER)
@click.option(
    "--data",
    "data_sets",
    multiple=True,
    required=True,
    type=_FOLDER,
    metavar="DIR",
    help="Labelled images; for video heads a list.",
)
@click.option("--head", metavar="NAME", help="One of the run's.  [default: all that fit the data]")
@click.option(
    "--top-k",
    multiple=True,
    default=(1, 10, 100),
    show_default=True,
    type=click.IntRange(min=1),
    help="Centers that count as read; several times for several.",
)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(min=0), help="Processes that decode; 0: none apart."
)
@click.option("--json", "json_path", metavar="F", callback=_json_target, help=_JSON_HELP)
@click.option("--html", "html_path", metavar="F", callback=_file_target, help="Write a page with example pictures.")
@click.option(
    "--examples", default=24, show_default=True, type=click.IntRange(min=0), help="Pictures of each head on the page."
)
def evaluate_command(
    run: Path,
    data_sets: tuple[Path, ...],
    head: str | None,
    json_path: str | None,
    html_path: str | None,
    examples: int,
    **options: Any,
) -> None:
    """Measure tag recall@k of RUN over all class centers, beside the prior that always answers the same tags."""
    _require_torch()
    from ovocr.trainer.evaluation import evaluate
    from ovocr.trainer.evaluation_page import evaluation_page

    evaluation = evaluate(run, data_sets, head=head, examples=examples if html_path else 0, **options)
    if html_path is not None:
        write_text(Path(html_path), evaluation_page(evaluation))
    _print_figures(evaluation.format(), evaluation.to_json(), json_path)


@main.command()
@click.argument("run", type=_FOLDER)
@click.argument("images", nargs=-1, required=True, type=_FOLDER, metavar="IMAGE...")
@click.option("--head", help="Whose words, where the run has several heads.")
@click.option("--top-k", default=10, show_default=True, type=click.IntRange(min=1), help="Words to show.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def read(run: Path, images: tuple[Path, ...], head: str | None, top_k: int, device: str) -> None:
    """Show the words that the encoder of RUN sees in each IMAGE, with scores (cosines to their class centers).

    An IMAGE is a JPEG, PNG or WebP file.
    """
    _require_torch()
    from ovocr.trainer.reading import read_pictures

    code = 0
    for reading in read_pictures(run, list(images), head=head, top_k=top_k, device=device):
        if isinstance(reading, OvocrError):
            _print_error(reading)
            code = max(code, reading.exit_code)
        else:
            click.echo(reading.format())
    sys.exit(code)


@main.command()
@click.argument("run", type=_FOLDER)
@click.argument("out", type=_FOLDER)
def export(run: Path, out: Path) -> None:
    """Write the backbone of RUN to the folder OUT as config.json and model.safetensors."""
    _require_torch()
    from ovocr.trainer.model import export_backbone

    click.echo(f"{out}: backbone after {export_backbone(run, out)} steps")


@main.command()
@click.option("--distributed", is_flag=True, help="Only sum a number over the ranks that torchrun started.")
def doctor(distributed: bool) -> None:
    """Show versions, devices and OCR engines, each tried out; exit code 1 if something installed does not work."""
    from ovocr.doctor import examine, examine_ranks

    failed = False
    for finding in [examine_ranks()] if distributed else examine():
        failed |= finding.state == "failed"
        # Of many ranks the first speaks for all; one that fails speaks for itself.
        if finding.state == "failed" or os.environ.get("RANK", "0") == "0":
            click.echo(finding.format())
    sys.exit(1 if failed else 0)


def _print_figures(text: str, figures: dict[str, Any], json_path: str | None) -> None:
    """Text for people on standard output, unless the JSON goes there."""
    if json_path == "-":
        click.echo(json.dumps(figures, ensure_ascii=False, indent=1))
        return
    click.echo(text)
    if json_path is not None:
        write_text(Path(json_path), json.dumps(figures, ensure_ascii=False, indent=1) + "\n")


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("training", "train")

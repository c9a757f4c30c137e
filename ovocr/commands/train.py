"""Commands that train an encoder and use a trained one."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.base.files import write_text
from ovocr.commands.options import FOLDER
from ovocr.commands.output import JSON_HELP, file_target, json_target, print_error, print_figures


@click.command()
@click.argument("config", type=FOLDER, metavar="CONFIG.toml")
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
@click.option(
    "--preview",
    "preview_path",
    metavar="F",
    callback=file_target,
    help="Write a page of the first samples as the encoder gets them; train nothing.",
)
def train(
    config: Path, overrides: tuple[str, ...], nproc_per_node: int, dry_run: bool, preview_path: str | None
) -> None:
    """Train a vision encoder on labelled data sets, as CONFIG.toml says; go on if the run was stopped."""
    _require_torch()
    from ovocr.trainer.config.file import load_config

    if preview_path is not None and (dry_run or nproc_per_node > 1):
        raise UsageError("--preview trains nothing: it goes neither with --dry-run nor with --nproc-per-node")
    # Before any rank is started: a mistake is told once.
    settings = load_config(config, overrides, check_paths=not dry_run)
    if preview_path is not None:
        from ovocr.trainer.preview.page import preview_page
        from ovocr.trainer.preview.samples import SAMPLES, preview

        write_text(Path(preview_path), preview_page(config, preview(settings, SAMPLES)))
        return
    if nproc_per_node > 1:
        from ovocr.trainer.ranks.launch import launch_ranks

        debug = ["--debug"] if click.get_current_context().find_root().params["debug"] else []
        options = [part for override in overrides for part in ("--set", override)]
        options += ["--dry-run"] if dry_run else []
        launch_ranks([*debug, "train", str(config), *options], nproc_per_node)
        return
    if dry_run:
        from ovocr.trainer.training.dry_run import dry_run as try_out

        for line in try_out(settings):
            click.echo(line)
        return
    from ovocr.trainer.training.loop import train as run_training

    summary = run_training(settings)
    if summary.is_first_rank:
        click.echo(summary.format())


@click.command("eval")
@click.argument("run", type=FOLDER)
@click.option(
    "--data",
    "data_sets",
    multiple=True,
    required=True,
    type=FOLDER,
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
@click.option("--step", type=click.IntRange(min=1), help="Of which checkpoint.  [default: the newest]")
@click.option(
    "--crops",
    default=0,
    metavar="N",
    show_default="0: whole images",
    type=click.IntRange(min=0),
    help="Show N parts of each image, as crop_scale draws them.",
)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(min=0), help="Processes that decode; 0: none apart."
)
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
@click.option("--html", "html_path", metavar="F", callback=file_target, help="Write a page with example pictures.")
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
    from ovocr.trainer.evaluation.evaluate import evaluate
    from ovocr.trainer.evaluation.page import evaluation_page

    evaluation = evaluate(run, data_sets, head=head, examples=examples if html_path else 0, **options)
    if html_path is not None:
        write_text(Path(html_path), evaluation_page(evaluation))
    print_figures(evaluation.format(), evaluation.to_json(), json_path)


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("images", nargs=-1, required=True, type=FOLDER, metavar="IMAGE...")
@click.option("--head", help="Whose words, where the run has several heads.")
@click.option("--top-k", default=10, show_default=True, type=click.IntRange(min=1), help="Words to show.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def read(run: Path, images: tuple[Path, ...], head: str | None, top_k: int, device: str) -> None:
    """Show the words that the encoder of RUN sees in each IMAGE, with scores (cosines to their class centers).

    An IMAGE is a JPEG, PNG or WebP file.
    """
    _require_torch()
    from ovocr.trainer.evaluation.read import read_words

    code = 0
    for reading in read_words(run, list(images), head=head, top_k=top_k, device=device):
        if isinstance(reading, OvocrError):
            print_error(reading)
            code = max(code, reading.exit_code)
        else:
            click.echo(reading.format())
    sys.exit(code)


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("out", type=FOLDER)
def export(run: Path, out: Path) -> None:
    """Write the backbone of RUN to the folder OUT as config.json and model.safetensors."""
    _require_torch()
    from ovocr.trainer.training.model import export_backbone

    click.echo(f"{out}: backbone after {export_backbone(run, out)} steps")


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("training", "train")

"""Commands that train encoders and use trained ones."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import click

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.base.files import write_text
from ovocr.base.plural import counted
from ovocr.commands.options import FOLDER, FOLDER_OR_URL, JSON_OPTION, STEP_OPTION, count_option
from ovocr.commands.output import file_target, json_target, print_error, print_figures

_DEVICE_OPTION = click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Device of the encoder; auto: CUDA if available.",
)


@click.command()
@click.argument("config", type=FOLDER, metavar="CONFIG.toml")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Override a setting of the file; may be repeated.",
)
@click.option(
    "--extend",
    is_flag=True,
    help="Change the length of the run in run.output: new run.steps, and for schedule wsd optimizer.cooldown_steps.",
)
@count_option("--nproc-per-node", "Ranks to start on this machine with torchrun.", default=1)
@count_option("--nnodes", "Machines of the run; start the command on each.", default=1)
@count_option("--node-rank", "Number of this machine, from 0.", default=0, least=0)
@click.option(
    "--master", default="", metavar="HOST:PORT", help="Where the ranks meet: machine 0, and a free port there."
)
@click.option(
    "--dry-run", is_flag=True, help="Build everything, run two steps on random data, and print sizes; write nothing."
)
@click.option(
    "--preview",
    "preview_path",
    metavar="F",
    callback=file_target,
    help="Write a page with samples as the encoder sees them; do not train.",
)
@count_option("--preview-step", "Step of the first sample of --preview.", default=0, least=0)
def train(
    config: Path,
    overrides: tuple[str, ...],
    extend: bool,
    nproc_per_node: int,
    nnodes: int,
    node_rank: int,
    master: str,
    dry_run: bool,
    preview_path: str | None,
    preview_step: int,
) -> None:
    """Train a vision encoder on labelled data sets.

    CONFIG.toml contains the settings of the run: see docs/training.md. Run the same command again to resume.
    """
    _require_torch()
    from ovocr.trainer.config.file import load_config
    from ovocr.trainer.ranks.hosts import ONE_HOST, Hosts
    from ovocr.trainer.ranks.launch import launch_ranks
    from ovocr.trainer.tracking.trackers import check_trackers

    hosts = Hosts(count=nnodes, number=node_rank, master=master)
    launched = nproc_per_node > 1 or hosts != ONE_HOST
    if preview_path is not None and (dry_run or extend or launched):
        others = "--dry-run, --extend, --nproc-per-node or --nnodes"
        raise UsageError(f"--preview does not train: it cannot be combined with {others}")
    if preview_path is None and preview_step:
        raise UsageError("--preview-step: needs --preview F, the page to write")
    # Before ranks start, so that a mistake is reported once.
    settings = load_config(config, overrides, check_paths=not dry_run)
    if preview_path is not None:
        from ovocr.trainer.preview.page import preview_page
        from ovocr.trainer.preview.samples import SAMPLES, preview

        heads = preview(settings, SAMPLES, preview_step)
        write_text(Path(preview_path), preview_page(config, heads, preview_step))
        for name, head in heads.items():
            replaced = f"; {len(head.replaced)} more are replaced in training" if head.replaced else ""
            shown = counted(len(head.samples), "sample")
            click.echo(f"{preview_path}: head {name}: {shown} from step {preview_step} on{replaced}")
        return
    check_trackers(settings.tracking)
    if launched:
        debug = ["--debug"] if click.get_current_context().find_root().params["debug"] else []
        options = [part for override in overrides for part in ("--set", override)]
        options += ["--dry-run"] if dry_run else []
        options += ["--extend"] if extend else []
        launch_ranks([*debug, "train", str(config), *options], nproc_per_node, hosts)
        return
    if dry_run:
        from ovocr.trainer.training.dry_run import dry_run as try_out

        for line in try_out(settings, extend=extend):
            click.echo(line)
        return
    from ovocr.trainer.training.loop import train as run_training

    summary = run_training(settings, extend=extend)
    if summary.is_first_rank:
        click.echo(summary.format())


@click.command("eval")
@click.argument("run", type=FOLDER)
@click.option(
    "--data",
    "data_sets",
    multiple=True,
    required=True,
    type=FOLDER_OR_URL,
    metavar="DIR",
    help="Labelled data set, or its URL in an object store; for video heads a list of videos; may be repeated.",
)
@click.option("--head", metavar="NAME", help="Name of a head; by default all heads that match the data.")
@count_option(
    "--top-k", "Number of nearest centers that count as answers; may be repeated.", default=(1, 10, 100), multiple=True
)
@STEP_OPTION
@count_option("--crops", "Evaluate N crops of each image, drawn as in training; 0: whole images.", default=0, least=0)
@click.option(
    "--crop-text-height",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="With --crops: crops chosen by their text, instead of those of training; smallest and largest height of the "
    "drawn word's line, in pixels of the encoder's input.",
)
@click.option(
    "--crop-context",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="With --crop-text-height: smallest and largest share of the surroundings of the drawn word; 0 0 shows the "
    "word alone. By default 1 1, all that the input has room for.",
)
@click.option(
    "--min-text-height",
    default=8.0,
    type=float,
    metavar="PIXELS",
    help="Least text height of a tag that counts in word AUC and word mAP, in pixels of the encoder's input.",
)
@click.option(
    "--groups",
    type=FOLDER,
    metavar="TABLE",
    help="Table with the columns key and group, for intervals over groups of images; by default each image is a group.",
)
@count_option("--replicates", "Bootstrap replicates of the intervals.", default=1000, least=2)
@count_option("--seed", "Seed of the bootstrap.", default=0, least=0)
@click.option(
    "--correct-sampling",
    is_flag=True,
    help="Rank the answers by cosines that are corrected for the sampling of negatives in training, for recall and "
    "examples.",
)
@_DEVICE_OPTION
@count_option("--workers", "Processes that decode images; 0: decode in the main process.", default=0, least=0)
@JSON_OPTION
@click.option("--html", "html_path", metavar="F", callback=file_target, help="Write a page with example images.")
@count_option("--examples", "Images of each head on the page.", default=24, least=0)
def evaluate_command(
    run: Path,
    data_sets: tuple[Path | str, ...],
    head: str | None,
    json_path: str | None,
    html_path: str | None,
    examples: int,
    **options: Any,
) -> None:
    """Measure how well RUN reads: word AUC, word mAP and tag recall@k.

    Word AUC and word mAP measure how well the cosine of a class center separates images with a word from images without
    it, with 95% intervals. Recall@k counts the tags among the nearest of all class centers, next to a prior that always
    answers the most frequent tags.
    """
    _require_torch()
    from ovocr.trainer.evaluation.evaluate import evaluate
    from ovocr.trainer.evaluation.page import evaluation_page
    from ovocr.trainer.evaluation.terminal_report import format_evaluation

    evaluation = evaluate(run, data_sets, head=head, examples=examples if html_path else 0, **options)
    if html_path is not None:
        write_text(Path(html_path), evaluation_page(evaluation))
    print_figures(format_evaluation(evaluation), evaluation.to_json(), json_path)


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("images", nargs=-1, required=True, type=FOLDER_OR_URL, metavar="IMAGE...")
@click.option("--head", help="Name of a head, if the run has several.")
@count_option("--top-k", "Number of words per image.", default=10)
@STEP_OPTION
@click.option(
    "--correct-sampling",
    is_flag=True,
    help="Rank the words by cosines that are corrected for the sampling of negatives in training, and show these.",
)
@click.option(
    "--tile",
    type=int,
    metavar="PIXELS",
    help="Read each image in overlapping squares of this side, in pixels of the image; by default it is shown whole.",
)
@_DEVICE_OPTION
@click.option(
    "--json",
    "json_path",
    metavar="F",
    callback=json_target,
    help="Write the words as JSON to this file; - for standard output.",
)
@click.option(
    "--html", "html_path", metavar="F", callback=file_target, help="Write a page with the images and their words."
)
def read(
    run: Path, images: tuple[Path | str, ...], json_path: str | None, html_path: str | None, **options: Any
) -> None:
    """Show the words that RUN reads in images.

    An IMAGE is a JPEG, PNG or WebP file, on a disk or in an object store (s3://bucket/image.jpg). Each word has the
    cosine of the image's embedding and its class center; with --correct-sampling, the corrected cosine. With --tile,
    a word has its highest cosine over all tiles, and the center of that tile.
    """
    _require_torch()
    from ovocr.trainer.evaluation.read import read_words
    from ovocr.trainer.evaluation.reading.image_words import Reading
    from ovocr.trainer.evaluation.reading.page import reading_page

    code = 0
    readings: list[Reading] = []
    for reading in read_words(run, images, with_jpeg=html_path is not None, **options):
        if isinstance(reading, OvocrError):
            print_error(reading)
            code = max(code, reading.exit_code)
            continue
        if json_path != "-":
            click.echo(reading.format())
        if json_path is not None or html_path is not None:
            readings.append(reading)
    if html_path is not None:
        corrected = options["correct_sampling"]
        page = reading_page(run, readings, tile=options["tile"], correct_sampling=corrected)
        write_text(Path(html_path), page)
    print_figures("", [reading.to_json() for reading in readings], json_path)
    sys.exit(code)


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("out", type=FOLDER)
@STEP_OPTION
@click.option("--onnx", is_flag=True, help="Write onnx/model.onnx too, and compare it with the encoder.")
@click.option(
    "--measures",
    type=FOLDER,
    metavar="F",
    help="JSON of `ovocr eval RUN --json F` for the model card; by default the run's own evaluation.",
)
@click.option("--force", is_flag=True, help="Replace an earlier export in OUT; its other files stay.")
def export(
    run: Path, out: Path, step: int | Literal["best"] | None, onnx: bool, measures: Path | None, force: bool
) -> None:
    """Write the encoder of RUN to the folder OUT, without its heads.

    OUT gets config.json and model.safetensors, the code with which transformers loads them (AutoModel and
    AutoImageProcessor with trust_remote_code=True), preprocessor_config.json, and a model card, README.md.
    """
    _require_torch()
    from ovocr.trainer.export.encoder_folder import export_encoder

    click.echo(export_encoder(run, out, step, onnx=onnx, measures=measures, force=force).format())


def _require_torch() -> None:
    if find_spec("torch") is None or find_spec("pydantic") is None:
        raise MissingExtraError("training", "train")

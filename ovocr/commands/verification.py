"""Commands that look into labelled data sets."""

from pathlib import Path

import click

from ovocr.commands.options import FOLDER
from ovocr.commands.output import JSON_HELP, json_target, print_figures, print_left_out


@click.command("verify")
@click.argument("root", metavar="DIR", type=FOLDER)
@click.option("--quick", is_flag=True, help="Hashes, counts and indexes only: no picture is decoded, no line cut.")
@click.option("--unfinished-ok", is_flag=True, help="Shards that are not finished are reported, but no failure.")
@click.option("--workers", type=int, metavar="N", help="Processes, one shard each.  [default: one a core]")
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def verify_command(root: Path, quick: bool, unfinished_ok: bool, workers: int | None, json_path: str | None) -> None:
    """Check every record, index, count and hash of the labelled data set DIR; nothing is changed.

    Each broken promise is a line. Exit code 1 where there is one, or a shard is not finished.
    """
    from ovocr.labelgen.verification.verify import VerifyOptions, verify

    report = verify(VerifyOptions(root=root, quick=quick, workers=workers), progress=True)
    print_figures(report.format(), report.to_json(), json_path)
    if report.broken or (report.unfinished and not unfinished_ok):
        raise SystemExit(1)


@click.command("why")
@click.argument("root", metavar="DIR", type=FOLDER)
@click.argument("key", metavar="KEY")
@click.argument("tag", metavar="[TAG]", required=False)
@click.option("--json", "json_path", metavar="F", callback=json_target, help=JSON_HELP)
def why_command(root: Path, key: str, tag: str | None, json_path: str | None) -> None:
    """Show where each tag of the image KEY in the labelled data set DIR came from: line, place, slots.

    TAG is a word or a class id: then that one alone and, where the image does not have it, why. Where several images
    have the key, each is shown.
    """
    from ovocr.labelgen.provenance.format import format_stories
    from ovocr.labelgen.provenance.provenance import explain

    explanation = explain(root, key, tag)
    print_left_out(explanation.left_out)
    print_figures(format_stories(explanation.stories), explanation.to_json(), json_path)

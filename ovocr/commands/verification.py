"""Commands that check labelled data sets."""

from pathlib import Path

import click

from ovocr.commands.options import FOLDER_OR_URL, JSON_OPTION
from ovocr.commands.output import print_figures, print_left_out


@click.command("verify")
@click.argument("root", metavar="DIR", type=FOLDER_OR_URL)
@click.option("--quick", is_flag=True, help="Check only hashes, counts and indexes; decode no image.")
@click.option("--unfinished-ok", is_flag=True, help="Report unfinished shards without failing.")
@click.option("--workers", type=int, metavar="N", help="Processes, one shard each; by default one per core.")
@JSON_OPTION
def verify_command(
    root: Path | str, quick: bool, unfinished_ok: bool, workers: int | None, json_path: str | None
) -> None:
    """Check a labelled data set.

    Every record, index, count and hash of DIR, a folder or a URL in an object store (s3://bucket/labels), is checked;
    nothing is changed. Each error is one line. The exit code is 1 if there is an error or an unfinished shard.
    """
    from ovocr.labelgen.verification.verify import VerifyOptions, verify

    report = verify(VerifyOptions(root=root, quick=quick, workers=workers), progress=True)
    print_figures(report.format(), report.to_json(), json_path)
    if report.broken or (report.unfinished and not unfinished_ok):
        raise SystemExit(1)


@click.command("why")
@click.argument("root", metavar="DIR", type=FOLDER_OR_URL)
@click.argument("key", metavar="KEY")
@click.argument("tag", metavar="[TAG]", required=False)
@JSON_OPTION
def why_command(root: Path | str, key: str, tag: str | None, json_path: str | None) -> None:
    """Show where the tags of an image come from.

    For each tag of the image KEY in the labelled data set DIR, a folder or a URL in an object store
    (s3://bucket/labels), show its line, box and slots. TAG is a word or a class id: show only this tag, or the reason
    why the image does not have it. If several images have the key, all are shown.
    """
    from ovocr.labelgen.provenance.format import format_stories
    from ovocr.labelgen.provenance.provenance import explain

    explanation = explain(root, key, tag)
    print_left_out(explanation.left_out)
    print_figures(format_stories(explanation.stories), explanation.to_json(), json_path)

"""The command that looks at the machine."""

import os
import sys

import click


@click.command()
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

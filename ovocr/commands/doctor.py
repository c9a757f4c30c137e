"""The command that checks the installation."""

import os
import sys

import click


@click.command()
@click.option(
    "--distributed", is_flag=True, help="Check only the communication between the ranks that torchrun started."
)
def doctor(distributed: bool) -> None:
    """Check packages, OCR engines and devices.

    Every installed part is tried. The exit code is 1 if an installed part does not work.
    """
    from ovocr.doctor import examine, examine_ranks

    failed = False
    for finding in [examine_ranks()] if distributed else examine():
        failed |= finding.state == "failed"
        # Only the first rank reports success.
        if finding.state == "failed" or os.environ.get("RANK", "0") == "0":
            click.echo(finding.format())
    sys.exit(1 if failed else 0)

"""Resolves or installs every extra, and the combinations that are used together, with an old pip and the newest one.

    python -m tests.install.matrix dist --pin torch==2.13.0

prints a table in Markdown and exits with 1 if a combination fails. Small ones are installed into a fresh environment
and checked. Those with packages of some hundred megabytes are only resolved, by `pip install --dry-run` in an empty
environment. Nothing is constrained; ``--pin`` adds a requirement of a user to the combinations that need torch, because
another release of torch may bring gigabytes.
"""

import argparse
import configparser
import platform
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from tests.install.environments import Installed, Pip, make_environment

ROOT = Path(__file__).resolve().parents[2]
# The oldest pip that is supported, which comes with Python 3.11 and 3.12, and the newest.
PIPS = ("pip==23.2.1", "pip")
COMBINATIONS = (
    "all,test",
    "all,interop,test",
    "all,dev",
    "ocr,train,vocab,bench",
    "train,wandb,mlflow",
    "all,wandb,mlflow",
)
# Packages of hundreds of megabytes come with these extras: they are resolved, not installed.
LARGE = {"all", "dali", "interop", "paddle", "ray", "test", "train"}
WITH_TORCH = {"all", "train"}
LIMIT_S = 120


def every_extra() -> list[str]:
    """Returns the names of the extras in setup.cfg."""
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg", encoding="utf-8")
    return list(configuration["options.extras_require"])


def the_wheel(dist: Path) -> Path:
    """Returns the only wheel of a folder. Exits with a message if there is another number of them."""
    wheels = sorted(dist.glob("ovocr-*.whl"))
    if len(wheels) != 1:
        sys.exit(f"{dist}: {len(wheels)} wheels of ovocr instead of one; run `make dist`")
    return wheels[0].resolve()


def try_combination(
    pip: Pip, wheel: Path, extras: str, pins: list[str], *, work: Path, limit_s: float
) -> tuple[str, Installed, str]:
    """Returns the way (resolved or installed), the result, and the reason of a failure or ""."""
    names = set(extras.split(",")) - {""}
    requirements = [f"{wheel}[{extras}]" if extras else str(wheel), *(pins if names & WITH_TORCH else [])]
    python = make_environment(Path(tempfile.mkdtemp(dir=work)))
    dry = bool(names & LARGE)
    installed = pip.install(python, requirements, dry=dry, folder=work, limit_s=limit_s)
    reason = "" if installed.outcome.ok else installed.outcome.reason()
    if not dry and not reason:
        check = pip.check(python)
        reason = "" if check.ok else check.reason()
    return "resolved" if dry else "installed", installed, reason


def main() -> None:
    """Parses the arguments, tries everything, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, help="folder with the wheel (make dist)")
    parser.add_argument("--pin", action="append", default=[], help="a requirement beside those that need torch")
    parser.add_argument("--only", action="append", help="extras to try, such as all,test, instead of everything")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds that each may take (%(default)s)")
    arguments = parser.parse_args()
    wheel = the_wheel(arguments.dist)
    combinations = arguments.only or ["", *every_extra(), *COMBINATIONS]
    now = datetime.now(timezone.utc)
    print(f"{wheel.name}, Python {platform.python_version()}, {platform.machine()}, {now:%Y-%m-%d %H:%M} UTC")
    print(f"pins where torch is needed: {', '.join(arguments.pin) or 'none'}; limit: {arguments.limit:.0f} s\n")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="ovocr-install-") as work:
        pips = [Pip(requirement, Path(tempfile.mkdtemp(dir=work))) for requirement in PIPS]
        print("| extras | pip | how | works | seconds | CPU s | packages |\n|---|---|---|---|---|---|---|", flush=True)
        for extras in combinations:
            for pip in pips:
                how, installed, reason = try_combination(
                    pip, wheel, extras, arguments.pin, work=Path(work), limit_s=arguments.limit
                )
                failures += bool(reason)
                row = [f"`{extras}`" if extras else "none", pip.version, how, f"no: {reason}" if reason else "yes"]
                outcome = installed.outcome
                row += [f"{outcome.seconds:.0f}", f"{outcome.cpu_s:.0f}", str(len(installed.packages))]
                print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{failures} failed" if failures else "\nall work")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

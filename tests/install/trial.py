"""Installs the source distribution and the wheel outside of the checkout, and runs ovocr from an empty folder.

    python -m tests.install.trial dist --pin torch==2.13.0

The source distribution is unpacked, and the two install lines of README.md are run in it: one installs from this
checkout, the other from the wheel file. Each has a fresh environment, a fresh cache, and a folder with the files of
``FILES`` only. Prints each command with its time and exits with 1 at the first one that fails.
"""

import argparse
import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.install.environments import Outcome, Pip, make_environment, run
from tests.install.matrix import PIPS, ROOT, the_wheel

FILES = ("examples/reading/held-out.tar", "examples/reading/words.txt", "configs/demo.toml")
# A few steps of the demo's configuration.
TRAIN = (
    "ovocr train demo.toml --set run.steps=4 --set run.checkpoint_every=4 --set run.log_every=1"
    " --set optimizer.warmup_steps=1 --set heads.ocr.global_batch=8"
)
# Commands, each with a pattern that its output has. demo.toml reads demo/train and writes demo/run.
COMMANDS = {
    "ovocr --help": r"build-labels[\s\S]*vocab",
    "ovocr doctor": r"ok +rapidocr[\s\S]*ok +torch",
    "ovocr build-labels held-out.tar --vocab words.txt --out demo/train": r"24 images in 1 shard: 24 ok",
    "ovocr verify demo/train": "",
    "ovocr vocab coverage demo/train --html coverage.html": r"in vocabulary +[\d,]+",
    "ovocr inspect demo/train --html images.html": "",
    f"{TRAIN} --dry-run": "",
    TRAIN: r"4 steps in",
    "ovocr eval demo/run --data demo/train --crops 2 --html report.html": r"word AUC",
    "ovocr export demo/run encoder": "",
}
WRITTEN = ("coverage.html", "images.html", "report.html", "encoder/model.safetensors")
WITH_VOCAB = {"ovocr vocab build demo/train --out built.txt": ""}


def install_lines() -> list[str]:
    """Returns what README.md installs from a checkout and from a wheel, such as ".[ocr,train]"."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^    pip install '(.*)'$", readme, re.MULTILINE)


def unpack(dist: Path, folder: Path) -> Path:
    """Unpacks the only source distribution of a folder and returns the checkout in it, with the wheel in its dist/."""
    archives = sorted(dist.glob("ovocr-*.tar.gz"))
    if len(archives) != 1:
        sys.exit(f"{dist}: {len(archives)} source distributions of ovocr instead of one; run `make dist`")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    (checkout,) = folder.iterdir()
    (checkout / "dist").mkdir()
    shutil.copy(the_wheel(dist), checkout / "dist")
    return checkout


def stop_unless(outcome: Outcome, what: str, pattern: str = "") -> None:
    """Prints a command with its time. Exits with its output if it failed or lacks the pattern."""
    if not outcome.ok or not re.search(pattern, outcome.output):
        sys.exit(f"{outcome.output}\nfailed: {what}" + (f" (expected: {pattern})" if outcome.ok else ""))
    print(f"| `{what}` | {outcome.seconds:.0f} |", flush=True)


def try_installed(python: Path, commands: dict[str, str], folder: Path, checkout: Path) -> None:
    """Runs commands in a folder with the files that they need. Exits at the first failure."""
    for name in FILES:
        shutil.copy(checkout / name, folder)
    binaries = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": binaries, "XDG_CACHE_HOME": str(folder / "cache")}
    where = run([python, "-c", "import ovocr; print(ovocr.__file__)"], folder=folder, settings=settings)
    stop_unless(where, "python -c 'import ovocr; print(ovocr.__file__)'", re.escape(str(python.parent.parent)))
    for command, pattern in commands.items():
        stop_unless(run(["bash", "-c", command], folder=folder, settings=settings), command, pattern)
    for name in WRITTEN:
        if not (folder / name).stat().st_size:
            sys.exit(f"{name}: is empty")


def main() -> None:
    """Parses the arguments, installs and runs everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, help="folder with the wheel and the source distribution (make dist)")
    parser.add_argument("--pin", action="append", default=[], help="a requirement beside the install line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ovocr-trial-") as name:
        work = Path(name)
        (work / "unpacked").mkdir()
        checkout = unpack(arguments.dist, work / "unpacked")
        for number, (requirement, pip_release) in enumerate(zip(install_lines(), PIPS, strict=True)):
            pip = Pip(pip_release, work / f"pip{number}")
            python = make_environment(work / f"environment{number}")
            installed = pip.install(python, [requirement, *arguments.pin], folder=checkout)
            print("\n| command | seconds |\n|---|---|", flush=True)
            pins = "".join(f" {pin}" for pin in arguments.pin)
            stop_unless(installed.outcome, f"pip install '{requirement}'{pins} (pip {pip.version})")
            stop_unless(pip.check(python), "pip check")
            folder = work / f"elsewhere{number}"
            folder.mkdir()
            commands = COMMANDS | (WITH_VOCAB if "vocab" in requirement else {})
            try_installed(python, commands, folder, checkout)
    print("\nall work")


if __name__ == "__main__":
    main()

"""A folder with all files, data sets and runs that the commands of documents name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT
from tests.documents.places import make_place

TIMEOUT_S = 300


def execute(folder: Path, command: str) -> str:
    """Runs a command of a shell in a folder, with this environment's programs, and returns what it prints."""
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": binaries, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "Warning" not in done.stderr, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with files, labelled data sets, and a trained encoder. Tests copy it."""
    folder = tmp_path_factory.mktemp("documents")
    make_place(folder)
    execute(folder, "ovocr build-labels shards/a.tar --vocab words.txt --out labels")
    execute(folder, "ovocr build-labels many.tar --lines lines.jsonl --vocab words.txt --out more-labels")
    shutil.copytree(folder / "labels", folder / "demo" / "train")
    execute(folder, "ovocr train configs/demo.toml --set run.output=run")
    execute(folder, "ovocr export run encoder")
    return folder


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    """Returns a copy of the prepared folder."""
    return Path(shutil.copytree(prepared, tmp_path / "place"))

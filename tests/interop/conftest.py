"""Scripts that run in the environments of mxnet and DALI. Environment variables name their Python executables.

The script of test_transformers.py runs in two environments, which the test chooses itself.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

Run = Callable[..., None]


def foreign_side(variable: str, script: str) -> Run:
    """Returns a function that runs a script of this folder. Skips the test if the variable names no executable.

    variable: name of the environment variable. script: file name.
    """
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python executable (`make interop` makes the environment and sets it)")

    def run(*arguments: object) -> None:
        command = [python, "-W", "ignore", str(HERE / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"

    return run


@pytest.fixture(scope="session")
def mxnet_side() -> Run:
    return foreign_side("OVOCR_MXNET_PYTHON", "mxnet_side.py")


@pytest.fixture(scope="session")
def dali_side() -> Run:
    return foreign_side("OVOCR_DALI_PYTHON", "dali_side.py")


@pytest.fixture(scope="session")
def dali_loader_side() -> Run:
    return foreign_side("OVOCR_DALI_PYTHON", "dali_loader_side.py")


@pytest.fixture(scope="session")
def dali_python() -> str:
    python = os.environ.get("OVOCR_DALI_PYTHON")
    if not python:
        pytest.skip("OVOCR_DALI_PYTHON names no Python executable (`make interop` makes the environment and sets it)")
    return python

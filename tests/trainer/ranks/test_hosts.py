"""Runs on several machines: the options, and the numbers of their ranks. Real networks: tests/faults/hosts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovocr.base.errors import UsageError
from ovocr.trainer.ranks.hosts import Hosts, number_ranks_over_hosts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 1}, "--node-rank and --master: need --nnodes M"),
        ({"master": "host1:1"}, "--node-rank and --master: need --nnodes M"),
        ({"count": 2}, r"--master \(not given\): give HOST:PORT"),
        ({"count": 2, "master": "host1"}, "--master host1: give HOST:PORT"),
        ({"count": 2, "master": "host1:http"}, "--master host1:http: give HOST:PORT"),
        ({"count": 2, "master": "host1:99999"}, "--master host1:99999: give HOST:PORT"),
        ({"count": 2, "number": 2, "master": "host1:1"}, "--node-rank 2: must be below --nnodes, 2"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        Hosts(**options)  # type: ignore[arg-type]


def test_command_line_refuses_them(config_file: Path) -> None:
    command = [sys.executable, "-m", "ovocr", "train", str(config_file), "--nnodes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr == (
        "ovocr: --master (not given): give HOST:PORT, a name or address of machine 0 and a free port there\n"
    )


def test_ranks_are_numbered_over_all_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}
    for name, value in {**own, "MASTER_PORT": "7", "TORCHELASTIC_USE_AGENT_STORE": "True", "OVOCR_HOSTS": ""}.items():
        monkeypatch.setenv(name, value)
    Hosts(count=3, number=2, master="fe80::1:29500").announce()
    number_ranks_over_hosts()
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("9", "12")
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("fe80::1", "29500")
    assert "TORCHELASTIC_USE_AGENT_STORE" not in os.environ
    number_ranks_over_hosts()
    assert os.environ["RANK"] == "9"

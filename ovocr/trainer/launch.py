"""Starting several ranks on this machine."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from ovocr.cores import available_cores


def launch_ranks(config: Path, overrides: Iterable[str], ranks: int) -> NoReturn:
    """Become torchrun, which runs `ovocr train` as this many ranks and ends them when it is told to end."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    settings = [part for override in overrides for part in ("--set", override)]
    # Python looks for `-m ovocr` in the current folder first, where a folder of that name may be something else: a
    # checkout, seen from outside. With this package on the path, it is found all the same.
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, available_cores() // ranks)))
    os.execve(
        sys.executable,
        [*torchrun, "-m", "ovocr", "train", str(config), *settings],
        {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": threads},
    )

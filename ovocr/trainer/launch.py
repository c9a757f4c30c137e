"""Starting several ranks on this machine."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def launch_ranks(config: Path, overrides: Iterable[str], ranks: int) -> int:
    """Run `ovocr train` as this many ranks under torchrun; its exit code."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    settings = [part for override in overrides for part in ("--set", override)]
    return subprocess.run([*torchrun, "-m", "ovocr", "train", str(config), *settings], check=False).returncode

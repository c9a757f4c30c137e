"""A small file system, for tests of full disks."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# Mounts a small file system on a folder, in a mount namespace that ends with the commands in it.
SMALL_DISK = "mount -t tmpfs -o size={size} tmpfs {folder} && "


def in_small_disk(folder: Path, size: str, *steps: str) -> "subprocess.CompletedProcess[str]":
    """Runs shell commands with a small file system at ``folder``. Skips the test if it cannot be mounted."""
    unshare = shutil.which("unshare")
    namespace = [unshare or "", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = SMALL_DISK.format(size=size, folder=folder)
    if unshare is None or subprocess.run([*namespace, "bash", "-c", mount + "true"], check=False).returncode:
        pytest.skip("cannot mount a file system here")
    script = mount + "\n".join(steps)
    return subprocess.run([*namespace, "bash", "-c", script], capture_output=True, text=True, timeout=200, check=False)

"""Full and read-only disks, folders and sources that vanish: one line, exit 1, and after the mend the same bytes."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SHARDS, IMAGES = 4, 4
# So many other files stand before the last source's pictures: it is not read ahead while the second is written.
FILES_BETWEEN = 100
TIMEOUT_S = 60
# A folder as a small file system of its own, in a mount namespace that ends with the commands in it.
SMALL_DISK = "mount -t tmpfs -o size={size} tmpfs {folder} && "
Draw = Callable[..., bytes]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, drawn: Draw, encoded: Draw, tar: Draw) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for shard in range(SHARDS):
        pictures = [(f"{n}.png", encoded(drawn(f"river stone {shard} {n}"), "PNG")) for n in range(IMAGES)]
        others = [("notes.txt", b"")] * (FILES_BETWEEN if shard == 2 else 0)
        tar(folder / f"{shard}.tar", [*others, *pictures])
    return folder


@pytest.fixture(scope="module")
def whole(sources: Path, vocabulary: Path) -> dict[str, str]:
    """Hashes of the files of a run that nothing happened to."""
    done = subprocess.run(command(sources, sources / "out", vocabulary), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return digests(sources / "out")


def command(sources: Path, out: Path, vocabulary: Path) -> list[str]:
    arguments = ["build-labels", str(sources / "*.tar"), "--out", str(out), "--vocab", str(vocabulary)]
    return [sys.executable, "-m", "ovocr", *arguments, "--workers", "1"]


def digests(root: Path) -> dict[str, str]:
    """Of all files but the statistics, which hold times."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def check_unfinished(root: Path, whole: dict[str, str]) -> None:
    """Every file that has its final name is complete, and there are no others."""
    assert digests(root).items() <= whole.items()
    assert not [path for path in root.rglob("*") if path.suffix in (".partial", ".lock")]


def one_line(stderr: str) -> str:
    assert re.fullmatch(r"ovocr: [^\n]+\n", stderr), stderr
    return stderr


def in_small_disk(folder: Path, size: str, *steps: str) -> subprocess.CompletedProcess[str]:
    """Run steps of a shell with a small file system at ``folder``; skip where this may not be mounted."""
    unshare = shutil.which("unshare")
    namespace = [unshare or "", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    mount = SMALL_DISK.format(size=size, folder=folder)
    if unshare is None or subprocess.run([*namespace, "bash", "-c", mount + "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    script = mount + "\n".join(steps)
    return subprocess.run([*namespace, "bash", "-c", script], capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize(
    ("size", "file"), [("8k", "manifest.json"), ("16k", "ocr/00000"), ("28k", "rec/00000"), ("76k", "")]
)
def test_a_full_disk(sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path, size: str, file: str):
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    label = " ".join(f"'{word}'" for word in command(sources, disk / "out", vocabulary))
    done = in_small_disk(
        disk,
        size,
        f"{label} > /dev/null; code=$?",
        f"cp -r {disk}/out {kept}",
        f"mount -o remount,size=10m {disk} && {label} > /dev/null || exit 99",
        f"cp -r {disk}/out {tmp_path}/mended; exit $code",
    )
    assert done.returncode == 1, done.stderr
    assert one_line(done.stderr).endswith(": No space left on device\n")
    assert file in done.stderr
    check_unfinished(kept, whole)
    assert digests(tmp_path / "mended") == whole


def test_a_read_only_disk(sources: Path, vocabulary: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    label = " ".join(f"'{word}'" for word in command(sources, disk / "out", vocabulary))
    done = in_small_disk(disk, "1m", f"mount -o remount,ro {disk}", label)
    assert done.returncode == 1
    assert (
        one_line(done.stderr)
        == f"ovocr: --out {disk}/out: {disk} cannot be written to; allow it or choose another --out\n"
    )


class Held:
    """A run that is stopped (SIGSTOP) in its second shard, while something happens to its files."""

    def __init__(self, arguments: list[str], out: Path) -> None:
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + TIMEOUT_S
        while not (out / "records" / "00001.parquet.partial").exists():  # the last of its files to be opened
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.002)
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> str:
        self.process.send_signal(signal.SIGCONT)
        _, stderr = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 1
        return one_line(stderr)


def mend(arguments: list[str], out: Path, whole: dict[str, str]) -> None:
    subprocess.run(arguments, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S, check=True)
    assert digests(out) == whole


def test_an_output_folder_that_is_removed_during_the_run(
    sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path
):
    out = tmp_path / "out"
    arguments = command(sources, out, vocabulary)
    held = Held(arguments, out)
    shutil.rmtree(out)
    assert str(out) in held.go_on()
    assert digests(out) == {}
    mend(arguments, out, whole)


def test_a_manifest_that_is_removed_during_the_run(
    sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path
):
    out = tmp_path / "out"
    held = Held(command(sources, out, vocabulary), out)
    (out / "manifest.json").rename(tmp_path / "manifest.json")
    assert held.go_on() == f"ovocr: {out}: its manifest.json has been removed during the run; start the command again\n"
    check_unfinished(out, whole)
    (tmp_path / "manifest.json").rename(out / "manifest.json")
    mend(command(sources, out, vocabulary), out, whole)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), r"has \d+ bytes, had \d+ when the run was planned; .*"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read: No such file or directory"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/proc/self/mem"), r"has 0 bytes, had \d+ when the run was planned; .*"),
    ],
    ids=["gone", "a folder", "a dangling link", "a link to itself", "a file that only fails"],
)
def test_a_source_that_cannot_be_read_any_more(
    sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path, happens: Callable[[Path], None], reason: str
):
    # The sources stand in the manifest: they must have the same path as those of the whole run.
    out, last = tmp_path / "out", sources / "3.tar"
    arguments = command(sources, out, vocabulary)
    held = Held(arguments, out)
    last.rename(tmp_path / "away")
    try:
        happens(last)
        assert re.fullmatch(f"ovocr: {re.escape(str(last))}: {reason}\n", held.go_on())
        check_unfinished(out, whole)
    finally:
        if last.is_symlink():
            last.unlink()
        elif last.exists():
            last.rmdir()
        (tmp_path / "away").rename(last)
    mend(arguments, out, whole)

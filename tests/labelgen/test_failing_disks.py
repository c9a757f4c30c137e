"""Full and read-only disks, removed folders and sources: one line, exit 1, and the same bytes after the repair."""

import hashlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.labelgen.data_sets import wait_for_writer
from tests.small_disk import in_small_disk

SHARDS, IMAGES = 4, 4
# Other files before the images of a source. They keep the last source from being read ahead.
FILES_BETWEEN = 100
TIMEOUT_S = 60
Draw = Callable[..., bytes]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, drawn: Draw, encoded: Draw, tar: Draw) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for shard in range(SHARDS):
        images = [(f"{n}.png", encoded(drawn(f"river stone {shard} {n}"), "PNG")) for n in range(IMAGES)]
        others = [("notes.txt", b"")] * (FILES_BETWEEN if shard == 2 else 0)
        tar(folder / f"{shard}.tar", [*others, *images])
    return folder


@pytest.fixture(scope="module")
def whole(sources: Path, vocabulary: Path) -> dict[str, str]:
    """Returns the hashes of the files of an undisturbed run."""
    done = subprocess.run(command(sources, sources / "out", vocabulary), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return digests(sources / "out")


def command(sources: Path, out: Path, vocabulary: Path) -> list[str]:
    arguments = ["build-labels", str(sources / "*.tar"), "--out", str(out), "--vocab", str(vocabulary)]
    return [sys.executable, "-m", "ovocr", *arguments, "--workers", "1"]


def digests(root: Path) -> dict[str, str]:
    """Returns the hash of every file, except statistics, which contain times."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats"]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def check_unfinished(root: Path, whole: dict[str, str]) -> None:
    """Checks that every file is complete, and that no temporary files are left."""
    assert digests(root).items() <= whole.items()
    assert not [
        path for path in root.rglob("*") if path.suffix in (".partial", ".lock") or path.name.startswith(".making-")
    ]


def one_line(stderr: str) -> str:
    assert re.fullmatch(r"ovocr: [^\n]+\n", stderr), stderr
    return stderr


@pytest.mark.parametrize(
    ("size", "file"), [("8k", "manifest.json"), ("20k", "ocr/00000"), ("28k", "rec/00000"), ("76k", "")]
)
def test_a_full_disk_is_a_one_line_error_and_the_run_resumes(
    sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path, size: str, file: str
):
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    label = " ".join(f"'{word}'" for word in command(sources, disk / "out", vocabulary))
    done = in_small_disk(
        disk,
        size,
        f"{label} > /dev/null; code=$?",
        f"cp -r {disk}/out {kept}",
        f"mount -o remount,size=10m {disk} && {label} > /dev/null || exit 99",
        f"cp -r {disk}/out {tmp_path}/repaired; exit $code",
    )
    assert done.returncode == 1, done.stderr
    assert one_line(done.stderr).endswith(": No space left on device\n")
    assert file in done.stderr
    check_unfinished(kept, whole)
    assert digests(tmp_path / "repaired") == whole


def test_a_read_only_disk_is_a_one_line_error(sources: Path, vocabulary: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    label = " ".join(f"'{word}'" for word in command(sources, disk / "out", vocabulary))
    done = in_small_disk(disk, "1m", f"mount -o remount,ro {disk}", label)
    assert done.returncode == 1
    assert (
        one_line(done.stderr)
        == f"ovocr: --out {disk}/out: {disk} is not writable; change its permissions or choose another --out\n"
    )


class PausedRun:
    """A run that is paused (SIGSTOP) in its second shard, while a test changes its files."""

    def __init__(self, arguments: list[str], out: Path) -> None:
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for_writer(out, 1, self.process, "records/*.parquet")  # the last file that is opened
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> str:
        self.process.send_signal(signal.SIGCONT)
        _, stderr = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 1
        return one_line(stderr)


def check_rerun(arguments: list[str], out: Path, whole: dict[str, str]) -> None:
    subprocess.run(arguments, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S, check=True)
    assert digests(out) == whole


def test_removing_the_output_folder_ends_the_run(
    sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path
):
    out = tmp_path / "out"
    arguments = command(sources, out, vocabulary)
    paused = PausedRun(arguments, out)
    shutil.rmtree(out)
    assert str(out) in paused.resume()
    assert digests(out) == {}
    check_rerun(arguments, out, whole)


def test_removing_the_manifest_ends_the_run(sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path):
    out = tmp_path / "out"
    paused = PausedRun(command(sources, out, vocabulary), out)
    (out / "manifest.json").rename(tmp_path / "manifest.json")
    assert paused.resume() == f"ovocr: {out}: its manifest.json was removed during the run; start the command again\n"
    check_unfinished(out, whole)
    (tmp_path / "manifest.json").rename(out / "manifest.json")
    check_rerun(command(sources, out, vocabulary), out, whole)


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
def test_a_source_that_becomes_unreadable_ends_the_run(
    sources: Path, vocabulary: Path, whole: dict[str, str], tmp_path: Path, happens: Callable[[Path], None], reason: str
):
    # The manifest has the paths of the sources, which must be the paths of the undisturbed run.
    out, last = tmp_path / "out", sources / "3.tar"
    arguments = command(sources, out, vocabulary)
    paused = PausedRun(arguments, out)
    last.rename(tmp_path / "away")
    try:
        happens(last)
        assert re.fullmatch(f"ovocr: {re.escape(str(last))}: {reason}\n", paused.resume())
        check_unfinished(out, whole)
    finally:
        if last.is_symlink():
            last.unlink()
        elif last.exists():
            last.rmdir()
        (tmp_path / "away").rename(last)
    check_rerun(arguments, out, whole)

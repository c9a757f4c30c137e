"""Temporary folders are removed: at the end, after an error, and after a kill by a later process."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ovocr.base.temporary import temporary_folder
from ovocr.processes.shard_map import map_shards


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


def make_old(path: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))


def test_folder_is_removed_with_its_files_but_not_what_a_link_leads_to(folder: Path) -> None:
    kept = folder / "kept"
    kept.mkdir()
    with temporary_folder("shard") as own:
        assert own.parent == folder
        assert own.name.startswith("ovocr-shard-")
        (own / "link").symlink_to(kept)
        (own / "sub").mkdir()
    with pytest.raises(ZeroDivisionError), temporary_folder("shard"):
        raise ZeroDivisionError
    assert list(folder.iterdir()) == [kept]


def test_folder_of_a_killed_process_is_removed_by_the_next_one(folder: Path) -> None:
    code = "from ovocr.base.temporary import temporary_folder\n"
    code += "with temporary_folder('shard') as own: print(own, flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        left = Path(process.stdout.readline().strip())
        make_old(left)
        with temporary_folder("shard"):
            assert left.exists()  # its process is active
        process.send_signal(signal.SIGKILL)
        process.wait()
    make_old(left)
    with temporary_folder("upload"):
        assert left.exists()  # it has another purpose
    with temporary_folder("shard"):
        assert not left.exists()


def test_new_folder_of_another_process_stays(folder: Path) -> None:
    other = folder / "ovocr-shard-1-abc"  # may not be locked yet
    other.mkdir()
    with temporary_folder("shard"):
        assert other.exists()


def hold(number: int) -> int:
    with temporary_folder("shard") as own:
        (own / "file").write_text("x")
        if number:
            time.sleep(600)
    return number


def test_folders_of_terminated_workers_are_removed(folder: Path) -> None:
    with temporary_folder("upload") as own:
        with closing(map_shards(hold, [0, 1, 2], workers=2)) as results:
            assert next(results) == 0
            deadline = time.monotonic() + 60
            while len(list(folder.glob("ovocr-shard-*/file"))) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert list(folder.iterdir()) == [own]

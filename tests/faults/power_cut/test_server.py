"""The file system shows a folder: names, data, maps, locks and two mounts of one folder."""

import fcntl
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.power_cut.mounting import mounted


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Returns two mounts of one folder."""
    root = tmp_path_factory.mktemp("mounts")
    (root / "folder").mkdir()
    with mounted(root / "folder", root / "one") as one, mounted(root / "folder", root / "other") as other:
        yield one, other


def test_files_and_folders(mounts: tuple[Path, Path]):
    one, other = mounts
    (one / "deep" / "er").mkdir(parents=True)
    (one / "file").write_text("text")
    os.rename(one / "file", one / "deep" / "moved")
    os.link(one / "deep" / "moved", one / "linked")
    os.symlink("linked", one / "soft")
    assert sorted(path.relative_to(other).as_posix() for path in other.rglob("*")) == [
        "deep",
        "deep/er",
        "deep/moved",
        "linked",
        "soft",
    ]
    assert (other / "soft").read_text() == "text"
    assert os.stat(other / "linked").st_nlink == 2
    os.chmod(one / "linked", 0o640)
    os.utime(one / "linked", (1, 2))
    found = os.stat(other / "linked")
    assert (found.st_mode & 0o777, found.st_mtime) == (0o640, 2)
    shutil.rmtree(one / "deep")
    (one / "soft").unlink()
    assert [path.name for path in other.iterdir()] == ["linked"]
    with pytest.raises(FileNotFoundError):
        (other / "deep" / "moved").read_text()


def test_data_of_any_size_and_order(mounts: tuple[Path, Path]):
    one, other = mounts
    data = os.urandom(3_000_001)
    (one / "data").write_bytes(data)
    assert (other / "data").read_bytes() == data
    with (one / "data").open("r+b") as file:
        file.seek(1000)
        file.write(b"middle")
        file.truncate(2000)
    with (one / "data").open("ab") as file:
        file.write(b"end")
    assert (other / "data").read_bytes() == data[:1000] + b"middle" + data[1006:2000] + b"end"
    (one / "data").write_bytes(b"again")
    assert (other / "data").read_bytes() == b"again"


def test_a_map_of_a_file_is_written(mounts: tuple[Path, Path]):
    one, other = mounts
    with (one / "map").open("w+b") as file:
        file.truncate(10_000)
        with mmap.mmap(file.fileno(), 10_000) as mapped:
            mapped[5000:5005] = b"abcde"
            mapped.flush()
    assert (other / "map").read_bytes() == bytes(5000) + b"abcde" + bytes(4995)


def test_locks_are_local_to_a_mount(mounts: tuple[Path, Path]):
    one, other = mounts
    with (one / "lock").open("w") as first, (one / "lock").open() as second, (other / "lock").open() as elsewhere:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(elsewhere, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_end_of_the_block_unmounts(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with mounted(tmp_path / "folder", tmp_path / "mount") as mount:
        (mount / "file").write_text("text")
        left_open = (mount / "file").open()
    assert list((tmp_path / "mount").iterdir()) == []
    assert (tmp_path / "folder" / "file").read_text() == "text"
    with pytest.raises(OSError, match="not connected"):
        left_open.close()

"""A folder in a store: what is read, which errors are tried again, and which are not."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovocr.base import attempts, store_folder
from ovocr.base.errors import MissingExtraError, OvocrError, StoreError
from ovocr.base.store_folder import StoreFolder, read_url

fsspec = pytest.importorskip("fsspec", reason="object stores need the s3 extra")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> StoreFolder:
    """Makes memory://TEST with the files a (ten digits) and sub/b. There is no pause between attempts."""
    monkeypatch.setattr(attempts, "_PAUSES_S", (0.0, 0.0))
    url = f"memory://{request.node.name}"
    fsspec.filesystem("memory").pipe({f"{url}/a": b"0123456789", f"{url}/sub/b": b"b"})
    return StoreFolder(url)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """failing(method, error, times) makes the first calls of a method raise; returns a list that counts all calls."""

    def fail(method: str, error: BaseException, times: int) -> list[int]:
        memory = fsspec.get_filesystem_class("memory")
        original, calls = getattr(memory, method), []

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(len(calls))
            if len(calls) <= times:
                raise error
            return original(*arguments, **options)

        monkeypatch.setattr(memory, method, call)
        return calls

    return fail


def test_files_are_read(folder: StoreFolder, tmp_path: Path) -> None:
    assert folder.read("a") == b"0123456789"
    assert folder.read("a", 2, 4) == b"23"
    assert folder.read_ranges("a", [(8, 10), (0, 1), (4, 4)]) == [b"89", b"0", b""]
    assert folder.read_ranges("a", []) == []
    assert folder.read_many(["a", "sub/b"]) == {"a": b"0123456789", "sub/b": b"b"}
    assert read_url(f"{folder.url}/sub/b") == b"b"
    folder.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert folder.size("a") == 10
    assert folder.names() == {"a", "sub"}
    assert set(folder.versions()) == {"a"}
    for missing in (folder.read, folder.size, lambda name: folder.download(name, tmp_path / "x")):
        with pytest.raises(FileNotFoundError):
            missing("none")


def test_request_is_tried_again(folder: StoreFolder, failing: Callable[..., list[int]], capsys: Any) -> None:
    calls = failing("cat_file", OSError("out of order"), 2)
    assert folder.read("a") == b"0123456789"
    assert (len(calls), folder.failed_attempts) == (3, 2)
    assert capsys.readouterr().err == f"ovocr: {folder.url}/a: out of order; trying again\n"


def test_large_file_is_downloaded_in_blocks(
    folder: StoreFolder, failing: Callable[..., list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_folder, "_BLOCK_BYTES", 4)
    calls = failing("cat_file", OSError("out of order"), 2)
    folder.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert len(calls) == 5


def test_attempts_end_when_a_store_takes_long(
    folder: StoreFolder, failing: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_PATIENCE_S", 0.0)
    calls = failing("cat_file", OSError("out of order"), 9)
    with pytest.raises(StoreError, match=rf"^{folder.url}/a: out of order \(1 attempt in 0 s\)$"):
        folder.read("a")
    assert len(calls) == 1


def test_store_that_goes_on_failing_is_an_error(folder: StoreFolder, failing: Callable[..., list[int]]) -> None:
    calls = failing("cat_file", OSError("out of order"), 9)
    with pytest.raises(StoreError, match=rf"^{folder.url}/a: out of order \(3 attempts in 0 s\)$"):
        folder.read("a")
    assert len(calls) == 3


def test_refused_access_and_a_full_disk_are_not_tried_again(
    folder: StoreFolder, failing: Callable[..., list[int]]
) -> None:
    with pytest.raises(
        OvocrError, match=rf"^{folder.url}/a: does not fit into /dev: No space left.*; set TMPDIR"
    ) as raised:
        folder.download("a", Path("/dev/full"))
    assert not isinstance(raised.value, StoreError)  # the store is in order
    calls = failing("cat_file", PermissionError("Access Denied"), 9)
    with pytest.raises(StoreError, match=f"^{folder.url}/a: Access Denied$"):
        folder.read("a")
    assert len(calls) == 1


def test_missing_packages_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PAUSES_S", (600.0,))
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match='the extra "s3"'):
        StoreFolder("s3://bucket/folder").read("a")

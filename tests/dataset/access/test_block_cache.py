"""Blocks are fetched once, kept within a limit, and checked."""

import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.block_cache import Block, BlockCache
from ovocr.dataset.access.fetch_lock import lock, try_lock
from ovocr.dataset.access.read_ahead import ReadAhead

SIZE = 1000
FILE_SIZE = SIZE + 20


def block(number: int) -> Block:
    return Block(f"set/{number}", SIZE)


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def read(cache: BlockCache, number: int, fetched: list[int]) -> bytes:
    def fetch() -> bytes:
        fetched.append(number)
        return content(number)

    return cache.read(block(number), 2, 5, fetch)


def stored(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("set/*.block"))


def test_least_recently_used_blocks_are_removed(tmp_path: Path):
    cache, fetched = BlockCache(tmp_path, 4 * FILE_SIZE), []
    for number in range(4):
        assert read(cache, number, fetched) == bytes([number]) * 3
        os.utime(tmp_path / "set" / f"{number}.block", (number, number))
    assert read(cache, 0, fetched) == b"\0\0\0"  # is used again, now
    assert fetched == [0, 1, 2, 3]
    read(cache, 4, fetched)
    assert sum(path.stat().st_size for path in tmp_path.glob("set/*")) <= cache.limit
    assert {0, 4} <= set(stored(tmp_path)) <= {0, 3, 4}


def test_smaller_limit_of_the_next_run_is_kept(tmp_path: Path):
    fetched: list[int] = []
    for number in range(6):
        read(BlockCache(tmp_path, 10 * FILE_SIZE), number, fetched)
    read(BlockCache(tmp_path, 2 * FILE_SIZE), 6, fetched)
    assert 6 in stored(tmp_path)
    assert len(stored(tmp_path)) <= 2


def test_wrong_total_is_corrected(tmp_path: Path):
    fetched: list[int] = []
    cache = BlockCache(tmp_path, 3 * FILE_SIZE)
    read(cache, 1, fetched)
    for text in ("not a number", "-5", str(10**12)):
        (tmp_path / "size.txt").write_text(text)
        for number in range(8):
            read(cache, number, fetched)
            assert len(stored(tmp_path)) <= 3


def test_block_larger_than_the_cache_is_an_error(tmp_path: Path):
    with pytest.raises(OvocrError, match=r"a block of 1e-06 GB is larger than the cache; raise loader.cache_gb$"):
        read(BlockCache(tmp_path, SIZE), 1, [])


def test_folder_that_cannot_be_used_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OvocrError, match=r"file.*: Not a directory; choose another loader.cache_folder"):
        read(BlockCache(tmp_path / "file", 10**6), 1, [])


def test_what_fetch_raises_leaves_nothing(tmp_path: Path):
    def fail() -> bytes:
        raise OvocrError("gone")

    cache = BlockCache(tmp_path, 10**6)
    with pytest.raises(OvocrError, match="^gone$"):
        cache.read(block(1), 0, 1, fail)
    assert list(tmp_path.glob("set/*")) == []
    assert read(cache, 1, []) == b"\1\1\1"


@pytest.mark.parametrize("damage", ["bit", "short", "long", "empty"])
def test_damaged_block_is_fetched_again_by_a_new_process(tmp_path: Path, damage: str):
    cache, fetched = BlockCache(tmp_path, 10**6), []
    read(cache, 1, fetched)
    path = tmp_path / "set" / "1.block"
    data = path.read_bytes()
    flipped = bytes([data[0] ^ 1]) + data[1:]
    path.write_bytes({"bit": flipped, "short": data[1:], "long": data + b"1", "empty": b""}[damage])
    copy = pickle.loads(pickle.dumps(cache))
    assert read(copy, 1, fetched) == b"\1\1\1"
    assert fetched == [1, 1]
    assert copy.damaged == 1


def test_threads_fetch_a_block_once(tmp_path: Path):
    cache, fetched, found = BlockCache(tmp_path, 10**6), [], []

    def fetch() -> bytes:
        fetched.append(1)
        time.sleep(0.1)
        return content(1)

    threads = [threading.Thread(target=lambda: found.append(cache.read(block(1), 0, 2, fetch))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"\1\1"] * 5
    assert fetched == [1]


def test_lock_is_not_inherited_by_a_fork(tmp_path: Path):
    """A child that lives longer than its parent's lock does not hold it."""
    held, forked, release = threading.Event(), threading.Event(), os.pipe()

    def hold() -> None:
        with lock(tmp_path / "a.lock"):
            held.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        os.read(release[0], 1)
        os._exit(0)
    forked.set()
    thread.join()
    with try_lock(tmp_path / "a.lock") as is_held:
        assert is_held
        with try_lock(tmp_path / "a.lock") as twice:
            assert not twice
    os.write(release[1], b"1")
    assert os.waitpid(child, 0)[1] == 0
    assert not (tmp_path / "a.lock").exists()


def test_urgent_keys_come_first_and_errors_are_dropped():
    found: list[int] = []
    gate, others = threading.Event(), set(threading.enumerate())

    def run(key: int) -> None:
        gate.wait()
        found.append(key)
        if key == 2:
            raise OvocrError("is met again by whoever needs it")

    ahead = ReadAhead(run, 1)
    ahead.add([0])
    ahead.add([2, 3, 2, 4])
    ahead.add([5, 3], urgent=True)
    gate.set()
    deadline = time.monotonic() + 60
    while len(found) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert sorted(found) == [0, 2, 3, 3, 4, 5]
    assert found.index(5) < found.index(2)
    ahead.close()
    assert not set(threading.enumerate()) - others


def test_closing_drops_the_keys():
    found: list[int] = []
    started, gate = threading.Event(), threading.Event()

    def run(key: int) -> None:
        started.set()
        gate.wait()
        found.append(key)

    ahead = ReadAhead(run, 1)
    ahead.add(range(100))
    started.wait()
    closing = threading.Thread(target=ahead.close)
    closing.start()
    while ahead._work.threads:  # until the work is dropped
        time.sleep(0.001)
    gate.set()
    closing.join()
    assert len(found) <= 2
    ahead.add([100])  # begins anew
    deadline = time.monotonic() + 60
    while 100 not in found:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    ahead.close()

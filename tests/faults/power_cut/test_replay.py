"""The replay of a log finds the classic mistakes of programs that write files, and none in those that make none."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovocr.base.files import fsync, write_text, written_aside
from tests.faults.power_cut.cuts import Recording, files_of, record
from tests.faults.power_cut.replay import Mixed, NamesOnly, Rule, SizesOnly

TEXT = "all of it\n" * 2000
DATA = TEXT.encode()


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[Callable[[Path], object]], Recording]:
    """Returns a function that records a program, which is called with the folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    return lambda program: record(folder, lambda: program(folder))


def states(recording: Recording, seeds: int = 12) -> Iterator[dict[str, bytes]]:
    """Yields the files after a cut at every moment, under every rule and several seeds."""
    for moment in range(recording.begin, len(recording.log) + 1):
        for rule in (Rule(), NamesOnly(), SizesOnly(), *map(Mixed, range(seeds))):
            recording.cut(moment, rule)
            yield files_of(recording.folder)


def test_a_rename_without_fsync_is_caught(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        (folder / "new.partial").write_text(TEXT)
        os.rename(folder / "new.partial", folder / "new")
        fsync(folder)

    found = {files["new"] for files in states(recorded(program)) if "new" in files}
    assert {b"", bytes(len(DATA)), DATA} <= found
    assert any(0 < len(data) < len(DATA) for data in found), "no file is short"
    assert any(bytes(4096) in data and data.strip(b"\0") for data in found), "no block is missing"


def test_written_aside_is_whole_and_durable(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        with written_aside(folder / "new") as partial:
            partial.write_text(TEXT)

    recording = recorded(program)
    assert {files["new"] for files in states(recording) if "new" in files} == {DATA}
    assert any("new" not in files for files in states(recording))
    recording.cut_at_end()
    assert files_of(recording.folder) == {"old": b"old", "new": DATA}


def test_a_file_is_replaced_completely_or_not(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        with written_aside(folder / "old") as partial:
            partial.write_text(TEXT)

    assert {files["old"] for files in states(recorded(program))} == {b"old", DATA}


def test_a_file_that_is_overwritten_in_place_is_caught(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        with (folder / "old").open("r+b") as file:
            file.write(DATA)
            os.fsync(file.fileno())

    found = {files["old"] for files in states(recorded(program))}
    assert {b"old", DATA} < found
    assert any(data not in (b"old", DATA) for data in found)


def test_a_rename_whose_folder_is_not_fsynced_is_caught(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        (folder / "new.partial").write_text(TEXT)
        fsync(folder / "new.partial")
        os.rename(folder / "new.partial", folder / "new")

    recording = recorded(program)
    assert {files["new"] for files in states(recording) if "new" in files} == {DATA}
    recording.cut_at_end()
    assert files_of(recording.folder) == {"old": b"old"}


def test_a_new_folder_whose_parent_is_not_fsynced_is_caught(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "new").write_text(TEXT)
        fsync(folder / "inner" / "new")
        fsync(folder / "inner")

    recording = recorded(program)
    recording.cut_at_end()
    assert files_of(recording.folder) == {"old": b"old"}


def test_write_text_makes_new_folders_durable(recorded: Callable[..., Recording]):
    recording = recorded(lambda folder: write_text(folder / "some" / "inner" / "new", TEXT))
    recording.cut_at_end()
    assert files_of(recording.folder) == {"old": b"old", "some/inner/new": DATA}


def test_a_marker_that_is_durable_before_what_it_marks_is_caught(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        for name in ("data", "markers"):
            (folder / name).mkdir()
        fsync(folder)
        (folder / "data" / "new").write_text(TEXT)
        fsync(folder / "data" / "new")  # and not the folder
        (folder / "markers" / "new").touch()
        fsync(folder / "markers")

    assert any("markers/new" in files and "data/new" not in files for files in states(recorded(program)))


def test_a_rename_between_folders_is_one_change(recorded: Callable[..., Recording]):
    def program(folder: Path) -> None:
        for name in ("one", "other"):
            (folder / name).mkdir()
        write_text(folder / "one" / "file", TEXT)
        fsync(folder)
        os.rename(folder / "one" / "file", folder / "other" / "file")
        (folder / "one" / "later").touch()

    recording = recorded(program)
    rename = len(recording.log) - 1
    for seed in range(40):
        recording.cut(rename, Mixed(seed))
        assert len([name for name in files_of(recording.folder) if name.endswith("/file")]) == 1
    fsync_of_other = record(recording.folder, lambda: _move_back_and_sync(recording.folder))
    fsync_of_other.cut_at_end()
    assert files_of(recording.folder)["one/file"] == DATA


def _move_back_and_sync(folder: Path) -> None:
    found = next(folder.glob("*/file"))
    target = folder / "one" / "file"
    if found != target:
        os.rename(found, target)
    fsync(target.parent)

"""Errors, atomic files, lock files, escaping, and opening a data set."""

import os
import pickle
from pathlib import Path

import pytest

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.files import locked, partial_path, write_text, written_aside
from ovocr.dataset.layout import LabelledDataSet


def test_exit_codes() -> None:
    assert (OvocrError("x").exit_code, UsageError("x").exit_code) == (1, 2)
    assert str(MissingExtraError("training", "train")) == (
        "training needs packages that are not installed; "
        "install the extra \"train\": pip install '.[train]' in a checkout of ovocr"
    )


def test_errors_can_be_pickled() -> None:
    for error in (OvocrError("x"), UsageError("x"), MissingExtraError("training", "train")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_written_aside_publishes_only_complete_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with written_aside(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert (path.read_text(), partial.exists()) == ("whole", False)
    with pytest.raises(UnicodeEncodeError), written_aside(path) as partial:
        partial.write_text("half" + chr(0xD800), encoding="utf-8")  # a lone surrogate: no UTF-8
    assert (path.read_text(), partial_path(path).exists()) == ("whole", False)
    write_text(path, "länger\n")
    assert path.read_bytes() == "länger\n".encode()


def test_written_aside_replaces_only_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(FileExistsError), written_aside(path):
            pass
    assert [*tmp_path.iterdir()] == [pipe]
    assert pipe.is_fifo()


def test_locked_excludes_other_holders_and_removes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".lock"
    with locked(path, "busy"):
        with pytest.raises(OvocrError, match=rf"^busy: .*, process {os.getpid()}$"), locked(path, "busy"):
            pass
        assert path.exists()
    assert not path.exists()
    path.touch()  # a killed process leaves its lock file
    with locked(path, "busy"):
        pass
    assert list(path.parent.iterdir()) == []


def test_a_holder_that_lost_its_lock_leaves_the_lock_file_of_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "busy"):
        path.write_text("another host, process 1")  # the same file, as after the end of a lease
    assert path.read_text() == "another host, process 1"
    with locked(path, "busy"):
        path.unlink()
        path.write_text("another host, process 2")
    assert path.read_text() == "another host, process 2"


def test_for_terminal_escapes_hidden_characters() -> None:
    assert for_terminal("plain 文字 é") == "plain 文字 é"
    assert for_terminal("a\x1b[31mb\nc\u202ed\ue000") == "a\\x1b[31mb\\nc\\u202ed\\ue000"


def test_opening_a_folder_that_is_not_a_data_set_raises(tmp_path: Path) -> None:
    with pytest.raises(OvocrError, match=r"not a labelled data set \(no manifest.json\)"):
        LabelledDataSet.open(tmp_path)
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "00000.rec").touch()
    with pytest.raises(OvocrError, match=r"not a labelled data set \(no manifest.json\); restore the file$"):
        LabelledDataSet.open(tmp_path)
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(OvocrError, match=r"manifest.json: expected a JSON object, found \[1\]"):
        LabelledDataSet.open(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OvocrError, match="manifest.json: expected a JSON object, found invalid JSON"):
        LabelledDataSet.open(tmp_path).manifest()

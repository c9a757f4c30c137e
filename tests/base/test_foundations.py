"""The small modules that everything stands on: errors, files, cores, escaping, the data set's layout."""

import os
import pickle
from pathlib import Path

import pytest

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.files import locked, partial_path, write_text, written_aside
from ovocr.dataset.layout import LabelledDataSet
from ovocr.processes.cores import available_cores


def test_exit_codes() -> None:
    assert (OvocrError("x").exit_code, UsageError("x").exit_code) == (1, 2)
    assert str(MissingExtraError("training", "train")).endswith("pip install 'ovocr[train]'")


def test_errors_can_come_from_another_process() -> None:
    for error in (OvocrError("x"), UsageError("x"), MissingExtraError("training", "train")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_a_file_has_its_name_only_when_complete(tmp_path: Path) -> None:
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


def test_only_files_are_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(FileExistsError), written_aside(path):
            pass
    assert [*tmp_path.iterdir()] == [pipe]
    assert pipe.is_fifo()


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".lock"
    with locked(path, "busy"):
        with pytest.raises(OvocrError, match=rf"^busy: .*, process {os.getpid()}$"), locked(path, "busy"):
            pass
        assert path.exists()
    assert not path.exists()
    path.touch()  # what a killed process leaves
    with locked(path, "busy"):
        pass
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_cores_of_a_container(files: dict[str, str], cores: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == (len(os.sched_getaffinity(0)) if cores is None else cores)


def test_nothing_hidden_reaches_a_terminal() -> None:
    assert for_terminal("plain 文字 é") == "plain 文字 é"
    assert for_terminal("a\x1b[31mb\nc\u202ed\ue000") == "a\\x1b[31mb\\nc\\u202ed\\ue000"


def test_no_data_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(OvocrError, match=r"not a labelled data set \(no manifest.json\)"):
        LabelledDataSet.open(tmp_path)
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(OvocrError, match="manifest.json: should be a JSON object, is other JSON"):
        LabelledDataSet.open(tmp_path).manifest()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(OvocrError, match="manifest.json: should be a JSON object, is no JSON"):
        LabelledDataSet.open(tmp_path).manifest()

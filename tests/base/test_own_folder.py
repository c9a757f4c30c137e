"""Folders of writers that fence each other. Processes that stop anywhere: tests/dataset/test_shard_fence.py."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.base.own_folder import OwnFolder, remove_folders


def own(root: Path) -> OwnFolder:
    return OwnFolder(root, ".making-1-", "DATA: shard 1")


def test_a_folder_removes_those_of_other_writers_of_the_same_result(tmp_path: Path) -> None:
    for name in (".making-1-killed", ".making-1-killed-0.removed", ".making-2-other"):
        (tmp_path / name / "rec").mkdir(parents=True)
    with own(tmp_path) as folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == [folder.path.name, ".making-2-other"]
    assert [path.name for path in tmp_path.iterdir()] == [".making-2-other"]


def test_a_writer_that_was_taken_over_can_change_nothing(tmp_path: Path) -> None:
    final, old = tmp_path / "final", tmp_path / "old"
    with own(tmp_path) as first:
        (first.path / "new").write_text("first")
        with own(tmp_path) as second:
            final.write_text("second")
            old.write_text("second")
            by = rf" \({re.escape(second.path.joinpath('owner').read_text())}\)"
            message = rf"^DATA: shard 1 was taken over by another process{by}; run the same command again"
            with pytest.raises(OvocrError, match=message):
                first.check()
            for step in (first.claim, lambda: first.place(first.path / "new", final), lambda: first.make_room(old)):
                with pytest.raises(OvocrError, match=message), first.errors():
                    step()
            # Code that makes missing folders may make it again.
            first.path.mkdir()
            (first.path / "new").write_text("first")
            with pytest.raises(OvocrError, match=message), first.errors():
                first.claim()
            second.check()
    assert (final.read_text(), old.read_text()) == ("second", "second")
    assert sorted(tmp_path.iterdir()) == [final, old]


def test_files_of_an_earlier_result_make_room(tmp_path: Path) -> None:
    final = tmp_path / "final"
    final.write_text("old")
    with own(tmp_path) as folder:
        (folder.path / "new").write_text("new")
        folder.claim()
        folder.make_room(final)
        assert not final.exists()
        folder.make_room(final)
        folder.place(folder.path / "new", final)
    assert final.read_text() == "new"
    assert [*tmp_path.iterdir()] == [final]


def test_errors_name_the_final_file(tmp_path: Path) -> None:
    with own(tmp_path) as folder:
        with pytest.raises(FileExistsError) as caught, folder.errors():
            raise FileExistsError(errno.EEXIST, "exists", str(folder.path / "rec" / "1.rec"))
        assert caught.value.filename == str(tmp_path / "rec" / "1.rec")
        with pytest.raises(OvocrError, match=rf"^{tmp_path}/rec/1: is on another file system than"), folder.errors():
            raise OSError(errno.EXDEV, "other", str(folder.path / "1"), None, str(tmp_path / "rec" / "1"))
        # The data set is gone, so nobody took over.
        shutil.rmtree(tmp_path)
        with pytest.raises(FileNotFoundError), folder.errors():
            folder.claim()
        os.mkdir(tmp_path)


def test_all_writers_are_fenced_at_once(tmp_path: Path) -> None:
    with own(tmp_path) as folder:
        remove_folders(tmp_path, ".making-1-")
        with pytest.raises(OvocrError, match=r"was taken over by another process; run"):
            folder.check()

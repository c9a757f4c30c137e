"""Checks that every file in a data set's folders belongs to a shard of the manifest."""

import os
from collections.abc import Iterator
from pathlib import Path

from ovocr.base.files import PARTIAL_SUFFIX
from ovocr.dataset.layout import FOLDERS, LabelledDataSet, shard_number
from ovocr.labelgen.verification.finding import Findings


def check_folders(data_set: LabelledDataSet, count: int, with_text: bool, findings: Findings) -> None:
    """Adds findings for files of no shard, and for partial files of finished shards.

    A shard that is not finished may have partial files: a run writes them. Hidden files are ignored.

    count: shards of the manifest.
    """
    for folder in FOLDERS:
        for path in _files(data_set.root / folder, findings):
            complete = path.with_name(path.name.removesuffix(PARTIAL_SUFFIX))
            number = shard_number(folder, complete.name, with_text=with_text)
            if number is None or number >= count:
                findings.add(
                    path, "", "a file of a shard that the manifest lists", "none", mend=f"move {path} out of the folder"
                )
            elif complete != path and os.path.lexists(data_set.stats_path(number)) and os.path.lexists(path):
                findings.add(
                    path, "", "gone: its shard is finished", "left over of a run that was killed", mend=f"remove {path}"
                )


def _files(folder: Path, findings: Findings) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:  # the check of each shard reports its missing files
        return
    except OSError as error:
        findings.add(folder, "", "a folder", error.strerror, mend=f"put back the folder {folder}")
        return
    yield from (folder / name for name in names if not name.startswith("."))

"""Checks that every file in a data set's folders belongs to a shard of the manifest."""

import os
from collections.abc import Iterator
from pathlib import Path

from ovocr.base.files import PARTIAL_SUFFIX
from ovocr.base.store_folder import StoreFolder
from ovocr.dataset.layout import FOLDERS, LabelledDataSet, shard_number
from ovocr.labelgen.verification.finding import Findings


def check_folders(data_set: LabelledDataSet, count: int, with_text: bool, findings: Findings) -> None:
    """Adds findings for files that belong to no shard, and for partial files of finished shards.

    An unfinished shard may have partial files, because a run writes them. Hidden files are ignored.

    count: number of shards in the manifest.
    """
    for folder in FOLDERS:
        for path in _files(data_set, folder, findings):
            complete = path.with_name(path.name.removesuffix(PARTIAL_SUFFIX))
            number = shard_number(folder, complete.name, with_text=with_text)
            if number is None or number >= count:
                findings.add(
                    path, "", "a file of a shard in the manifest", "another file", fix=f"move {path} out of the folder"
                )
            elif complete != path and os.path.lexists(data_set.stats_path(number)) and _is_left(data_set, path):
                findings.add(
                    path, "", "no partial file of a finished shard", "a file of a killed run", fix=f"remove {path}"
                )


def _files(data_set: LabelledDataSet, name: str, findings: Findings) -> Iterator[Path]:
    folder = data_set.root / name
    try:
        names = os.listdir(folder) if data_set.url is None else StoreFolder(data_set.url).names(name)
    except FileNotFoundError:  # the check of each shard reports its missing files
        return
    except OSError as error:
        findings.add(folder, "", "a folder", error.strerror, fix=f"restore the folder {folder}")
        return
    yield from (folder / name for name in sorted(names) if not name.startswith("."))


def _is_left(data_set: LabelledDataSet, path: Path) -> bool:
    """Returns True unless a running command has renamed a partial file since the folder was listed."""
    return data_set.url is not None or os.path.lexists(path)

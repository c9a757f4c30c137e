"""Files in a data set's folders: is each one of a shard that the manifest lists?"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ovocr.base.files import PARTIAL_SUFFIX
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.verification.finding import Findings

_SUFFIXES = {"rec": (".rec", ".idx"), "ocr": (".parquet",), "records": (".parquet",), "stats": (".json",)}
_NAME = re.compile(r"(\d{5,})(\.[a-z]+)")


def finished_shards(data_set: LabelledDataSet, count: int) -> list[int]:
    """Which of the ``count`` shards of the manifest have statistics."""
    return [number for number in range(count) if os.path.lexists(data_set.stats_path(number))]


def check_folders(data_set: LabelledDataSet, count: int, with_text: bool, findings: Findings) -> None:
    """Note files of shards that are not among the manifest's ``count``, and what is left over of unfinished files.

    A partial file of a shard that is not finished is in its place: it is being made, or will be. Hidden files are
    nobody's data.
    """
    for name, suffixes in _SUFFIXES.items():
        if name == "ocr" and not with_text:
            suffixes = ()
        for path in _files(data_set.root / name, findings):
            complete = path.with_name(path.name.removesuffix(PARTIAL_SUFFIX))
            number = _number(complete.name, suffixes, count)
            if number is None:
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
    except FileNotFoundError:  # each of its files is missing, and noted with its shard
        return
    except OSError as error:
        findings.add(folder, "", "a folder", error.strerror, mend=f"put back the folder {folder}")
        return
    yield from (folder / name for name in names if not name.startswith("."))


def _number(name: str, suffixes: tuple[str, ...], count: int) -> int | None:
    match = _NAME.fullmatch(name)
    if match is None or match[2] not in suffixes or len(match[1]) > 9:
        return None
    number = int(match[1])
    return number if number < count and match[1] == f"{number:05d}" else None

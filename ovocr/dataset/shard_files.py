"""The data files of a shard, and how its statistics describe each: size and hash."""

import hashlib
from pathlib import Path
from typing import Any

from ovocr.dataset.layout import LabelledDataSet

_CHUNK_BYTES = 4 * 2**20


def shard_files(data_set: LabelledDataSet, number: int, *, with_text: bool) -> dict[str, Path]:
    """Paths of the shard's files, statistics aside, by their names in the statistics.

    with_text: whether its pictures were read.
    """
    prefix = data_set.rec_prefix(number)
    text = {"ocr": data_set.ocr_path(number)} if with_text else {}
    return {
        "rec": prefix.with_suffix(".rec"),
        "idx": prefix.with_suffix(".idx"),
        **text,
        "records": data_set.records_path(number),
    }


def describe_file(path: Path) -> dict[str, Any]:
    """``bytes`` and ``sha256`` (hexadecimal) of a file, read from front to back. Raises OSError."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}

"""Images in a folder and the folders below it, in the order of their relative paths sorted by their bytes."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.base.object_store import is_url
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.plan import (
    MAX_FILE_BYTES,
    Found,
    InputShard,
    Lost,
    SourceItem,
    is_image_name,
    too_large,
)
from ovocr.labelgen.sources.store_folder import list_store_images, read_store_images


def plan_folder(source: str, shard_size: int) -> list[InputShard]:
    """The folder's images in pieces of ``shard_size``. Raises UsageError where there is none."""
    names, ignored = list_store_images(source) if is_url(source) else _list_images(source)
    names.sort(key=os.fsencode)
    if not names:
        raise UsageError(
            f"{source}: no image in this folder (other files: {ignored}); archives are named: {source}/*.tar"
        )
    pieces = [tuple(names[start : start + shard_size]) for start in range(0, len(names), shard_size)]
    return [
        InputShard(
            source=source,
            kind="folder",
            start=number * shard_size,
            stop=number * shard_size + len(piece),
            names=piece,
            ignored=0 if number else ignored,
            images=len(piece),
            names_sha256=hashlib.sha256(b"\0".join(map(os.fsencode, piece))).hexdigest(),
        )
        for number, piece in enumerate(pieces)
    ]


def read_folder(shard: InputShard) -> Iterator[SourceItem]:
    """The shard's files in order, the relative path as key; a file that cannot be read is one Lost."""
    if is_url(shard.source):
        yield from read_store_images(shard.source, shard.names)
        return
    for name in shard.names:
        yield _read_file(os.path.join(shard.source, name), as_text(name))


def _list_images(source: str) -> tuple[list[str], int]:
    """Relative paths with image endings, and the number of other files.

    Links to folders are not followed (they may lead in a circle): each counts as one other file.
    """
    names: list[str] = []
    others = 0
    for folder, subfolders, files in os.walk(source, onerror=_refuse):
        others += sum(os.path.islink(os.path.join(folder, name)) for name in subfolders)
        images = [name for name in files if is_image_name(name)]
        others += len(files) - len(images)
        names += [Path(folder, name).relative_to(source).as_posix() for name in images]
    return names, others


def _refuse(error: OSError) -> None:
    raise OvocrError(f"{error.filename}: this folder cannot be read: {error.strerror}")


def _read_file(path: str, key: str) -> SourceItem:
    try:
        # A pipe under an image's name must not be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return Lost(key, Reason.UNREADABLE, "not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                return too_large(key, status.st_size)
            return Found(key, file.read())
    except OSError as error:
        return Lost(key, Reason.UNREADABLE, error.strerror or type(error).__name__)

"""Folders of images, including their subfolders, sorted by the bytes of their relative paths."""

import os
from collections.abc import Iterator

from ovocr.base.errors import UsageError
from ovocr.labelgen.sources.input_shard import InputShard, hash_names
from ovocr.labelgen.sources.items import SourceItem
from ovocr.labelgen.sources.source_path import SourcePath


def plan(path: SourcePath, shard_size: int) -> list[InputShard]:
    """Returns the folder's images as shards of ``shard_size`` images. Raises UsageError if it has no images."""
    names, ignored = path.list_images()
    names.sort(key=os.fsencode)
    if not names:
        raise UsageError(
            f"{path.name}: no image in this folder (other files: {ignored}); name archives as {path.name}/*.tar"
        )
    parts = [tuple(names[start : start + shard_size]) for start in range(0, len(names), shard_size)]
    return [
        InputShard(
            source=path.name,
            kind="folder",
            start=number * shard_size,
            stop=number * shard_size + len(part),
            names=part,
            ignored=0 if number else ignored,
            images=len(part),
            names_sha256=hash_names(part),
        )
        for number, part in enumerate(parts)
    ]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the shard's images in order, with the relative path as key."""
    return path.read_images(shard.names)

"""Image files: those of a folder and its subfolders, and those of a folder that were named one by one."""

from collections.abc import Iterator

from ovocr.dataset.manifest import SourceOptions
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.input_shard import InputShard, named_shards
from ovocr.labelgen.sources.items import SourceItem
from ovocr.labelgen.sources.source_path import SourcePath


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the named images of the folder as shards of ``shard_size`` images."""
    return named_shards(found.path, found.kind, found.names, shard_size)


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the shard's images in order, with the relative path as key."""
    return path.read_images(shard.names)

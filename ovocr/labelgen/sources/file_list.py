"""Lists of image files: text files with one path per line."""

import os
from collections.abc import Iterator

from ovocr.base.errors import UsageError
from ovocr.base.escape import as_text
from ovocr.base.object_store import is_url
from ovocr.base.parallel_reads import in_parallel
from ovocr.dataset.manifest import SourceOptions
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.input_shard import InputShard, named_shards
from ovocr.labelgen.sources.items import Lost, SourceItem, is_image_name
from ovocr.labelgen.sources.local_path import read_image
from ovocr.labelgen.sources.source_path import SourcePath
from ovocr.labelgen.sources.store_path import StorePath

_COMMENT = "#"
_SHOWN = 80
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def plan(found: FoundSource, shard_size: int, options: SourceOptions) -> list[InputShard]:
    """Returns the images of the list as shards of ``shard_size``. Raises UsageError if it names none."""
    names = read_names(found.path)
    if not names:
        raise UsageError(f"{found.path.name}: names no image; write one path per line")
    if not any(map(is_image_name, names)) and isinstance(_read(found.path.name, names[0]), Lost):
        raise UsageError(
            f"{found.path.name}: no line is the path of an image, the first is {as_text(names[0][:_SHOWN])!r}; "
            "a .txt or .lst is read as a list with one path per line"
        )
    return named_shards(found.path, "list", names, shard_size)


def read_names(path: SourcePath) -> list[str]:
    """Returns the paths in a list as they are written, without blank lines and lines that begin with #.

    Raises OvocrError if the file cannot be read.
    """
    with path.open() as file:
        content = file.read().removeprefix(_BYTE_ORDER_MARK)
    lines = (os.fsdecode(line.strip()) for line in content.splitlines())
    return [line for line in lines if line and not line.startswith(_COMMENT)]


def read(path: SourcePath, shard: InputShard) -> Iterator[SourceItem]:
    """Yields the shard's images in order, with the path as written as key. A missing file is a Lost item.

    Relative paths count from the folder of the list. Raises OvocrError if an object store fails.
    """
    if is_url(path.name) or any(map(is_url, shard.names)):
        return in_parallel(lambda name: _read(path.name, name), shard.names)
    return (_read(path.name, name) for name in shard.names)


def _read(source: str, name: str) -> SourceItem:
    key = as_text(name)
    if is_url(name):
        return StorePath(name).fetch_image(key)
    folder = os.path.dirname(source)
    if not is_url(source):
        return read_image(os.path.join(folder, name), key)
    if os.path.isabs(name):
        return Lost(key, Reason.UNREADABLE, "a path on this machine, in a list that is in an object store")
    return StorePath(f"{folder}/{name}").fetch_image(key)

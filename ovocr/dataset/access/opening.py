"""Opens data sets on a disk or in an object store."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked_within, written_aside
from ovocr.base.object_store import is_url
from ovocr.base.store_folder import StoreFolder
from ovocr.base.user_cache import cache_folder
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription, read_files

DataLocation = Path | str
"""The folder of a data set, or its URL in an object store."""

_VERSIONS = "versions.json"
_LOCK_TIMEOUT_S = 600.0


def open_data_set(name: DataLocation, *, old: bool = False) -> LabelledDataSet:
    """Returns a data set on a disk, or one in an object store, of which manifest, vocabulary and statistics are copied.

    name: folder or URL. old: as in ``LabelledDataSet.open``. The copy is in the user's cache folder. It is compared
    with the store by every call, and what has changed is fetched again.

    Raises OvocrError as ``LabelledDataSet.open`` does, or naming the URL if the store fails.
    """
    if not is_url(str(name)):
        return LabelledDataSet.open(Path(name), old=old)
    folder = StoreFolder(str(name))
    root = _copy_root(folder.url)
    root.mkdir(parents=True, exist_ok=True)
    with locked_within(root / ".lock", f"{root}: another process is copying {folder.url}", _LOCK_TIMEOUT_S):
        _update(folder, root)
    return LabelledDataSet.open(root, old=old, url=folder.url)


def data_location(name: Path | str) -> DataLocation:
    """Returns a URL as text without a trailing slash, and anything else as a path."""
    return str(name).rstrip("/") if is_url(str(name)) else Path(name)


def location_name(location: DataLocation) -> str:
    """Returns the last part of a path or URL."""
    return location.rpartition("/")[2] if isinstance(location, str) else location.name


def location_parts(location: DataLocation) -> list[str]:
    """Returns the names in an absolute path or in a URL. The root has one name, which is empty."""
    if isinstance(location, str):
        return [part for part in location.split("/") if part]
    return os.path.abspath(location).split(os.sep)[1:]


def same_place(location: DataLocation) -> DataLocation:
    """Returns what is equal for all names of a folder or URL."""
    return location if isinstance(location, str) else location.resolve()


def data_exist(location: DataLocation) -> bool:
    """Returns whether a path exists, or a URL has a manifest. Raises OvocrError if the store fails."""
    if not isinstance(location, str):
        return location.exists()
    try:
        return LabelledDataSet(Path()).manifest_path.name in StoreFolder(location).versions()
    except FileNotFoundError:
        return False


@contextmanager
def shard_on_disk(data_set: LabelledDataSet, number: int, names: Sequence[str]) -> Iterator[LabelledDataSet]:
    """Yields a data set on a disk with the files of a finished shard; itself if it is on a disk.

    names: names of the files in the statistics. Files of a store are fetched to the folder for temporary files, checked
    against size and hash in the statistics, and removed after the block.

    Raises OvocrError naming the URL if the store fails or a file does not match.
    """
    if data_set.url is None:
        yield data_set
        return
    store = StoreFolder(data_set.url)
    expected = read_files(data_set.stats_path(number))
    with tempfile.TemporaryDirectory(prefix="ovocr-shard-", ignore_cleanup_errors=True) as folder:
        own = LabelledDataSet(Path(folder), url=data_set.url)
        for path in (data_set.manifest_path, *data_set.word_files(), data_set.stats_path(0).parent):
            if path.exists():
                os.symlink(path.absolute(), own.root / path.relative_to(data_set.root))
        for name, path in own.data_files(number, with_text=True).items():
            if name in names and name in expected:
                path.parent.mkdir(exist_ok=True)
                fetch_file(store, path.relative_to(own.root).as_posix(), path, expected[name])
        yield own


def fetch_file(store: StoreFolder, name: str, path: Path, expected: FileDescription) -> None:
    """Copies a file of a data set to a disk. Raises OvocrError if it does not match the statistics."""
    try:
        store.download(name, path)
    except FileNotFoundError:
        raise OvocrError(f"{store.url}/{name}: no such file; restore the file") from None
    found = FileDescription.of(path)
    if found != expected:
        path.unlink()
        what = f"{found.bytes:,} bytes of {expected.bytes:,}" if found.bytes != expected.bytes else "another hash"
        raise OvocrError(f"{store.url}/{name}: does not match the shard's statistics ({what}); restore the file")


def _copy_root(url: str) -> Path:
    cache = cache_folder()
    if cache is None:
        raise OvocrError(f"{url}: needs a cache folder, but there is no home folder; set XDG_CACHE_HOME")
    return cache / "stores" / hashlib.sha256(url.encode()).hexdigest()[:24]


def _update(store: StoreFolder, root: Path) -> None:
    """Makes the copy equal to the store. The manifest comes last: a copy without it is incomplete."""
    copy = LabelledDataSet(root)
    statistics = copy.stats_path(0).parent.name
    wanted = {path.name for path in (*copy.word_files(), copy.manifest_path)}
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):  # the data set has no folder, or no statistics yet
        found |= {name: version for name, version in store.versions().items() if name in wanted}
        if copy.manifest_path.name in found:
            found |= {f"{statistics}/{name}": version for name, version in store.versions(statistics).items()}
    try:
        known: dict[str, str] = json.loads((root / _VERSIONS).read_text())
    except (OSError, ValueError):  # a new copy, or one whose update was interrupted
        known = {}
    (root / _VERSIONS).unlink(missing_ok=True)
    for name in known.keys() - found.keys():
        (root / name).unlink(missing_ok=True)
    changed = [name for name, version in found.items() if known.get(name) != version]
    if changed:
        (root / statistics).mkdir(exist_ok=True)
        for name, content in store.read_many(changed).items():
            (root / name).write_bytes(content)
    with written_aside(root / _VERSIONS) as partial:
        partial.write_text(json.dumps(found))

"""Opens data sets on a disk or in an object store."""

import fnmatch
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked_within, partial_path, written_aside
from ovocr.base.object_store import is_url
from ovocr.base.store_folder import StoreFolder
from ovocr.base.temporary import temporary_folder
from ovocr.base.user_cache import cache_folder
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription, read_files
from ovocr.recordio import RecordError
from ovocr.recordio.index import read_index

DataLocation = Path | str
"""The folder of a data set, or its URL in an object store."""

_VERSIONS = "versions.json"
_STATISTICS = "[0-9]*.json"
_RANGES = 64  # records that are fetched at a time
_LOCK_TIMEOUT_S = 600.0


def open_data_set(name: DataLocation, *, old: bool = False, afresh: bool = False) -> LabelledDataSet:
    """Returns a data set on a disk, or one in an object store, of which manifest, vocabulary and statistics are copied.

    name: folder or URL. old: as in ``LabelledDataSet.open``. The copy is in the user's cache folder. It is compared
    with the store by every call, and what has changed is fetched again; all of it if ``afresh`` is set.

    Raises OvocrError as ``LabelledDataSet.open`` does, or naming the URL if the store fails.
    """
    if not is_url(str(name)):
        return LabelledDataSet.open(Path(name), old=old)
    folder = StoreFolder(str(name))
    root = _copy_root(folder.url)
    root.mkdir(parents=True, exist_ok=True)
    with locked_within(root / ".lock", f"{root}: another process is copying {folder.url}", _LOCK_TIMEOUT_S):
        _update(folder, root, afresh)
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
def shard_on_disk(
    data_set: LabelledDataSet, number: int, names: Sequence[str], *, checked: bool = True
) -> Iterator[LabelledDataSet]:
    """Yields a data set on a disk with the files of a finished shard; itself if it has them.

    names: names of the files in the statistics. Files of a store are fetched to the folder for temporary files, checked
    against size and hash in the statistics, and removed after the block.
    checked: if False, files are fetched as they are, and missing ones are left out.

    Raises StoreError if the store fails, and OvocrError if a file does not match. These errors, and those of the block,
    name the URL.
    """
    paths = data_set.data_files(number, with_text=True)
    if data_set.url is None or all(paths[name].exists() for name in names):
        with data_set.errors():
            yield data_set
        return
    store = StoreFolder(data_set.url)
    with data_set.errors():
        expected = read_files(data_set.stats_path(number)) if checked else None
    with temporary_folder("shard") as folder:
        own = LabelledDataSet(folder, url=data_set.url)
        for path in (data_set.manifest_path, *data_set.word_files(), data_set.stats_path(0).parent):
            if path.exists():
                os.symlink(path.absolute(), own.root / path.relative_to(data_set.root))
        for name, path in own.data_files(number, with_text=True).items():
            if name not in names:
                continue
            path.parent.mkdir(exist_ok=True)
            file = path.relative_to(own.root).as_posix()
            if expected is None:
                with suppress(FileNotFoundError):
                    store.download(file, path)
            elif name in expected:
                fetch_file(store, file, path, expected[name])
        with data_set.errors(), own.errors():
            yield own


@contextmanager
def records_on_disk(data_set: LabelledDataSet, number: int, ids: Sequence[int]) -> Iterator[LabelledDataSet]:
    """Yields a data set on a disk with the .idx of a finished shard and a .rec from which the records can be read.

    ids: ids of the records. Of a .rec in a store, only their bytes are fetched, without a check of its hash; elsewhere
    the copy has holes, which read as zeros.

    Raises StoreError if the store fails, OvocrError if the .idx does not match the statistics, and RecordError if the
    .rec has another size. These errors, and those of the block, name the URL.
    """
    if data_set.url is None or data_set.data_files(number, with_text=True)["rec"].exists():
        with data_set.errors():
            yield data_set
        return
    with shard_on_disk(data_set, number, ["idx"]) as own:
        rec, idx = (own.data_files(number, with_text=True)[name] for name in ("rec", "idx"))
        expected = read_files(own.stats_path(number))["rec"].bytes
        store, file = StoreFolder(data_set.url), rec.relative_to(own.root).as_posix()
        try:
            size = store.size(file)
            if size != expected:
                raise RecordError(f"{rec}: does not match the shard's statistics ({_size(size, expected)})")
            ranges = _find_ranges(idx, size, ids)
            with rec.open("wb") as copy:
                copy.truncate(size)
                for first in range(0, len(ranges), _RANGES):
                    some = ranges[first : first + _RANGES]
                    for (start, _), data in zip(some, store.read_ranges(file, some), strict=True):
                        copy.seek(start)
                        copy.write(data)
        except FileNotFoundError:
            raise RecordError(f"{rec}: no such file; restore the file") from None
        yield own


def _find_ranges(idx: Path, rec_size: int, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the bytes of records; ids that the index lacks are left out. Raises RecordError."""
    found, offsets = read_index(idx, rec_size)
    bounds = np.append(np.unique(offsets), rec_size)
    own = offsets[np.isin(found, np.array(ids, np.uint64))]
    return [(start, int(bounds[np.searchsorted(bounds, start, side="right")])) for start in own.tolist()]


def _size(found: int, expected: int) -> str:
    return f"{found:,} bytes of {expected:,}"


def fetch_file(store: StoreFolder, name: str, path: Path, expected: FileDescription) -> None:
    """Copies a file of a data set to a disk. Raises OvocrError if it does not match the statistics."""
    try:
        store.download(name, path)
    except FileNotFoundError:
        raise OvocrError(f"{store.url}/{name}: no such file; restore the file") from None
    found = FileDescription.of(path)
    if found != expected:
        path.unlink()
        what = _size(found.bytes, expected.bytes) if found.bytes != expected.bytes else "another hash"
        raise OvocrError(f"{store.url}/{name}: does not match the shard's statistics ({what}); restore the file")


def _copy_root(url: str) -> Path:
    cache = cache_folder()
    if cache is None:
        raise OvocrError(f"{url}: needs a cache folder, but there is no home folder; set XDG_CACHE_HOME")
    return cache / "stores" / hashlib.sha256(url.encode()).hexdigest()[:24]


def _update(store: StoreFolder, root: Path, afresh: bool) -> None:
    """Makes the copy equal to the store. afresh: fetch all files, also those that have not changed.

    Processes that read the copy meanwhile see either the file before or the one after.
    """
    copy = LabelledDataSet(root)
    statistics = copy.stats_path(0).parent.name
    wanted = {path.name for path in (*copy.word_files(), copy.manifest_path)}
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):  # the data set has no folder, or no statistics yet
        found |= {name: version for name, version in store.versions().items() if name in wanted}
        versions = store.versions(statistics).items()
        found |= {f"{statistics}/{name}": version for name, version in versions if fnmatch.fnmatch(name, _STATISTICS)}
    known = _read_versions(root)
    (root / _VERSIONS).unlink(missing_ok=True)
    for path in (*(root / name for name in wanted), *(root / statistics).glob(_STATISTICS)):
        if path.relative_to(root).as_posix() not in found:
            path.unlink(missing_ok=True)
    changed = [name for name, version in found.items() if afresh or known.get(name, ["", ""])[0] != version]
    if changed:
        (root / statistics).mkdir(exist_ok=True)
        for name, content in store.read_many(changed).items():
            partial_path(root / name).write_bytes(content)
            os.replace(partial_path(root / name), root / name)
            known[name] = [found[name], _digest(content)]
    with written_aside(root / _VERSIONS) as partial:
        partial.write_text(json.dumps({name: known[name] for name in found if name in known}))


def _read_versions(root: Path) -> dict[str, list[str]]:
    """Returns version in the store and digest of the files of a copy; files with another digest are left out.

    The files are not flushed to disk when they are fetched, so a power cut may leave some of them damaged.
    """
    try:
        known = json.loads((root / _VERSIONS).read_text())
        return {name: [version, digest] for name, (version, digest) in known.items() if _is(root / name, digest)}
    except (OSError, ValueError, AttributeError):  # a new copy, or one whose update was interrupted
        return {}


def _is(path: Path, digest: str) -> bool:
    try:
        return _digest(path.read_bytes()) == digest
    except FileNotFoundError:
        return False


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()

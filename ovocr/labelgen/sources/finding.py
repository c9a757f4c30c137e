"""Finds the sources that the names on a command line mean."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.base.object_store import is_url
from ovocr.labelgen.sources.file_kinds import KINDS_TEXT, LISTS, LMDB_ADVICE, TABLES, file_kind, stem, unknown_kind
from ovocr.labelgen.sources.folder_files import HUB_STATE, RECORDS_FOLDER
from ovocr.labelgen.sources.found_source import FoundSource
from ovocr.labelgen.sources.local_path import LocalPath
from ovocr.labelgen.sources.source_path import SourcePath, source_identity
from ovocr.labelgen.sources.store_path import StorePath

# Ends of names that tools write beside x.tar: x_stats.json of img2dataset.
_COMPANION_ENDS = ("", "_stats")
_MAX_STATE_BYTES = 2**24


def source_path(name: str) -> SourcePath:
    """Returns the path of a source on disk or in an object store."""
    return StorePath(name) if is_url(name) else LocalPath(name)


@dataclass
class _Named:
    """A file or folder that was named, or that a named glob matches. kind: None for a file that no kind fits."""

    path: SourcePath
    kind: str | None
    from_glob: bool


def find_sources(names: Sequence[str], executor: Executor) -> list[FoundSource]:
    """Returns the sources in the order of their names.

    Images of the same folder are one source, at the place of the first. Files beside a source of the same name, and
    files that only a glob matches, are left out and counted.

    Raises UsageError for a name that is missing or of an unknown kind, and for a folder or glob without any source.
    """
    named = [each for name in names for each in _expand(name, executor)]
    beside = _Companions(named)
    found: list[FoundSource] = []
    images: dict[str, FoundSource] = {}
    ignored = 0
    for each in named:
        if each.kind == "folder":
            found += _in_folder(each.path)
        elif each.kind == "files":
            folder, file = _split(each.path.name)
            if (same := source_identity(folder)) not in images:
                images[same] = FoundSource(source_path(folder), "files")
                found.append(images[same])
            images[same].names.append(file)
        elif each.kind in TABLES:
            found.append(FoundSource(each.path, str(each.kind), beside_images=beside.images(each)))
        elif each.kind is None or (each.kind == "list" and beside.source(each)):
            if not (each.from_glob or beside.source(each)):
                raise UsageError(unknown_kind(each.path.name))
            ignored += not beside.index(each)
        else:
            found.append(FoundSource(each.path, each.kind))
    for source in images.values():
        source.names = sorted(set(source.names), key=os.fsencode)
    if not found:
        raise UsageError(f"{', '.join(names)}: no file that is read; allowed: {KINDS_TEXT}")
    found[0].ignored += ignored
    return _each_once(found)


def _each_once(found: list[FoundSource]) -> list[FoundSource]:
    """Returns the sources without those that were named before, or whose images are in a folder that was named."""
    kept: dict[tuple[str, str], FoundSource] = {}
    for each in found:
        first = kept.setdefault((each.kind, source_identity(each.path.name)), each)
        first.repeated += first is not each
    folders = {name: each for (kind, name), each in kept.items() if kind == "folder"}
    for kind, name in [key for key in kept if key[0] in ("files", "folder")]:
        around = (name, *_folders_above(name)) if kind == "files" else _folders_above(name)
        above = next((folders[folder] for folder in around if folder in folders), None)
        if above is not None:
            above.repeated += 1
            del kept[kind, name]
    return list(kept.values())


def _expand(name: str, executor: Executor) -> Iterator[_Named]:
    path = source_path(name)
    matches = sorted(path.expand())
    if not matches:
        raise UsageError(f"{name}: no file or folder matches")
    from_glob = path.is_glob
    lists = name.lower().endswith(LISTS)
    folders: set[str] = set()
    for match, kind in zip(matches, executor.map(lambda each: _kind(each, from_glob), matches), strict=True):
        if from_glob and not folders.isdisjoint(_folders_above(match)):
            continue  # `**` matches a folder and everything in it
        if kind == "folder":
            folders.add(match.rstrip("/"))
        yield _Named(source_path(match), None if from_glob and kind == "list" and not lists else kind, from_glob)


def _folders_above(name: str) -> Iterator[str]:
    folder = os.path.dirname(name.rstrip("/"))
    while folder and folder != os.path.dirname(folder):
        yield folder
        folder = os.path.dirname(folder)


def _kind(name: str, from_glob: bool) -> str | None:
    path = source_path(name)
    kind = file_kind(name)
    # A glob of a store may match millions of images. A request for each would take hours.
    if kind == "files" and from_glob and is_url(name):
        return kind
    return "folder" if path.is_folder() else kind


class _Companions:
    """Tells which of the named files belong to another one in the same folder, such as 0.idx, 0_stats.json to 0.tar."""

    def __init__(self, named: list[_Named]) -> None:
        self._images = {stem(each.path.name.rstrip("/")) for each in named if each.kind not in (None, "list", *TABLES)}
        self._sources = self._images | {stem(each.path.name) for each in named if each.kind in TABLES}
        self._records = {stem(each.path.name) for each in named if each.kind == "rec"}

    def images(self, each: _Named) -> bool:
        """Returns True if an archive, a folder or an image has the same name, or if a glob matches any of these."""
        return stem(each.path.name) in self._images or (each.from_glob and bool(self._images))

    def source(self, each: _Named) -> bool:
        """Returns True if any source has the same name."""
        own = stem(each.path.name)
        return any(own.removesuffix(end) in self._sources for end in _COMPANION_ENDS)

    def index(self, each: _Named) -> bool:
        """Returns True for the index of a .rec file, which is read with it."""
        return each.path.name.endswith(".idx") and stem(each.path.name) in self._records


def _in_folder(path: SourcePath) -> Iterator[FoundSource]:
    files = path.list_files()
    for folder in files.hub_folders:
        files.keep_listed(folder, _saved_files(path.child(f"{folder}/{HUB_STATE}".lstrip("/"))))
    if not files.images and not files.archives:
        raise UsageError(f"{path.name}: {_nothing_in(path, files.others, files.data_sets, files.has_lmdb)}")
    if files.images:
        yield FoundSource(path, "folder", files.images, files.others)
    kinds = [str(file_kind(name)) for name in files.archives]
    beside_images = bool(files.images) or any(kind not in TABLES for kind in kinds)
    for number, (name, kind) in enumerate(zip(files.archives, kinds, strict=True)):
        archive = path.child(name)
        ignored = 0 if files.images or number else files.others
        yield FoundSource(archive, kind, ignored=ignored, beside_images=beside_images, folder=path.name)


def _saved_files(state: SourcePath) -> set[str] | None:
    """Returns the names of the files that belong to a data set of ``save_to_disk``; None if its state is not valid.

    An earlier call may have left other files beside them.
    """
    try:
        listed = json.loads(state.read_start(_MAX_STATE_BYTES))["_data_files"]
        return {str(each["filename"]) for each in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _nothing_in(path: SourcePath, others: int, data_sets: list[str], has_lmdb: bool) -> str:
    if has_lmdb:
        return LMDB_ADVICE
    if data_sets:
        records = path.child(f"{data_sets[0]}/{RECORDS_FOLDER}".lstrip("/")).name
        return f"is a labelled data set; to read its stored images, name {records}"
    return f"no image and no archive in this folder (other files: {others}); allowed: {KINDS_TEXT}"


def _split(name: str) -> tuple[str, str]:
    """Returns the folder of a file, and its name in it."""
    folder, file = os.path.split(name)
    while folder.startswith("./"):  # ./a.jpg and a.jpg are in the same folder
        folder = folder[2:].lstrip("/")
    return folder or ".", file

"""Makes the manifest of a run, and writes it into a new data set or compares it with an existing one."""

import errno
import filecmp
import hashlib
import json
import os
import shutil
import tempfile
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ovocr import __version__
from ovocr.base.errors import OvocrError
from ovocr.base.files import fsync, locked, locked_within, make_folder
from ovocr.base.own_folder import OwnFolder, remove_folders
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import (
    FORMAT,
    OLD_FORMAT,
    Generation,
    Manifest,
    ShardEntry,
    TableEntry,
    TagPolicy,
    fixed_configuration,
)
from ovocr.dataset.shard_writer import remove_all_leftovers
from ovocr.labelgen.options import BuildOptions, PackOptions, RunOptions
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.tables import LabelTable
from ovocr.labelgen.tagging.run_words import Words

STARTING = ".starting-"  # prefix of files that exist only while a run starts
LOCK_TIMEOUT_S = 10.0
# Packages that only store and read tables: every value that is read is the value that was written.
CHANGE_NO_WORD = ("pyarrow",)
_LOCK = ".manifest.lock"
_CHANGING = ".changing-manifest-"  # beginning of the name of a folder in which a process writes a changed manifest


def describe_build(
    options: BuildOptions, shards: tuple[ShardEntry, ...], engine: dict[str, Any], words: Words
) -> Manifest:
    """Returns the manifest of a labelling run."""
    return Manifest(
        policy=options.tag_policy,
        shard_size=options.shard_size,
        max_pixels=options.max_pixels,
        source_options=options.source_options,
        words=words.describe(),
        engine=engine,
        versions=text_versions(),
        shards=shards,
    )


def describe_relabel(source: LabelledDataSet, policy: TagPolicy, words: Words) -> Manifest:
    """Returns the manifest of a data set with new tags for the stored text of ``source``."""
    manifest = source.manifest()
    sha256 = hashlib.sha256(source.manifest_path.read_bytes()).hexdigest()
    return replace(
        manifest,
        policy=policy,
        words=words.describe(),
        versions=text_versions(),
        relabelled=manifest.describe_relabelled(sha256),
        split=None,
        generations=(),
        format=FORMAT,
    )


def describe_pack(options: PackOptions, shards: tuple[ShardEntry, ...], table: LabelTable) -> Manifest:
    """Returns the manifest of a packing run."""
    return Manifest(
        policy=TagPolicy(tags=options.tags, seed=0),
        shard_size=options.shard_size,
        max_pixels=options.max_pixels,
        source_options=options.source_options,
        table=TableEntry(
            num_classes=table.num_classes,
            sha256=table.sha256,
            key_column=table.columns.key,
            label_columns=table.columns.labels,
        ),
        versions={**_image_versions(), "pyarrow": version("pyarrow")},
        shards=shards,
    )


def text_versions() -> dict[str, str]:
    """Returns the versions of all packages that affect an image's bytes, lines and words."""
    return {
        **_image_versions(),
        "unicode": unicodedata.unidata_version,
        **{name: version(name) for name in ("jieba", "numpy", "pyarrow", "regex")},
    }


def _image_versions() -> dict[str, str]:
    """Returns the versions of the packages that affect the bytes of a stored image."""
    import cv2
    import PIL

    return {"ovocr": __version__, "opencv": cv2.__version__, "pillow": PIL.__version__}


@dataclass(frozen=True, kw_only=True)
class AllowedChanges:
    """The changes that a run may make to the manifest of an existing data set.

    known: the shards when the run was planned; None if the data set was new. upgrade: accept other package versions.
    table: accept another table of lines or class ids. idle: the run makes no shard, so versions do not matter.
    """

    known: tuple[ShardEntry, ...] | None = None
    upgrade: bool = False
    table: bool = False
    idle: bool = False

    @classmethod
    def of(cls, options: RunOptions, known: tuple[ShardEntry, ...] | None, *, idle: bool) -> "AllowedChanges":
        """Returns the changes that a run's options allow."""
        return cls(known=known, upgrade=options.accept_upgrade, table=options.append, idle=idle)


NO_CHANGES = AllowedChanges()


def settle_configuration(
    data_set: LabelledDataSet, manifest: Manifest, words: Words | None, changes: AllowedChanges = NO_CHANGES
) -> None:
    """Writes manifest and words into a new data set, or compares the manifest with that of an existing data set.

    An existing manifest gets the run's new shards and, if they differ, the versions of its packages, as a generation.
    Several processes may do this concurrently; the first manifest is kept. Raises OvocrError that names the first
    difference, or an unrelated file that would be replaced. words: None for a packed data set.
    """
    if not data_set.manifest_path.exists():
        _check_no_shard_files(data_set)
        _create(data_set, manifest, words)
    busy = f"{data_set}: another command is changing its manifest.json; start the command again when it has finished"
    if (grown := _check_same(data_set, manifest, changes)) is None:
        return
    writer = OwnFolder(data_set.root, _CHANGING, f"{data_set}: its manifest.json")
    with locked_within(data_set.root / _LOCK, busy, LOCK_TIMEOUT_S), writer as own, own.errors():
        # Another process may have added the same shards meanwhile.
        if (grown := _check_same(data_set, manifest, changes)) is not None:
            path = own.path / data_set.manifest_path.name
            grown.write(path)
            own.claim()
            own.place(path, data_set.manifest_path)
            fsync(data_set.root)
            _say_upgrade(data_set, grown.history)


def _check_no_shard_files(data_set: LabelledDataSet) -> None:
    """Raises OvocrError if there are files of shards without a manifest."""
    found = next(data_set.shard_files(), None)
    # Another process may have started the data set. It writes the manifest before its shards.
    if found is not None and not data_set.manifest_path.exists():
        raise OvocrError(
            f"{data_set}: contains {found.relative_to(data_set.root)} but no manifest.json; "
            "restore manifest.json or choose another --out"
        )


def remove_start_files(data_set: LabelledDataSet) -> None:
    """Removes the files of processes that were killed while they created the data set or wrote a shard."""
    remove_all_leftovers(data_set)
    if any(data_set.root.glob(f"{_CHANGING}*")):
        with suppress(OvocrError), locked(data_set.root / _LOCK, ""):
            remove_folders(data_set.root, _CHANGING)
    for folder in data_set.root.glob(f"{STARTING}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _create(data_set: LabelledDataSet, manifest: Manifest, words: Words | None) -> None:
    own = _make_folder(data_set.root)
    try:
        if words is not None:
            words.save(LabelledDataSet(own))
        written = sorted(own.iterdir(), reverse=True)  # the vocabulary's description precedes the vocabulary
        for path in written:
            _check_replaceable(data_set, path)
        if data_set.manifest_path.exists():  # another process was faster
            return
        for path in written:
            os.replace(path, data_set.root / path.name)
        partial = own / data_set.manifest_path.name
        manifest.write(partial)
        _place_first(partial, data_set.manifest_path)
        fsync(data_set.root)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _make_folder(root: Path) -> Path:
    """Makes a temporary folder in the data set's folder, because another process may write the same files."""
    try:
        make_folder(root)
        return Path(tempfile.mkdtemp(prefix=STARTING, dir=root))
    except OSError as error:  # its message names the temporary folder
        raise OvocrError(f"--out {root}: is not writable ({error.strerror}); choose another --out") from error


def _check_replaceable(data_set: LabelledDataSet, path: Path) -> None:
    """Raises OvocrError if a data set without a manifest contains a different file with the name of ``path``.

    An equal file is allowed, because another process may be starting the data set or was killed while starting it.
    """
    existing = data_set.root / path.name
    same = not os.path.lexists(existing) or (existing.is_file() and filecmp.cmp(existing, path, shallow=False))
    if not same and not data_set.manifest_path.exists():
        raise OvocrError(
            f"{data_set}: contains a different {path.name} but no manifest.json; move it away or choose another --out"
        )


def _place_first(partial: Path, path: Path) -> None:
    """Renames a complete file unless a file with the name exists."""
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.replace(partial, path)  # without hard links, the last of several starting processes wins


def _check_same(data_set: LabelledDataSet, manifest: Manifest, changes: AllowedChanges) -> Manifest | None:
    """Returns the manifest to write if the run adds shards or has other versions of packages, None if nothing changes.

    Raises OvocrError if the run has another configuration.
    """
    data = read_object(data_set.manifest_path)
    if data.get("format") == OLD_FORMAT:
        if manifest.has_text:
            raise OvocrError(
                f"{data_set}: format {OLD_FORMAT}, which this version does not continue; finish it with the version "
                "that began it and relabel it, or choose another --out"
            )
        manifest = replace(manifest, format=OLD_FORMAT)  # packed data sets have the same files
    difference = find_difference(
        fixed_configuration(data), fixed_configuration(json.loads(json.dumps(manifest.to_json())))
    )
    if difference.startswith("relabelled.manifest_sha256 "):
        raise OvocrError(
            f"{data_set}: the data set that it was relabelled from has changed since, or is another one; "
            "relabel all of it into another --out"
        )
    if difference:
        raise OvocrError(
            f"{data_set}: made with another configuration: {difference}; "
            "repeat that configuration or choose another --out"
        )
    stored = data_set.manifest()
    if stored.shards not in (manifest.shards, changes.known):
        raise OvocrError(
            f"{data_set}: another command has begun it or added to it meanwhile, with other sources; "
            "start the command again, or choose another --out"
        )
    own, before = manifest.history[-1], stored.history[-1]
    _check_table(data_set, stored, own, accepted=changes.table)
    if changes.idle and stored.shards == manifest.shards:
        return None
    upgraded = _upgraded(before, own)
    if not (changes.upgrade or upgraded.keys() <= set(CHANGE_NO_WORD)):
        raise OvocrError(
            f"{data_set}: made with other versions: {', '.join(upgraded.values())}; install those versions, choose "
            "another --out, or continue with --accept-upgrade: the words of new shards may then differ in rare cases"
        )
    generation = replace(own, shards=len(manifest.shards))
    if stored.shards == manifest.shards and generation == replace(before, shards=len(stored.shards)):
        return None
    return replace(stored, shards=manifest.shards, generations=(*stored.history, generation))


def _check_table(data_set: LabelledDataSet, stored: Manifest, own: Generation, *, accepted: bool) -> None:
    """Raises OvocrError if no generation of the data set has the run's table. accepted: the table may be new."""
    known = [generation.table_sha256 for generation in stored.history]
    if not accepted and own.table_sha256 not in known:
        raise OvocrError(
            f"{data_set}: made with another table (its sha256 was {known[-1]} and is {own.table_sha256}); "
            "repeat that table, add images that have rows in this one with --append, or choose another --out"
        )


def _upgraded(before: Generation, after: Generation) -> dict[str, str]:
    """Maps the packages whose versions differ to a description."""
    old, new = ({**each.versions, **(each.engine_versions or {})} for each in (before, after))
    names = [name for name in sorted({**old, **new}) if old.get(name) != new.get(name)]
    return {name: f"{name} was {old.get(name)} and is {new.get(name)}" for name in names}


def _say_upgrade(data_set: LabelledDataSet, history: tuple[Generation, ...]) -> None:
    """Tells the user if the last generation has other versions of packages."""
    upgraded = _upgraded(*history[-2:])
    if not upgraded:
        return
    harmless = upgraded.keys() <= set(CHANGE_NO_WORD)
    result = "this changes no image and no word, so the run continues" if harmless else "the manifest records it"
    say(f"{data_set}: {', '.join(upgraded.values())}; {result}")


def find_difference(stored: Any, own: Any, name: str = "") -> str:
    """Describes the first difference between the JSON of two manifests; empty if they are equal.

    stored: manifest of the data set. own: manifest of this run.
    """
    if isinstance(stored, dict) and isinstance(own, dict):
        for key in {**own, **stored}:
            inner = f"{name}.{key}" if name else str(key)
            if found := find_difference(stored.get(key), own.get(key), inner):
                return found
        return ""
    if isinstance(stored, list) and isinstance(own, list):
        if len(stored) != len(own):
            return f"{name}: {len(stored)} there, {len(own)} in this run"
        pairs = enumerate(zip(stored, own, strict=True))
        return next((found for n, (a, b) in pairs if (found := find_difference(a, b, f"{name}[{n}]"))), "")
    return "" if stored == own else f"{name} is {stored!r} there, {own!r} in this run"

"""The shards of a run by their numbers, in a new data set or in one that has some of the run's sources already."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import as_text
from ovocr.base.object_store import is_url
from ovocr.base.plural import counted
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.options import RunOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.sources import InputShard
from ovocr.labelgen.sources.input_shard import hash_names
from ovocr.labelgen.sources.source_path import source_identity

_SHOWN = 3
# Kinds of sources whose images have names.
_SUBJECTS = {"folder": "the folder has", "files": "the command names", "list": "the list has"}


@dataclass(frozen=True)
class RunPlan:
    """The shards of a data set after a run.

    shards: the input shards by number. Shards that the data set has keep their numbers, new ones follow.
    left_out: numbers of shards whose sources the run does not name.
    known: the shards of the data set when the run was planned; None if it was new.
    """

    shards: list[InputShard]
    left_out: frozenset[int] = frozenset()
    known: tuple[ShardEntry, ...] | None = None

    @property
    def entries(self) -> tuple[ShardEntry, ...]:
        """The shards of the manifest."""
        return tuple(shard.entry for shard in self.shards)


def plan_run(destination: Destination, planned: list[InputShard], options: RunOptions) -> RunPlan:
    """Finds the run's sources in the data set, and appends shards for those that it lacks.

    A folder or a list may have new images: they get new shards, and its unfinished shards are planned again. What is
    finished stays.

    planned: the shards of the sources, as for a new data set.

    Raises OvocrError if the run leaves out a source without ``--append``, or if a source has changed in another way.
    With ``--retry-quarantined``, a file that was damaged may have another size now.
    """
    data_set = destination.data_set
    if not data_set.manifest_path.exists():
        return RunPlan(planned)
    manifest = data_set.manifest()
    if manifest.splits:
        raise OvocrError(
            f"--out {data_set}: is a part of a data set that `ovocr split` divided; add the images to the whole data "
            "set and split it again into another --out, where the held-out images stay held out"
        )
    known, finished = manifest.shards, set(data_set.finished_shards())
    if [shard.entry for shard in planned] == list(known):
        return RunPlan(planned, known=known)
    numbers: dict[Any, list[int]] = defaultdict(list)
    for number, entry in enumerate(known):
        numbers[_identity(entry)].append(number)
    groups: dict[Any, list[InputShard]] = defaultdict(list)
    for shard in planned:
        groups[_identity(shard)].append(shard)
    shards: dict[int, InputShard] = {}
    new: list[InputShard] = []
    for source, group in groups.items():
        found = {number: known[number] for number in numbers.pop(source, [])}
        if not found:
            new += group
        elif group[0].names:
            kept, added = _join_names(destination, found, group, finished, options)
            shards |= kept
            new += added
        else:
            shards |= _join_file(destination, found, group[0], finished, repair=options.retry_quarantined)
    left_out = sorted(number for left in numbers.values() for number in left)
    if left_out and not options.append:
        raise _left_out(destination, [known[number].source for number in left_out])
    _check_not_again([known[number] for number in left_out], new)
    shards |= {number: InputShard(**vars(known[number])) for number in left_out}
    ordered = [shards[number] for number in range(len(known))]
    return RunPlan([*ordered, *new], frozenset(left_out), known)


def _identity(shard: InputShard | ShardEntry) -> tuple[str, str]:
    return shard.kind, source_identity(as_text(shard.source))


def _join_file(
    destination: Destination, found: dict[int, ShardEntry], shard: InputShard, finished: set[int], *, repair: bool
) -> dict[int, InputShard]:
    """Returns the shards of a file by number; data sets that were begun before sources were read once may have several.

    Raises OvocrError if the size of a file that is labelled has changed, except if it was damaged and ``repair``.
    """
    shards = {}
    for number, entry in found.items():
        if None not in (entry.size, shard.size) and entry.size != shard.size:
            was_damaged = number in finished and destination.data_set.counts(number).reasons[Reason.DAMAGED_SOURCE]
            if number in finished and not (was_damaged and repair):
                advice = "add --retry-quarantined if it was repaired" if was_damaged else "restore the file"
                raise OvocrError(
                    f"{shard.source}: has {shard.size:,} bytes, had {entry.size:,} when it was labelled; "
                    f"{advice}, or label it into another --out"
                )
            entry = replace(entry, size=shard.size)
        shards[number] = replace(shard, listed=entry)
    return shards


def _join_names(
    destination: Destination,
    found: dict[int, ShardEntry],
    group: list[InputShard],
    finished: set[int],
    options: RunOptions,
) -> tuple[dict[int, InputShard], list[InputShard]]:
    """Returns the shards of a folder or a list that the data set has, by number, and new shards for new images.

    The unfinished shards share the images that no finished shard has, in their order, each as many as before.
    Raises OvocrError if images of the data set are gone; with ``--append``, labelled images may be gone.
    """
    first, entry = group[0], next(iter(found.values()))
    names = {as_text(name): name for shard in group for name in shard.names}
    shards: dict[int, InputShard] = {}
    labelled: Counter[str] = Counter()
    for number in sorted(found.keys() & finished):
        keys = destination.keys(number)
        labelled.update(keys)
        shards[number] = _part(first, found[number], tuple(names[key] for key in keys if key in names))
    rest = []
    for name in (name for shard in group for name in shard.names):
        if labelled[key := as_text(name)]:  # a list may name an image several times
            labelled[key] -= 1
        else:
            rest.append(name)
    gone = sorted(labelled.elements())
    what = f"{first.source}: {_SUBJECTS[first.kind]}"
    if gone and not options.append:
        raise OvocrError(
            f"{what} {counted(len(gone), 'image')} fewer than when it was labelled, such as "
            f"{', '.join(gone[:_SHOWN])}; restore them, or continue without them with --append"
        )
    unfinished = sorted(found.keys() - finished)
    if (missing := sum(_size(found[number]) for number in unfinished) - len(rest)) > 0:
        raise OvocrError(
            f"{what} {counted(missing, 'image')} fewer than when the data set was begun; "
            "restore them, or label the others into another --out"
        )
    following = iter(rest)
    for number in unfinished:
        part = tuple(islice(following, _size(found[number])))
        shards[number] = _part(first, replace(found[number], names_sha256=hash_names(part)), part)
    start = max(entry.stop or 0 for entry in found.values())
    new = []
    while part := tuple(islice(following, options.shard_size)):
        added = replace(entry, start=start, stop=start + len(part), names_sha256=hash_names(part))
        new.append(_part(first, added, part))
        start += len(part)
    return shards, new


def _part(first: InputShard, entry: ShardEntry, names: tuple[str, ...]) -> InputShard:
    """Returns a shard with some of the images of a folder or a list. first: its first shard."""
    return replace(
        first,
        start=entry.start,
        stop=entry.stop,
        names=names,
        names_sha256=entry.names_sha256,
        images=len(names),
        ignored=0 if entry.start else first.ignored,
        listed=entry,
    )


def _size(entry: ShardEntry) -> int:
    """Returns the number of images of a shard of a folder or a list."""
    return (entry.stop or 0) - (entry.start or 0)


def _left_out(destination: Destination, sources: Iterable[str]) -> OvocrError:
    names: Sequence[str] = list(dict.fromkeys(sources))
    shown = ", ".join(names[:_SHOWN])
    some = ", such as" if len(names) > _SHOWN else ":"
    return OvocrError(
        f"--out {destination.data_set}: has {counted(len(names), 'source')} that this command does not name{some} "
        f"{shown}; name all of them and the new ones (what is finished is not labelled again), or leave them out with "
        "--append"
    )


def _check_not_again(left_out: list[ShardEntry], new: list[InputShard]) -> None:
    """Raises OvocrError if a new source is one that was left out, named from another folder by a longer path.

    A relative path means another file if the command is run in another folder.
    """
    moved: dict[str, list[ShardEntry]] = defaultdict(list)
    for entry in left_out:
        if not (is_url(entry.source) or os.path.lexists(entry.source)):
            moved[os.path.basename(entry.source)].append(entry)
    for shard in new:
        for entry in moved.get(os.path.basename(shard.source), ()):
            if os.path.abspath(shard.source).endswith(f"{os.sep}{entry.source}") and shard.entry.size == entry.size:
                raise OvocrError(
                    f"{shard.source}: seems to be {entry.source}, which the data set has; "
                    "run the command in the folder where the data set was begun"
                )

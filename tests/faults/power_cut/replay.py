"""What is on a disk after a power cut: the fsynced part of a log, and any allowed part of the rest.

The rules are those of POSIX, as strict as file systems may be:

- fsync of a file makes its bytes and its size durable, not its name.
- fsync of a folder makes its entries durable, not those of the folder that contains it.
- Without fsync, the changes of a folder's entries become durable in their order, up to any of them, whatever happens to
  other folders and to the bytes of files. A rename is one change, also between two folders.
- Without fsync, each block of a file becomes durable or not. A missing block has its former bytes, or zeros. The size
  is any of those that the file had since. Writes after a truncation need the truncation.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.power_cut.log import (
    FILE,
    FOLDER,
    LINK,
    Begin,
    Create,
    Entry,
    Link,
    Remove,
    Rename,
    Sync,
    Truncate,
    Write,
)
from tests.faults.power_cut.protocol import ROOT_ID

BLOCK = 4096


@dataclass(eq=False)
class Change:
    """A change of entries: (folder, name, node), where None removes the name. number: its place in the log."""

    number: int
    parts: list[tuple[int, bytes, int | None]]


@dataclass
class Node:
    """A file, folder or symbolic link: what is durable, and what was done since.

    entries: of a folder, as durable. live: as the program sees them. data: of a file, as durable.
    """

    kind: int
    mode: int
    target: bytes = b""
    entries: dict[bytes, int] = field(default_factory=dict)
    live: dict[bytes, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    writes: list[Write | Truncate] = field(default_factory=list)


class Rule:
    """Which part of the changes that were not fsynced is on disk. This one: nothing."""

    def entries(self, count: int) -> int:
        """Returns how many of a folder's ``count`` changes are on disk."""
        return 0

    def sizes(self, count: int) -> int:
        """Returns how many of the ``count`` changes of a file set its size."""
        return 0

    def block(self) -> bool:
        """Returns whether a written block is on disk."""
        return False


class Everything(Rule):
    """All changes are on disk: what the program saw."""

    def entries(self, count: int) -> int:
        return count

    def sizes(self, count: int) -> int:
        return count

    def block(self) -> bool:
        return True


class NamesOnly(Rule):
    """All entries of folders are on disk, and no byte of a file: the rename precedes its data."""

    def entries(self, count: int) -> int:
        return count


class SizesOnly(NamesOnly):
    """All entries and sizes are on disk, and no byte: files are full of zeros."""

    def sizes(self, count: int) -> int:
        return count


class Mixed(Rule):
    """Each folder, each file and each block for itself."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._share = 0.5

    def _prefix(self, count: int) -> int:
        return self._random.choice((0, count, self._random.randint(0, count)))

    def entries(self, count: int) -> int:
        return self._prefix(count)

    def sizes(self, count: int) -> int:
        self._share = self._random.choice((0.0, 0.5, 0.9, 1.0))
        return self._prefix(count)

    def block(self) -> bool:
        return self._random.random() < self._share


def rule_of(seed: int) -> Rule:
    """Returns a rule: half of the seeds mix, the others are an extreme each."""
    extremes = (Rule(), NamesOnly(), SizesOnly(), Everything())
    return Mixed(seed) if seed % 2 else extremes[seed // 2 % len(extremes)]


class Disk:
    """The disk of a log: its state after any number of entries, and after a power cut."""

    def __init__(self) -> None:
        self._nodes = {ROOT_ID: Node(FOLDER, 0o755)}

    @classmethod
    def after(cls, log: Sequence[Entry], count: int) -> "Disk":
        """Returns the disk after the first ``count`` entries of a log."""
        disk = cls()
        for number, entry in enumerate(log[:count]):
            disk._do(number, entry)
        return disk

    def _do(self, number: int, entry: Entry) -> None:
        match entry:
            case Create(parent, name, node, kind, mode, target):
                self._nodes[node] = Node(kind, mode, target)
                self._change(Change(number, [(parent, name, node)]))
            case Link(parent, name, node):
                self._change(Change(number, [(parent, name, node)]))
            case Remove(parent, name):
                self._change(Change(number, [(parent, name, None)]))
            case Rename(parent, name, new_parent, new_name):
                node = self._nodes[parent].live[name]
                self._change(Change(number, [(parent, name, None), (new_parent, new_name, node)]))
            case Write(node):
                self._nodes[node].writes += _blocks(entry)
            case Truncate(node):
                self._nodes[node].writes.append(entry)
            case Sync(node):
                self._sync(node)
            case Begin():
                pass

    def _change(self, change: Change) -> None:
        for folder, name, node in change.parts:
            known = self._nodes[folder]
            _apply(known.live, name, node)
            if change not in known.changes[-1:]:
                known.changes.append(change)

    def _sync(self, node: int) -> None:
        known = self._nodes[node]
        if known.kind == FOLDER:
            counts = {number: 0 for number, each in self._nodes.items() if each.kind == FOLDER}
            self._commit(self._with_partners({**counts, node: len(known.changes)}))
        else:
            known.data = _written(known, Everything())
            known.writes.clear()

    def _with_partners(self, counts: dict[int, int]) -> dict[int, int]:
        """Returns the counts of changes that become durable if these do: a rename takes its other folder along."""
        grown = True
        while grown:
            grown = False
            for folder, count in [*counts.items()]:
                for change in self._nodes[folder].changes[:count]:
                    for other, _, _ in change.parts:
                        needed = self._nodes[other].changes.index(change) + 1
                        if counts[other] < needed:
                            counts[other], grown = needed, True
        return counts

    def _without_partners(self, counts: dict[int, int]) -> dict[int, int]:
        """Returns the counts without renames of which only one folder would be durable."""
        shrunk = True
        while shrunk:
            shrunk = False
            for folder, count in [*counts.items()]:
                for place, change in enumerate(self._nodes[folder].changes[:count]):
                    if any(self._nodes[other].changes.index(change) >= counts[other] for other, _, _ in change.parts):
                        counts[folder], shrunk = place, True
                        break
        return counts

    def _commit(self, counts: dict[int, int]) -> None:
        """Makes the first changes of folders durable."""
        done = {change for folder, count in counts.items() for change in self._nodes[folder].changes[:count]}
        for change in sorted(done, key=lambda change: change.number):
            for folder, name, node in change.parts:
                _apply(self._nodes[folder].entries, name, node)
        for folder, count in counts.items():
            del self._nodes[folder].changes[:count]

    def cut(self, rule: Rule) -> None:
        """Cuts the power: what the rule says becomes durable."""
        folders = {number: node for number, node in self._nodes.items() if node.kind == FOLDER}
        self._commit(
            self._without_partners({number: rule.entries(len(node.changes)) for number, node in folders.items()})
        )
        for node in self._nodes.values():
            if node.kind == FILE:
                node.data = _written(node, rule)

    @classmethod
    def states(cls, log: Sequence[Entry], begin: int) -> Iterator["Disk"]:
        """Yields one disk, after each entry from number ``begin`` on."""
        disk = cls()
        for number, entry in enumerate(log):
            disk._do(number, entry)
            if number >= begin:
                yield disk

    def names(self, *, live: bool) -> Iterator[str]:
        """Yields the paths of the files and folders, durable ones or as the program sees them (``live``)."""
        waiting = [(ROOT_ID, "")]
        while waiting:
            number, prefix = waiting.pop()
            node = self._nodes[number]
            for name, child in (node.live if live else node.entries).items():
                yield prefix + os.fsdecode(name)
                waiting.append((child, f"{prefix}{os.fsdecode(name)}/"))

    def write_to(self, folder: Path) -> None:
        """Writes the durable files and folders into an empty folder."""
        written: dict[int, Path] = {}
        self._write_entries(ROOT_ID, folder, written)

    def _write_entries(self, number: int, folder: Path, written: dict[int, Path]) -> None:
        for name, child in self._nodes[number].entries.items():
            node, path = self._nodes[child], folder / os.fsdecode(name)
            if node.kind == FOLDER:
                path.mkdir()
                self._write_entries(child, path, written)
            elif node.kind == LINK:
                path.symlink_to(os.fsdecode(node.target))
            elif child in written:
                path.hardlink_to(written[child])
                continue
            else:
                path.write_bytes(node.data)
            written[child] = path
            if node.kind != LINK:
                path.chmod(node.mode)


def _apply(entries: dict[bytes, int], name: bytes, node: int | None) -> None:
    if node is None:
        del entries[name]
    else:
        entries[name] = node


def _blocks(write: Write) -> Iterator[Write]:
    """Divides a write at the ends of blocks: each is on disk or not."""
    start, end = write.offset, write.offset + len(write.data)
    while start < end:
        stop = min(end, start - start % BLOCK + BLOCK)
        yield Write(write.node, start, write.data[start - write.offset : stop - write.offset])
        start = stop


def _written(node: Node, rule: Rule) -> bytearray:
    """Returns the bytes of a file of whose writes the rule lets some reach the disk."""
    data = bytearray(node.data)
    sized = rule.sizes(len(node.writes))
    size = len(data)
    for number, write in enumerate(node.writes):
        if isinstance(write, Truncate):
            if number >= sized:
                break  # the writes after it need it
            del data[write.size :]
            size = write.size
            continue
        end = write.offset + len(write.data)
        if number < sized:
            size = max(size, end)
        if rule.block():
            data.extend(bytes(max(0, end - len(data))))
            data[write.offset : end] = write.data
    del data[size:]
    data.extend(bytes(size - len(data)))
    return data

"""The statistics of a finished shard: counts, and the size and hash of each file."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ovocr.base.files import write_text
from ovocr.dataset.json_objects import DamagedFileError, ObjectReader, Problem, is_count, read_object
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Status

Part = TypeVar("Part")

_CHUNK_BYTES = 4 * 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
STATUSES = tuple(status.value for status in Status)
_IMAGE_COUNTS = ("input", *STATUSES, "ignored")
_TEXT_COUNTS = ("lines", "words_found", "words_in_vocabulary")
# Values of the entry that are compared with the manifest; size and names_sha256 are compared when a source is read.
_COMPARED = ("source", "kind", "start", "stop")


def data_file_names(has_text: bool) -> tuple[str, ...]:
    """Returns the names of a shard's data files."""
    return ("rec", "idx", "ocr", "records") if has_text else ("rec", "idx", "records")


def count_names(has_text: bool) -> tuple[str, ...]:
    """Returns the names of a data set's counts."""
    return (*_IMAGE_COUNTS, *(_TEXT_COUNTS if has_text else ()), "tags")


@dataclass
class ShardCounts:
    """Counts of one shard, or sums over shards.

    input: number of images. ignored: number of other files or members in the source.
    lines, words_found, words_in_vocabulary: numbers in the images that were read; repeated words count again.
    tags: number of distinct class ids per image, summed over ok images.
    reasons: maps reasons to the number of images that were dropped or quarantined.
    """

    input: int = 0
    ok: int = 0
    dropped: int = 0
    quarantined: int = 0
    ignored: int = 0
    lines: int = 0
    words_found: int = 0
    words_in_vocabulary: int = 0
    tags: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Counts one image."""
        self.input += 1
        if outcome.status is Status.OK:
            self.ok += 1
        elif outcome.status is Status.DROPPED:
            self.dropped += 1
        else:
            self.quarantined += 1
        if outcome.reason is not None:
            self.reasons[outcome.reason.value] += 1
        self.lines += len(outcome.lines)
        self.words_found += outcome.words_found
        self.words_in_vocabulary += outcome.words_in_vocabulary
        self.tags += len(outcome.tags)

    def __add__(self, other: "ShardCounts") -> "ShardCounts":
        sums: dict[str, Any] = {name: value + vars(other)[name] for name, value in vars(self).items()}
        return ShardCounts(**sums)

    def to_json(self, *, with_text: bool = True) -> dict[str, Any]:
        """Returns the counts. Raises ValueError if ok, dropped and quarantined do not add up to the input.

        with_text: include the counts of lines and words.
        """
        if self.input != self.ok + self.dropped + self.quarantined:
            raise ValueError(f"counts do not add up: {self}")
        counts: dict[str, Any] = {name: getattr(self, name) for name in count_names(with_text)}
        return {**counts, "reasons": dict(sorted(self.reasons.items()))}


@dataclass(frozen=True)
class FileDescription:
    """Size and hash of a file. bytes: size. sha256: hash in hexadecimal."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileDescription":
        """Reads the whole file. Raises OSError."""
        digest = hashlib.sha256()
        size = 0
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
        return cls(size, digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class ShardStatistics:
    """The content of a shard's file in stats/.

    seconds: time to write the shard. files: maps names to data files. generation: index of the generation in
    ``Manifest.history`` in which the shard was written.
    """

    entry: ShardEntry
    counts: ShardCounts
    has_text: bool
    seconds: float
    files: Mapping[str, FileDescription]
    generation: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object of the file."""
        counts = self.counts.to_json(with_text=self.has_text)
        files = {name: asdict(description) for name, description in self.files.items()}
        generation = {"generation": self.generation} if self.generation else {}
        return {**self.entry.to_json(), **counts, "seconds": self.seconds, **generation, "files": files}

    def write(self, path: Path) -> None:
        """Writes the file atomically. Raises OSError."""
        write_text(path, json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def parse(
        cls, data: dict[str, Any], entry: ShardEntry, *, has_text: bool, generations: int = 1
    ) -> "tuple[ShardStatistics, list[Problem]]":
        """Returns the statistics and their problems. Invalid values are replaced by valid ones.

        entry: the shard's entry in the manifest. generations: number of generations of the data set.
        """
        reader = ObjectReader(data)
        for name in _COMPARED:
            if (expected := getattr(entry, name)) != data.get(name):
                reader.report(name, f"{expected!r} (from manifest.json)", data.get(name))
        counts = _parse_counts(reader, has_text)
        generation = reader.number("generation", 0, generations - 1) if "generation" in data else 0
        statistics = cls(
            entry=entry,
            counts=counts,
            has_text=has_text,
            seconds=data.get("seconds", 0.0),
            files=_parse_files(reader, has_text),
            generation=generation,
        )
        return statistics, reader.problems


def read_statistics(path: Path, entry: ShardEntry, *, has_text: bool, generations: int) -> ShardStatistics:
    """Reads the statistics of a finished shard; arguments as in ``parse``. Raises DamagedFileError."""
    statistics, problems = ShardStatistics.parse(read_object(path), entry, has_text=has_text, generations=generations)
    for problem in problems:
        raise DamagedFileError(path, problem)
    return statistics


def read_counts(path: Path) -> ShardCounts:
    """Reads the counts of a finished shard. Raises DamagedFileError that names the first invalid count."""
    return _read_part(path, _parse_counts)


def read_files(path: Path) -> dict[str, FileDescription]:
    """Reads size and hash of the files of a finished shard. Raises DamagedFileError."""
    return _read_part(path, _parse_files)


def _read_part(path: Path, parse: Callable[[ObjectReader, bool], Part]) -> Part:
    """Returns a part of the statistics without comparing them with the manifest."""
    data = read_object(path)
    reader = ObjectReader(data)
    found = parse(reader, any(name in data for name in _TEXT_COUNTS))
    for problem in reader.problems:
        raise DamagedFileError(path, problem)
    return found


def _parse_counts(reader: ObjectReader, has_text: bool) -> ShardCounts:
    counts = {name: reader.number(name, 0) for name in count_names(has_text)}
    parts = [counts[name] for name in STATUSES]
    if sum(parts) != counts["input"] and not any(problem.name in counts for problem in reader.problems):
        reader.report(" + ".join(STATUSES), f"{counts['input']} (input)", sum(parts))
    reasons = reader.typed("reasons", dict, "an object")
    if not all(map(is_count, reasons.values())):
        reader.report("reasons", "counts", reasons)
        reasons = {}
    return ShardCounts(**counts, reasons=Counter(reasons))


def _parse_files(reader: ObjectReader, has_text: bool) -> dict[str, FileDescription]:
    files = reader.get("files")
    names = data_file_names(has_text)
    if not isinstance(files, dict) or set(files) != set(names) or not all(map(_is_description, files.values())):
        found = "nothing" if files is None else repr(files)
        reader.problems.append(Problem("files", f"size and sha256 of {', '.join(names)}", found))
        return {}
    return {name: FileDescription(files[name]["bytes"], files[name]["sha256"]) for name in names}


def _is_description(value: object) -> bool:
    return (
        isinstance(value, dict)
        and is_count(value.get("bytes"))
        and isinstance(value.get("sha256"), str)
        and _SHA256.fullmatch(value["sha256"]) is not None
    )

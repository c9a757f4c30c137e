"""The manifest of a data set: the configuration that, with the input, determines the data set's bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.files import write_text
from ovocr.dataset.json_objects import DamagedFileError, ObjectReader, Problem, is_count, parse_object, read_bytes
from ovocr.dataset.outcome import Place, distinct_ids

FORMAT = 3
# The format before: one place a tag, no edges of characters. Packed data sets have the same files in both.
OLD_FORMAT = 2
SOURCE_KINDS = ("tar", "rec", "parquet", "folder", "zip", "arrow", "files", "list")
UNIFORM, IDF = "uniform", "idf"
WEIGHTINGS = (UNIFORM, IDF)
# The name of the engine of a data set whose text was given in a table.
GIVEN = "given"
# The parts of a data set that `ovocr split` divides.
TRAIN, HELD_OUT = "train", "held-out"
PARTS = (TRAIN, HELD_OUT)
MAX_TAGS = 100_000
MAX_LETTERS = 100
MAX_SEED = 2**63 - 1
_MAX_SIZE = 2**63


@dataclass(frozen=True, kw_only=True)
class TagPolicy:
    """The rules that decide which words of an image are its tags, and how tags fill its slots.

    tags: number of slots per image.
    seed: seed that selects words if an image has more words than slots.
    weighting: "uniform" gives all words the same chance; "idf" weights them by inverse document frequency.
    repeats: count a word as often as it occurs in the image instead of once.
    min_score: words in lines with a lower recognition score, from 0 to 1, are left out.
    min_letters: words of alphabetic scripts with fewer letters are left out.
    """

    tags: int
    seed: int
    weighting: str = UNIFORM
    repeats: bool = False
    min_score: float = 0.0
    min_letters: int = 1

    @property
    def leaves_words_out(self) -> bool:
        """True if words of the vocabulary may be left out, so that they have no place."""
        return self.min_score > 0 or self.min_letters > 1

    def competing(self, places: Sequence[Place]) -> list[int]:
        """Returns the class ids that compete for the slots of an image, in order of appearance."""
        return [place.id for place in places] if self.repeats else distinct_ids(places)

    def describe(self) -> dict[str, Any]:
        """Returns the manifest's options except tags and seed; defaults are left out."""
        options = (
            ("policy", self.weighting, UNIFORM),
            ("repeats", self.repeats, False),
            ("min_score", self.min_score, 0.0),
            ("min_letters", self.min_letters, 1),
        )
        return {name: value for name, value, default in options if value != default}


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options for sources that are tables. The manifest has those that are not None.

    image_column, image_key_column: names of the columns with the images and their keys; None to find them by name.
    image_root: folder of the images of which a table has only the paths.
    """

    image_column: str | None = None
    image_key_column: str | None = None
    image_root: str | None = None

    def describe(self) -> dict[str, str]:
        """Returns the manifest's options."""
        return {name: value for name, value in vars(self).items() if value is not None}


DEFAULT_SOURCE_OPTIONS = SourceOptions()


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """Identifies an input shard. A source with a different size or different names is a different source.

    source: path or URL as given; the folder of image files that were named one by one. kind: one of SOURCE_KINDS.
    size: size of the source file in bytes, if known.
    start, stop: range of the images of a folder or a list that the shard contains. names_sha256: hash of their names.
    """

    source: str
    kind: str
    size: int | None = None
    start: int | None = None
    stop: int | None = None
    names_sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest's entry. The shard's statistics begin with the same values."""
        if self.start is None:
            return {"source": self.source, "kind": self.kind, "size": self.size}
        content = {"start": self.start, "stop": self.stop, "names_sha256": self.names_sha256}
        return {"source": self.source, "kind": self.kind, **content}

    @classmethod
    def parse(cls, data: object) -> "ShardEntry | None":
        """Returns the entry in a JSON object; None if a value is missing or invalid."""
        if not isinstance(data, dict):
            return None
        values: dict[str, Any] = {field.name: data.get(field.name) for field in fields(cls)}
        valid = isinstance(values["source"], str) and values["kind"] in SOURCE_KINDS
        valid &= all(is_count(data.get(name, 0)) for name in ("start", "stop"))
        valid &= values["size"] is None or is_count(values["size"])
        return cls(**values) if valid else None


@dataclass(frozen=True, kw_only=True)
class WordsEntry:
    """The words of a labelled data set.

    size: number of words in the vocabulary. sha256: hash of the vocabulary.
    segmentation: rules that cut lines into words.
    frequencies: description of the word frequencies; None if the policy does not use them.
    """

    size: int
    sha256: str
    segmentation: dict[str, Any]
    frequencies: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest's values."""
        frequencies = {} if self.frequencies is None else {"frequencies": self.frequencies}
        vocabulary = {"size": self.size, "sha256": self.sha256}
        return {"vocabulary": vocabulary, "segmentation": self.segmentation, **frequencies}


@dataclass(frozen=True, kw_only=True)
class TableEntry:
    """The table of class ids of a packed data set.

    num_classes: number of classes. sha256: hash of the table. key_column, label_columns: names of its columns.
    """

    num_classes: int
    sha256: str
    key_column: str
    label_columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A stage of a data set that grew, or whose packages were upgraded, after it was begun.

    shards: number of shards in the manifest at this stage. versions: as in ``Manifest``. engine_versions: versions of
    the engine's packages; None without an engine. table_sha256: hash of the table of lines or class ids; None without.
    """

    shards: int
    versions: dict[str, Any]
    engine_versions: dict[str, Any] | None = None
    table_sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest's value."""
        others = {"engine_versions": self.engine_versions, "table_sha256": self.table_sha256}
        present = {name: value for name, value in others.items() if value is not None}
        return {"shards": self.shards, "versions": self.versions, **present}

    @classmethod
    def parse(cls, data: object) -> "Generation | None":
        """Returns the generation in a JSON object; None if a value is missing or invalid."""
        if not isinstance(data, dict):
            return None
        values: dict[str, Any] = {field.name: data.get(field.name) for field in fields(cls)}
        valid = is_count(values["shards"]) and isinstance(values["versions"], dict)
        valid &= isinstance(values["engine_versions"], dict | None) and isinstance(values["table_sha256"], str | None)
        return cls(**values) if valid else None


@dataclass(frozen=True, kw_only=True)
class WholeDataSet:
    """Identifies a data set that was divided.

    manifest_sha256: hash of its manifest. files_sha256: hash of the hashes of its shards' files. shards, images: their
    numbers.
    """

    manifest_sha256: str
    files_sha256: str
    shards: int
    images: int


@dataclass(frozen=True, kw_only=True)
class SplitEntry:
    """Which part of which data set this one is.

    part: one of PARTS. share: share of the groups that are held out. seed: seed of the hashes of the groups.
    by: what images of a group have in common: their key, their source, or a column of a table of groups.
    groups_sha256: hash of the table; None without. whole: the data set that was divided.
    """

    part: str
    share: float
    by: str
    seed: int
    groups_sha256: str | None
    whole: WholeDataSet

    @property
    def settings(self) -> dict[str, Any]:
        """What decides on which side an image is, without the part."""
        groups = {} if self.groups_sha256 is None else {"groups_sha256": self.groups_sha256}
        return {"share": self.share, "by": self.by, "seed": self.seed, **groups}

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest's value."""
        return {"part": self.part, **self.settings, "data_set": vars(self.whole)}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The configuration of a data set. It contains no times, no folders and no properties of machines.

    policy: rule that fills the slots. A packed data set uses only its number of slots.
    shard_size: number of images per shard of a folder. max_pixels: maximum number of pixels of an image.
    source_options: options for sources that are tables.
    versions: versions of the packages that affect the bytes.
    words, engine: words of a labelled data set, and the engine that read them or the table that gave them; None in a
        packed one.
    table: table of class ids of a packed data set; None in a labelled one.
    relabelled: hash and versions of the old manifest, and its ``split``, if `ovocr relabel` wrote the data set.
    split: which part of which data set it is, if `ovocr split` wrote it.
    generations: stages of a data set that grew or whose packages were upgraded, from first to last; else empty.
        ``versions`` and the versions of the engine are those of the first.
    format: FORMAT or OLD_FORMAT.
    """

    policy: TagPolicy
    shard_size: int
    max_pixels: int
    versions: dict[str, Any]
    shards: tuple[ShardEntry, ...]
    source_options: SourceOptions = DEFAULT_SOURCE_OPTIONS
    words: WordsEntry | None = None
    engine: dict[str, Any] | None = None
    table: TableEntry | None = None
    relabelled: dict[str, Any] | None = None
    split: SplitEntry | None = None
    generations: tuple[Generation, ...] = ()
    format: int = FORMAT

    @property
    def has_text(self) -> bool:
        """True for a labelled data set; a packed one has no lines, words, boxes or vocabulary."""
        return self.words is not None

    @property
    def has_given_text(self) -> bool:
        """True if a table gave the lines of a labelled data set; False if an engine read them."""
        return self.engine is not None and self.engine.get("name") == GIVEN

    @property
    def num_classes(self) -> int:
        """Number of classes; class ids are less."""
        if self.table is not None:
            return self.table.num_classes
        assert self.words is not None
        return self.words.size

    @property
    def history(self) -> tuple[Generation, ...]:
        """The generations of the data set, at least one."""
        if self.generations:
            return self.generations
        engine = self.engine or {}
        lines = engine.get("lines") or {}
        return (
            Generation(
                shards=len(self.shards),
                versions=self.versions,
                engine_versions=engine.get("versions"),
                table_sha256=lines.get("sha256") if self.table is None else self.table.sha256,
            ),
        )

    @property
    def box_margin(self) -> float:
        """The margin that the detector leaves around text, as a share of a line's thickness; 0 if unknown."""
        settings = (self.engine or {}).get("settings")
        margin = settings.get("box_margin") if isinstance(settings, dict) else None
        return float(margin) if isinstance(margin, int | float) and 0 <= margin < 0.5 else 0.0

    @property
    def splits(self) -> list[dict[str, Any]]:
        """The JSON of the splits of this data set and of the one that it was relabelled from; empty if it is no part.

        In a part, an image's place in the records is not its place in the source.
        """
        own = [] if self.split is None else [self.split.to_json()]
        before = (self.relabelled or {}).get("split")
        return [*own, *([before] if isinstance(before, dict) else [])]

    @property
    def ancestors(self) -> list[str]:
        """Hashes of the manifests of data sets that have the images of this one."""
        parents = [self.relabelled or {}, *(split.get("data_set") or {} for split in self.splits)]
        return [parent["manifest_sha256"] for parent in parents if "manifest_sha256" in parent]

    def describe_relabelled(self, sha256: str) -> dict[str, Any]:
        """Returns the ``relabelled`` of a data set with new tags for this one. sha256: hash of this manifest."""
        splits = self.splits
        return {"manifest_sha256": sha256, "versions": self.versions, **({"split": splits[0]} if splits else {})}

    @property
    def command(self) -> str:
        """Name of the command that wrote the data set."""
        if self.split is not None:
            return "split"
        if not self.has_text:
            return "pack-labels"
        return "build-labels" if self.relabelled is None else "relabel"

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object of the file."""
        sizes = {"shard_size": self.shard_size, "max_pixels": self.max_pixels, **self.source_options.describe()}
        shards = [shard.to_json() for shard in self.shards]
        generations = [generation.to_json() for generation in self.generations]
        history: dict[str, Any] = {"generations": generations} if generations else {}
        if self.split is not None:
            history["split"] = self.split.to_json()
        if self.table is not None:
            columns = {"key_column": self.table.key_column, "label_columns": list(self.table.label_columns)}
            return {
                "format": self.format,
                "num_classes": self.table.num_classes,
                "options": {"tags": self.policy.tags, **sizes, **columns},
                "labels": {"sha256": self.table.sha256},
                "versions": self.versions,
                "shards": shards,
                **history,
            }
        assert self.words is not None
        return {
            "format": self.format,
            "options": {"tags": self.policy.tags, "seed": self.policy.seed, **sizes, **self.policy.describe()},
            **self.words.to_json(),
            "engine": self.engine,
            "versions": self.versions,
            "shards": shards,
            **history,
            **({} if self.relabelled is None else {"relabelled": self.relabelled}),
        }

    def write(self, path: Path) -> None:
        """Writes the file atomically. Raises OSError."""
        write_text(path, json.dumps(self.to_json(), ensure_ascii=False, indent=2) + "\n")

    @classmethod
    def parse(cls, data: dict[str, Any]) -> "tuple[Manifest, list[Problem]]":
        """Returns the manifest and its problems. Invalid values are replaced by valid ones."""
        reader = ObjectReader(data)
        format = reader.choice("format", None, (FORMAT, OLD_FORMAT))
        for name in ("options", "versions"):
            reader.typed(name, dict, "an object")
        has_text = "labels" not in data
        manifest = cls(
            words=_parse_words(reader) if has_text else None,
            engine=reader.typed("engine", dict, "an object") if has_text else None,
            table=None if has_text else _parse_table(reader),
            policy=TagPolicy(
                tags=reader.number("options.tags", 1, MAX_TAGS),
                seed=reader.number("options.seed", 0, MAX_SEED) if has_text else 0,
                weighting=reader.choice("options.policy", UNIFORM, WEIGHTINGS),
                repeats=reader.choice("options.repeats", False, (False, True)),
                min_score=reader.share("options.min_score", 0.0),
                min_letters=reader.number("options.min_letters", 1, MAX_LETTERS, default=1),
            ),
            shard_size=reader.number("options.shard_size", 1, _MAX_SIZE),
            max_pixels=reader.number("options.max_pixels", 1, _MAX_SIZE),
            versions=reader.get("versions"),
            shards=_parse_shards(reader),
            generations=_parse_generations(reader) if "generations" in data else (),
            source_options=_parse_source_options(reader),
            relabelled=reader.typed("relabelled", dict, "an object") if has_text and "relabelled" in data else None,
            split=_parse_split(reader) if "split" in data else None,
            format=format or FORMAT,
        )
        return manifest, reader.problems

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Reads the file. Raises OvocrError that names the first invalid value. Callers must not change the manifest.

        A file with the bytes of the last read is not parsed again: it may have thousands of shards, and functions that
        work on one shard read it for themselves.
        """
        manifest, problems = _parse(path, read_bytes(path))
        if not problems:
            return manifest
        if problems[0].name == "format":
            raise OvocrError(f"{path}: format {problems[0].found}; this version of ovocr reads format {FORMAT}")
        raise DamagedFileError(path, problems[0])


@lru_cache(maxsize=2)  # relabelling reads two data sets
def _parse(path: Path, data: bytes) -> "tuple[Manifest, list[Problem]]":
    return Manifest.parse(parse_object(path, data))


def fixed_configuration(data: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON of a manifest without what may change as it grows: shards, versions, the hash of a table."""
    kept = _without(data, "shards", "versions", "generations")
    if "labels" in kept:
        kept["labels"] = _without(kept["labels"], "sha256")
    if isinstance(engine := kept.get("engine"), dict):
        kept["engine"] = _without(engine, "versions")
        if "lines" in engine:
            kept["engine"]["lines"] = _without(engine["lines"], "sha256")
    return kept


def _without(value: Any, *names: str) -> Any:
    return {name: value[name] for name in value if name not in names} if isinstance(value, dict) else value


def has_old_places(path: Path) -> bool:
    """Returns True if the manifest is of a labelled data set of OLD_FORMAT. A damaged manifest is not."""
    try:
        manifest, _ = _parse(path, read_bytes(path))
    except DamagedFileError:
        return False
    return manifest.format == OLD_FORMAT and manifest.has_text


def _parse_source_options(reader: ObjectReader) -> SourceOptions:
    names = [field.name for field in fields(SourceOptions) if reader.get(f"options.{field.name}") is not None]
    return SourceOptions(**{name: reader.typed(f"options.{name}", str, "a text") for name in names})


def _parse_words(reader: ObjectReader) -> WordsEntry:
    from ovocr.recordio import MAX_CLASS_ID  # imports NumPy, which `ovocr --help` does not need

    reader.typed("vocabulary", dict, "an object")
    frequencies = reader.get("frequencies")
    return WordsEntry(
        segmentation=reader.typed("segmentation", dict, "an object"),
        sha256=reader.typed("vocabulary.sha256", str, "a hash"),
        size=reader.number("vocabulary.size", 1, MAX_CLASS_ID + 1),
        frequencies=frequencies if isinstance(frequencies, dict) else None,
    )


def _parse_table(reader: ObjectReader) -> TableEntry:
    from ovocr.recordio import MAX_CLASS_ID  # imports NumPy, which `ovocr --help` does not need

    reader.typed("labels", dict, "an object")
    columns = reader.typed("options.label_columns", list, "a list")
    return TableEntry(
        sha256=reader.typed("labels.sha256", str, "a hash"),
        num_classes=reader.number("num_classes", 1, MAX_CLASS_ID + 1),
        key_column=reader.typed("options.key_column", str, "the name of a column"),
        label_columns=tuple(map(str, columns)),
    )


def _parse_shards(reader: ObjectReader) -> tuple[ShardEntry, ...]:
    shards = []
    for number, data in enumerate(reader.typed("shards", list, "a list")):
        entry = ShardEntry.parse(data)
        if entry is None:
            reader.report(f"shards[{number}]", f"source, kind ({', '.join(SOURCE_KINDS)}) and size or range", data)
        else:
            shards.append(entry)
    return tuple(shards)


def _parse_split(reader: ObjectReader) -> SplitEntry:
    for name in ("split", "split.data_set"):
        reader.typed(name, dict, "an object")
    groups = reader.get("split.groups_sha256")
    return SplitEntry(
        part=reader.choice("split.part", TRAIN, PARTS),
        share=reader.share("split.share", 0.0),
        by=reader.typed("split.by", str, "key, source or the name of a column"),
        seed=reader.number("split.seed", 0, MAX_SEED),
        groups_sha256=None if groups is None else reader.typed("split.groups_sha256", str, "a hash"),
        whole=WholeDataSet(
            manifest_sha256=reader.typed("split.data_set.manifest_sha256", str, "a hash"),
            files_sha256=reader.typed("split.data_set.files_sha256", str, "a hash"),
            shards=reader.number("split.data_set.shards", 0),
            images=reader.number("split.data_set.images", 0),
        ),
    )


def _parse_generations(reader: ObjectReader) -> tuple[Generation, ...]:
    generations = []
    for number, data in enumerate(reader.typed("generations", list, "a list")):
        generation = Generation.parse(data)
        if generation is None:
            reader.report(f"generations[{number}]", "shards and versions", data)
        else:
            generations.append(generation)
    return tuple(generations)

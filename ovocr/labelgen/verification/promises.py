"""What a manifest promises of every shard."""

from dataclasses import dataclass
from typing import Any

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.options import MAX_CLASSES, MAX_SEED, MAX_TAGS
from ovocr.labelgen.shards.manifest import FORMAT
from ovocr.labelgen.tagging.tag_slots import UNIFORM, WEIGHTINGS, TagPolicy
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.stored_files import read_object

_KINDS = ("tar", "rec", "parquet", "folder")
_MEND = "put back the manifest.json that the data set was made with"


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What the checks of a shard go by.

    with_text: the pictures were read; else their class ids come from a table. classes: class ids are below it.
    policy: how tags take the slots; of packed labels, only their number counts. max_pixels: of a stored picture.
    command: what made the data set. shards: what identifies each in manifest and statistics.
    """

    with_text: bool
    classes: int
    policy: TagPolicy
    max_pixels: int
    command: str
    shards: tuple[dict[str, Any], ...]


def read_promises(data_set: LabelledDataSet, findings: Findings) -> Promises | None:
    """Those of the manifest; None, with findings, where it is not one that any command writes."""
    manifest = read_object(data_set.manifest_path, findings, mend=_MEND)
    if manifest is None:
        return None
    reader = _Reader(manifest)
    promises = _read(manifest, reader)
    for name, promised, found in reader.problems:
        findings.add(data_set.manifest_path, name, promised, found, mend=_MEND)
    return None if reader.problems else promises


class _Reader:
    """Looks up names of nested objects, joined by dots, and notes what is not as it should be."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self._manifest = manifest
        self.problems: list[tuple[str, str, str]] = []

    def get(self, name: str, default: object = None) -> Any:
        value: Any = self._manifest
        for part in name.split("."):
            value = value.get(part, default) if isinstance(value, dict) else default
        return value

    def number(self, name: str, least: int, most: int) -> int:
        value = self.get(name)
        if not (is_count(value) and least <= value <= most):
            self.problems.append((name, f"a whole number from {least} to {most}", repr(value)))
            return least
        return int(value)

    def thing(self, name: str, kind: type, what: str) -> Any:
        value = self.get(name)
        if not isinstance(value, kind):
            self.problems.append((name, what, repr(value)))
            return kind()
        return value

    def choice(self, name: str, default: Any, choices: tuple[Any, ...]) -> Any:
        value = self.get(name, default)
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            self.problems.append((name, f"one of {', '.join(map(repr, choices))}", repr(value)))
            return default
        return value


def is_count(value: object) -> bool:
    """A whole number of 0 or more, as JSON has it?"""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read(manifest: dict[str, Any], reader: _Reader) -> Promises:
    with_text = "labels" not in manifest
    reader.choice("format", None, (FORMAT,))
    for name in ("options", "versions", *(("vocabulary", "segmentation", "engine") if with_text else ("labels",))):
        reader.thing(name, dict, "an object")
    reader.thing("vocabulary.sha256" if with_text else "labels.sha256", str, "a hash")
    command = "pack-labels" if not with_text else "relabel" if "relabelled" in manifest else "build-labels"
    return Promises(
        with_text=with_text,
        classes=reader.number("vocabulary.size" if with_text else "num_classes", 1, MAX_CLASSES + 1),
        policy=TagPolicy(
            tags=reader.number("options.tags", 1, MAX_TAGS),
            seed=reader.number("options.seed", 0, MAX_SEED) if with_text else 0,
            weighting=reader.choice("options.policy", UNIFORM, WEIGHTINGS),
            repeats=reader.choice("options.repeats", False, (False, True)),
        ),
        max_pixels=reader.number("options.max_pixels", 1, 2**63),
        command=command,
        shards=tuple(_read_shards(reader)),
    )


def _read_shards(reader: _Reader) -> list[dict[str, Any]]:
    shards = reader.thing("shards", list, "a list")
    for number, shard in enumerate(shards):
        known = isinstance(shard, dict) and isinstance(shard.get("source"), str) and shard.get("kind") in _KINDS
        if not known or not all(is_count(shard.get(name, 0)) for name in ("start", "stop")):
            reader.problems.append((f"shards[{number}]", f"source, kind ({', '.join(_KINDS)}) and place", repr(shard)))
    return list(shards)

"""The files of a data set's words: vocabulary, its description, and word frequencies."""

from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.shard_files import describe_file
from ovocr.labelgen.shards.manifest import text_versions
from ovocr.labelgen.tagging.run_words import stored_frequencies, stored_vocabulary
from ovocr.labelgen.tagging.tag_slots import IDF
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.promises import Promises
from ovocr.labelgen.verification.stored_files import is_file, read_object
from ovocr.vocab import Segmentation
from ovocr.vocab.segmentation.segmenter import DEFAULT
from ovocr.vocab.vocabulary import description_path

# Of these, another version may find other words in the same text.
_SEGMENTING = ("jieba", "regex", "unicode")


def check_words(data_set: LabelledDataSet, promises: Promises, findings: Findings) -> bool:
    """Are the files those that the manifest names? Where one is not, it is noted."""
    if not promises.with_text:
        return True
    sound = _check_vocabulary(data_set, findings)
    if promises.policy.weighting == IDF:
        sound &= _check_frequencies(data_set, findings)
    return sound


def _check_frequencies(data_set: LabelledDataSet, findings: Findings) -> bool:
    path = data_set.frequencies_path
    if not is_file(path, findings, mend=_mend(path)):
        return False
    try:
        stored_frequencies(data_set)
    except OvocrError as error:
        _add(path, findings, "the word frequencies of the manifest", str(error))
        return False
    return True


def _check_vocabulary(data_set: LabelledDataSet, findings: Findings) -> bool:
    manifest = data_set.manifest()
    words = _check_hash(data_set.vocabulary_path, manifest["vocabulary"]["sha256"], findings)
    description = _check_description(description_path(data_set.vocabulary_path), manifest, findings)
    return words and description and _check_readable(data_set, findings)


def _check_hash(path: Path, promised: str, findings: Findings) -> bool:
    if not is_file(path, findings, mend=_mend(path)):
        return False
    try:
        sha256 = describe_file(path)["sha256"]
    except OSError as error:
        _add(path, findings, "readable", str(error.strerror))
        return False
    if sha256 != promised:
        _add(path, findings, f"of sha256 {promised}", sha256)
    return bool(sha256 == promised)


def _check_description(path: Path, manifest: dict[str, Any], findings: Findings) -> bool:
    described = read_object(path, findings, mend=_mend(path))
    if described is None:
        return False
    promised = manifest["vocabulary"]
    different = [name for name in ("size", "sha256") if described.get(name) != promised[name]]
    for name in different:
        _add(path, findings, f"of {name} {promised[name]}", repr(described.get(name)))
    return _check_rules(path, described, manifest["segmentation"], findings) and not different


def _check_rules(path: Path, described: dict[str, Any], promised: dict[str, Any], findings: Findings) -> bool:
    """Are its rules objects, and are lines cut with the setting by which the vocabulary's words are made?

    Versions may differ: of the vocabulary they are those that its words were counted with, of the manifest those that
    the data set's lines were cut with.
    """
    wrong = [name for name in ("normalisation", "segmenter") if not isinstance(described.get(name, {}), dict)]
    for name in wrong:
        _add(path, findings, f"of {name} that is an object", repr(described[name]))
    if wrong:
        return False
    there, here = (rules.get("han", DEFAULT.han) for rules in (described.get("segmenter", {}), promised))
    if there != here:
        _add(path, findings, f"of segmenter.han {here!r}, as segmentation.han of manifest.json", repr(there))
    return bool(there == here)


def older_rules(data_set: LabelledDataSet) -> str:
    """How the rules that the vocabulary's words were made with differ from those that cut the data set's lines.

    Nothing where they do not, or one of the two does not say. The vocabulary must be sound.
    """
    there = stored_vocabulary(data_set).settings.get("segmenter", {})
    here = data_set.manifest()["segmentation"]
    both = [name for name in there if name in here and there[name] != here[name]]
    return ", ".join(f"{name} {there[name]!r}, of the lines {here[name]!r}" for name in both)


def _check_readable(data_set: LabelledDataSet, findings: Findings) -> bool:
    """Loading it compares words and description, too."""
    try:
        stored_vocabulary(data_set)
    except OvocrError as error:
        _add(data_set.vocabulary_path, findings, "a vocabulary", str(error))
        return False
    return True


def _add(path: Path, findings: Findings, promised: str, found: str) -> None:
    findings.add(path, "", promised, found.removeprefix(f"{path}: "), mend=_mend(path))


def _mend(path: Path) -> str:
    return f"put back the {path.name} that the data set was made with"


def other_rules(data_set: LabelledDataSet) -> str:
    """How the rules that cut its lines into words differ from those of this installation; nothing if they do not.

    The data set's vocabulary must be sound.
    """
    manifest = data_set.manifest()
    here = Segmentation.of(stored_vocabulary(data_set).settings).describe()
    if manifest["segmentation"] != here:
        return f"segmentation {manifest['segmentation']}, here {here}"
    versions = text_versions()
    other = [name for name in _SEGMENTING if manifest["versions"].get(name) != versions[name]]
    return ", ".join(f"{name} {manifest['versions'].get(name)}, here {versions[name]}" for name in other)

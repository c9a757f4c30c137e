"""Checks the files with a data set's words: vocabulary, its description, and word frequencies."""

from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import IDF, Manifest, WordsEntry
from ovocr.dataset.statistics import FileDescription
from ovocr.labelgen.shards.manifest import text_versions
from ovocr.labelgen.tagging.run_words import stored_frequencies, stored_vocabulary, stored_words
from ovocr.labelgen.verification.finding import Findings
from ovocr.vocab import Segmentation
from ovocr.vocab.segmentation.segmenter import DEFAULT
from ovocr.vocab.vocabulary import description_path

# Packages whose version affects segmentation.
_SEGMENTING = ("jieba", "regex", "unicode")


def check_words(data_set: LabelledDataSet, manifest: Manifest, findings: Findings) -> bool:
    """Returns True if the files match the manifest; otherwise adds findings."""
    if manifest.words is None:
        return True
    valid = _check_vocabulary(data_set, manifest.words, findings)
    if manifest.policy.weighting == IDF:
        valid &= _check_frequencies(data_set, findings)
    return valid


def vocabulary_rules_difference(data_set: LabelledDataSet) -> str:
    """Describes how the rules in the vocabulary's description differ from the rules in the manifest.

    Returns an empty string if no setting that both contain differs. The vocabulary must be valid.
    """
    vocabulary = stored_vocabulary(data_set).settings.get("segmenter", {})
    lines = stored_words(data_set).segmentation
    different = [name for name in vocabulary if name in lines and vocabulary[name] != lines[name]]
    return ", ".join(f"{name} {vocabulary[name]!r} (vocabulary), {lines[name]!r} (lines)" for name in different)


def installed_rules_difference(data_set: LabelledDataSet) -> str:
    """Describes how the rules in the manifest differ from the installed rules.

    Returns an empty string if they are equal. The vocabulary must be valid.
    """
    stored = stored_words(data_set).segmentation
    installed = Segmentation.of(stored_vocabulary(data_set).settings).describe()
    if stored != installed:
        return f"segmentation {stored}, installed {installed}"
    own_versions = text_versions()
    used = {
        (name, generation.versions.get(name)): own_versions[name]
        for generation in data_set.manifest().history
        for name in _SEGMENTING
    }
    return ", ".join(f"{name} {found}, installed {own}" for (name, found), own in used.items() if found != own)


def _check_frequencies(data_set: LabelledDataSet, findings: Findings) -> bool:
    path = data_set.frequencies_path
    if not findings.check_file(path, fix=_fix(path)):
        return False
    try:
        stored_frequencies(data_set)
    except OvocrError as error:
        _add(path, findings, "the word frequencies in the manifest", str(error))
        return False
    return True


def _check_vocabulary(data_set: LabelledDataSet, words: WordsEntry, findings: Findings) -> bool:
    path = data_set.vocabulary_path
    same = _check_hash(path, words.sha256, findings)
    described = _check_description(description_path(path), words, findings)
    if not (same and described):
        return False
    try:
        stored_vocabulary(data_set)  # also compares words and description
    except OvocrError as error:
        _add(path, findings, "a valid vocabulary", str(error))
        return False
    return True


def _check_hash(path: Path, expected: str, findings: Findings) -> bool:
    if not findings.check_file(path, fix=_fix(path)):
        return False
    try:
        sha256 = FileDescription.of(path).sha256
    except OSError as error:
        _add(path, findings, "a readable file", str(error.strerror))
        return False
    if sha256 != expected:
        _add(path, findings, f"sha256 {expected}", sha256)
    return sha256 == expected


def _check_description(path: Path, words: WordsEntry, findings: Findings) -> bool:
    described = findings.read_object(path, fix=_fix(path))
    if described is None:
        return False
    expected = {"size": words.size, "sha256": words.sha256}
    different = [name for name, value in expected.items() if described.get(name) != value]
    for name in different:
        _add(path, findings, f"{name} {expected[name]}", repr(described.get(name)))
    return _check_rules(path, described, words.segmentation, findings) and not different


def _check_rules(path: Path, described: dict[str, Any], segmentation: dict[str, Any], findings: Findings) -> bool:
    """Checks that the rules are objects, and that vocabulary and lines have the same setting ``han``.

    Versions may differ, because the vocabulary may be older than the data set.
    """
    invalid = [name for name in ("normalisation", "segmenter") if not isinstance(described.get(name, {}), dict)]
    for name in invalid:
        _add(path, findings, f"an object as {name}", repr(described[name]))
    if invalid:
        return False
    words, lines = (rules.get("han", DEFAULT.han) for rules in (described.get("segmenter", {}), segmentation))
    if words != lines:
        _add(path, findings, f"segmenter.han {lines!r} (segmentation.han of manifest.json)", repr(words))
    return bool(words == lines)


def _add(path: Path, findings: Findings, expected: str, found: str) -> None:
    findings.add(path, "", expected, found.removeprefix(f"{path}: "), fix=_fix(path))


def _fix(path: Path) -> str:
    return f"restore the {path.name} that the data set was written with"

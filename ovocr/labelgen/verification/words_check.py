"""Checks the files of a data set's words: vocabulary, its description, and word frequencies."""

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

# Packages of which another version may find other words in the same text.
_SEGMENTING = ("jieba", "regex", "unicode")


def check_words(data_set: LabelledDataSet, manifest: Manifest, findings: Findings) -> bool:
    """Returns True if the files are those that the manifest names; else adds findings."""
    if manifest.words is None:
        return True
    sound = _check_vocabulary(data_set, manifest.words, findings)
    if manifest.policy.weighting == IDF:
        sound &= _check_frequencies(data_set, findings)
    return sound


def older_rules(data_set: LabelledDataSet) -> str:
    """Returns how the rules of the vocabulary's words differ from those that cut the data set's lines.

    Empty if they do not differ, or one of the two does not say. The vocabulary must be sound.
    """
    vocabulary = stored_vocabulary(data_set).settings.get("segmenter", {})
    lines = stored_words(data_set).segmentation
    both = [name for name in vocabulary if name in lines and vocabulary[name] != lines[name]]
    return ", ".join(f"{name} {vocabulary[name]!r}, of the lines {lines[name]!r}" for name in both)


def other_rules(data_set: LabelledDataSet) -> str:
    """Returns how the rules that cut the data set's lines differ from those of this installation; empty for none.

    The data set's vocabulary must be sound.
    """
    stored, versions = stored_words(data_set).segmentation, data_set.manifest().versions
    here, own_versions = Segmentation.of(stored_vocabulary(data_set).settings).describe(), text_versions()
    if stored != here:
        return f"segmentation {stored}, here {here}"
    other = [name for name in _SEGMENTING if versions.get(name) != own_versions[name]]
    return ", ".join(f"{name} {versions.get(name)}, here {own_versions[name]}" for name in other)


def _check_frequencies(data_set: LabelledDataSet, findings: Findings) -> bool:
    path = data_set.frequencies_path
    if not findings.check_file(path, mend=_mend(path)):
        return False
    try:
        stored_frequencies(data_set)
    except OvocrError as error:
        _add(path, findings, "the word frequencies of the manifest", str(error))
        return False
    return True


def _check_vocabulary(data_set: LabelledDataSet, words: WordsEntry, findings: Findings) -> bool:
    path = data_set.vocabulary_path
    same = _check_hash(path, words.sha256, findings)
    described = _check_description(description_path(path), words, findings)
    if not (same and described):
        return False
    try:
        stored_vocabulary(data_set)  # compares words and description, too
    except OvocrError as error:
        _add(path, findings, "a vocabulary", str(error))
        return False
    return True


def _check_hash(path: Path, promised: str, findings: Findings) -> bool:
    if not findings.check_file(path, mend=_mend(path)):
        return False
    try:
        sha256 = FileDescription.of(path).sha256
    except OSError as error:
        _add(path, findings, "readable", str(error.strerror))
        return False
    if sha256 != promised:
        _add(path, findings, f"of sha256 {promised}", sha256)
    return sha256 == promised


def _check_description(path: Path, words: WordsEntry, findings: Findings) -> bool:
    described = findings.read_object(path, mend=_mend(path))
    if described is None:
        return False
    promised = {"size": words.size, "sha256": words.sha256}
    different = [name for name, value in promised.items() if described.get(name) != value]
    for name in different:
        _add(path, findings, f"of {name} {promised[name]}", repr(described.get(name)))
    return _check_rules(path, described, words.segmentation, findings) and not different


def _check_rules(path: Path, described: dict[str, Any], promised: dict[str, Any], findings: Findings) -> bool:
    """Checks that its rules are objects, and that words and lines have the same setting ``han``.

    Versions may differ: the vocabulary names those that counted its words, the manifest those that cut the lines.
    """
    wrong = [name for name in ("normalisation", "segmenter") if not isinstance(described.get(name, {}), dict)]
    for name in wrong:
        _add(path, findings, f"of {name} that is an object", repr(described[name]))
    if wrong:
        return False
    words, lines = (rules.get("han", DEFAULT.han) for rules in (described.get("segmenter", {}), promised))
    if words != lines:
        _add(path, findings, f"of segmenter.han {lines!r}, as segmentation.han of manifest.json", repr(words))
    return bool(words == lines)


def _add(path: Path, findings: Findings, promised: str, found: str) -> None:
    findings.add(path, "", promised, found.removeprefix(f"{path}: "), mend=_mend(path))


def _mend(path: Path) -> str:
    return f"put back the {path.name} that the data set was made with"

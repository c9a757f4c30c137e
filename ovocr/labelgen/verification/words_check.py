"""The files of a data set's words: vocabulary, its description, and word frequencies."""

from ovocr.dataset import LabelledDataSet
from ovocr.errors import OvocrError
from ovocr.labelgen.manifest import text_versions
from ovocr.labelgen.shard_files import describe_file
from ovocr.labelgen.tags import IDF
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.promises import Promises
from ovocr.labelgen.words import stored_frequencies, stored_vocabulary
from ovocr.vocab import Segmentation
from ovocr.vocab.vocabulary import description_path, read_description

# Of these, another version may find other words in the same text.
_SEGMENTING = ("jieba", "regex", "unicode")


def check_words(data_set: LabelledDataSet, promises: Promises, findings: Findings) -> bool:
    """Are the files those that the manifest names? Where one is not, it is noted."""
    if not promises.with_text:
        return True
    sound = _check_vocabulary(data_set, findings)
    if promises.policy.weighting == IDF:
        try:
            stored_frequencies(data_set)
        except OvocrError as error:
            _add(data_set, findings, data_set.frequencies_path.name, "the word frequencies of the manifest", str(error))
            sound = False
    return sound


def _check_vocabulary(data_set: LabelledDataSet, findings: Findings) -> bool:
    path = data_set.vocabulary_path
    promised = data_set.manifest()["vocabulary"]
    try:
        sha256 = describe_file(path)["sha256"]
        described = read_description(description_path(path))
    except OSError as error:
        _add(data_set, findings, path.name, "the vocabulary of the manifest", f"unreadable: {error.strerror}")
        return False
    except OvocrError as error:
        _add(data_set, findings, description_path(path).name, "a vocabulary's description", str(error))
        return False
    sound = True
    if sha256 != promised["sha256"]:
        _add(data_set, findings, path.name, f"of sha256 {promised['sha256']}", sha256)
        sound = False
    for name in ("size", "sha256"):
        if described.get(name) != promised[name]:
            found = repr(described.get(name))
            _add(data_set, findings, description_path(path).name, f"of {name} {promised[name]}", found)
            sound = False
    return sound and _check_readable(data_set, findings)


def _check_readable(data_set: LabelledDataSet, findings: Findings) -> bool:
    """Loading it compares words and description, too."""
    try:
        stored_vocabulary(data_set)
    except OvocrError as error:
        _add(data_set, findings, data_set.vocabulary_path.name, "a vocabulary", str(error))
        return False
    return True


def _add(data_set: LabelledDataSet, findings: Findings, name: str, promised: str, found: str) -> None:
    mend = f"put back the {name} that the data set was made with"
    findings.add(data_set.root / name, "", promised, found, mend=mend)


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

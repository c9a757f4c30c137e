"""The vocabulary of labelled data sets, which all data sets of a head share."""

from collections.abc import Sequence
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import RELATIVE, LabelledDataSet
from ovocr.dataset.statistics import FileDescription


def vocabulary_path(data_set: LabelledDataSet) -> Path | None:
    """Returns the path of the data set's vocabulary; None if the data set is packed."""
    return data_set.vocabulary_path if data_set.manifest().has_text else None


def vocabulary_sha256(data_set: LabelledDataSet) -> str:
    """Returns the hash of the data set's vocabulary; empty if the data set is packed.

    Raises OvocrError if the vocabulary is missing or does not match the manifest.
    """
    words, path = data_set.manifest().words, data_set.vocabulary_path
    if words is None:
        return ""
    try:
        found = FileDescription.of(path).sha256
    except OSError as error:
        raise OvocrError(f"{data_set.name_of(path)}: cannot be read: {error.strerror}") from error
    if found != words.sha256:
        manifest = data_set.manifest_path.name
        raise OvocrError(f"{data_set.name_of(path)}: does not match {manifest}; restore the file")
    return found


def check_one_vocabulary(data_sets: Sequence[LabelledDataSet]) -> None:
    """Raises OvocrError if the data sets have different vocabularies."""
    first, *others = [(data_set, vocabulary_sha256(data_set)) for data_set in data_sets]
    for data_set, sha256 in others:
        if sha256 != first[1]:
            raise OvocrError(
                f"{data_set}: has a different vocabulary than {first[0]}; "
                f"use one head per data set, or relabel one with the {RELATIVE.vocabulary_path} of the other"
            )

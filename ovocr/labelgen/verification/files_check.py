"""Checks a shard's statistics and the hashes of its files."""

from collections.abc import Mapping
from pathlib import Path

from ovocr.dataset.manifest import Manifest, ShardEntry
from ovocr.dataset.statistics import FileDescription, ShardStatistics
from ovocr.labelgen.verification.finding import Findings


def check_statistics(
    path: Path, entry: ShardEntry, manifest: Manifest, findings: Findings
) -> tuple[ShardStatistics | None, set[str]]:
    """Returns a shard's statistics (None if they cannot be read) and the names of invalid values.

    entry: the shard's entry in the manifest of the data set.
    """
    data = findings.read_object(path)
    if data is None:
        return None, set()
    statistics, problems = ShardStatistics.parse(
        data, entry, has_text=manifest.has_text, generations=len(manifest.history)
    )
    for problem in problems:
        findings.add_problem(path, problem)
    return statistics, {problem.name for problem in problems}


def check_files(
    paths: dict[str, Path], expected: Mapping[str, FileDescription], findings: Findings
) -> tuple[set[str], int]:
    """Returns the names of the readable files and their total size in bytes.

    expected: maps names of files to their size and hash, if known.
    """
    readable, size = set(), 0
    for name, path in paths.items():
        if not findings.check_file(path):
            continue
        try:
            found = FileDescription.of(path)
        except OSError as error:
            findings.add(path, "", "a readable file", error.strerror)
            continue
        readable.add(name)
        size += found.bytes
        for part, value in vars(expected.get(name, found)).items():
            if value != vars(found)[part]:
                findings.add(path, part, f"{value} (from the shard's statistics)", vars(found)[part])
    return readable, size

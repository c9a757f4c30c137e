"""A shard's statistics and files: are they there, and are the files those that were hashed?"""

import re
from pathlib import Path
from typing import Any

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.shard_files import describe_file
from ovocr.labelgen.verification.finding import Findings
from ovocr.labelgen.verification.stored_files import is_file, read_object

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_stats(
    data_set: LabelledDataSet, number: int, promised: dict[str, Any], findings: Findings
) -> dict[str, Any] | None:
    """The shard's statistics; None, with a finding, where they cannot be read. promised: its entry in the manifest."""
    path = data_set.stats_path(number)
    stats = read_object(path, findings)
    if stats is None:
        return None
    for name in ("source", "kind", "start", "stop"):
        if stats.get(name) != promised.get(name):
            findings.add(path, name, f"{promised.get(name)!r} as in manifest.json", repr(stats.get(name)))
    return stats


def check_files(
    paths: dict[str, Path], stats_path: Path, stats: dict[str, Any] | None, findings: Findings
) -> tuple[set[str], int]:
    """Names of the files that can be read, and their bytes. stats: None where they could not be read."""
    hashes = (stats or {}).get("files")
    if stats is not None and not _are_descriptions(hashes, set(paths)):
        findings.add(
            stats_path, "files", f"size and sha256 of {', '.join(paths)}", "missing" if hashes is None else repr(hashes)
        )
        hashes = None
    readable, size = set(), 0
    for name, path in paths.items():
        if not is_file(path, findings):
            continue
        try:
            found = describe_file(path)
        except OSError as error:
            findings.add(path, "", "readable", error.strerror)
            continue
        readable.add(name)
        size += found["bytes"]
        if hashes is not None:
            _compare(path, hashes[name], found, findings)
    return readable, size


def _compare(path: Path, promised: dict[str, Any], found: dict[str, Any], findings: Findings) -> None:
    for name in ("bytes", "sha256"):
        if promised[name] != found[name]:
            findings.add(path, name, f"{promised[name]} as in the shard's statistics", found[name])


def _are_descriptions(hashes: object, names: set[str]) -> bool:
    return (
        isinstance(hashes, dict)
        and set(hashes) == names
        and all(isinstance(of, dict) and set(of) >= {"bytes", "sha256"} for of in hashes.values())
        and all(_SHA256.fullmatch(str(of["sha256"])) for of in hashes.values())
    )

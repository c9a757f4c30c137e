"""Checks that a wheel and a source distribution can be published.

    python -m tests.install.check_dist dist                  # says what keeps them from being published
    python -m tests.install.check_dist dist --tag v0.1.0     # before publishing: exits with 1 if anything does

Both archives must have the same version, and setup.cfg must name the repository. A tag must be v and the version.
"""

import argparse
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

# Stands in the address of the repository in setup.cfg until its owner is known.
PLACEHOLDER = "/OWNER/"


def metadata_of(archive: Path) -> Message:
    """Returns the metadata of a wheel or a source distribution."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return message_from_bytes(wheel.read(name))
    with tarfile.open(archive) as source:
        file = source.extractfile(f"{archive.name.removesuffix('.tar.gz')}/PKG-INFO")
        if file is None:
            raise FileNotFoundError(f"{archive}: PKG-INFO is no file")
        return message_from_bytes(file.read())


def obstacles(dist: Path, tag: str | None = None) -> list[str]:
    """Returns what keeps the archives in a folder from being published, each as one line."""
    archives = sorted(dist.glob("ovocr-*"))
    if [archive.name.endswith((".whl", ".tar.gz")) for archive in archives] != [True, True]:
        return [f"{dist}: {len(archives)} files of ovocr instead of one wheel and one source distribution; `make dist`"]
    found = []
    metadata = [metadata_of(archive) for archive in archives]
    versions = sorted({str(each["Version"]) for each in metadata})
    if len(versions) > 1:
        found.append(f"{dist}: versions {' and '.join(versions)} beside each other; `make dist` removes old archives")
    if any(PLACEHOLDER in url for each in metadata for url in each.get_all("Project-URL", [])):
        found.append(
            "setup.cfg: project_urls has the placeholder OWNER; write the repository's address before a release"
        )
    if tag is not None and tag != f"v{versions[0]}":
        found.append(
            f"tag {tag}: ovocr/__init__.py says version {versions[0]}; tag v{versions[0]} or change the version"
        )
    return found


def main() -> None:
    """Parses the arguments and prints the obstacles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, help="folder with a wheel and a source distribution (make dist)")
    parser.add_argument("--tag", help="tag of the release; any obstacle is then a failure")
    arguments = parser.parse_args()
    found = obstacles(arguments.dist, arguments.tag)
    for obstacle in found:
        print(f"not to be published: {obstacle}")
    sys.exit(1 if found and arguments.tag is not None else 0)


if __name__ == "__main__":
    main()

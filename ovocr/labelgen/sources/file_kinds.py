"""What kind of source a file is, by its name."""

import os

from ovocr.labelgen.sources.items import is_image_name

COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
LISTS = (".txt", ".lst")
_SUFFIXES = {
    ".tar": "tar",
    **dict.fromkeys(COMPRESSED_TARS, "tar"),
    ".zip": "zip",
    ".rec": "rec",
    ".parquet": "parquet",
    ".arrow": "arrow",
    **dict.fromkeys(LISTS, "list"),
}
# Kinds of files with rows and columns.
TABLES = ("parquet", "arrow")
KINDS_TEXT = (
    "image files, .tar (also .tar.gz and the like), .zip, .rec, .parquet, .arrow, a .txt or .lst with one path per "
    "line, a folder, or a glob of these"
)
LMDB_ADVICE = "LMDB is not read; write its images to a .tar: docs/labelling.md#lmdb shows how"
# What to do with files that people have, by suffix.
_ADVICE = {
    ".mdb": LMDB_ADVICE,
    ".lmdb": LMDB_ADVICE,
    ".7z": "unpack it (7z x FILE) and name the folder",
    ".rar": "unpack it (unrar x FILE) and name the folder",
    ".pdf": "render its pages to images first, such as with pdftoppm -r 150 -png",
    ".tfrecord": "write its images to a .tar first",
    ".h5": "write its images to a .tar first",
    ".hdf5": "write its images to a .tar first",
    ".idx": "name the .rec next to it",
}


def file_kind(name: str) -> str | None:
    """Returns the kind of a file, files for an image and None if no kind has its suffix, in any case."""
    suffix = _suffix(name)
    return _SUFFIXES[suffix] if suffix else "files" if is_image_name(name) else None


def stem(name: str) -> str:
    """Returns the path without the suffix of its kind, or else without its last suffix."""
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix else os.path.splitext(name)[0]


def unknown_kind(name: str) -> str:
    """Returns what to tell the user about a file that no kind fits."""
    advice = _ADVICE.get(os.path.splitext(name)[1].lower())
    return f"{name}: {advice}" if advice else f"{name}: unknown kind of source; allowed: {KINDS_TEXT}"


def _suffix(name: str) -> str:
    """Returns the suffix of a kind that the name has, in lower case; empty if it has none."""
    lower = name.lower()
    # A name that is nothing but a suffix is a hidden file.
    return next((end for end in _SUFFIXES if lower.endswith(end) and len(os.path.basename(name)) > len(end)), "")

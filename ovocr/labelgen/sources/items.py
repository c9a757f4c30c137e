"""The items of a source: images, images that cannot be read, and other files."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from ovocr.dataset.reasons import Reason

# HEIC is among them so that its images are counted with their reason, although they cannot be decoded.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".avif", ".jp2", ".j2k", ".jpx", ".heic", ".heif"}
)
# Larger than any photograph. A member that claims more is not read into memory.
MAX_FILE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Found:
    """An image: its key inside the source and its encoded bytes."""

    key: str
    data: bytes


@dataclass(frozen=True)
class Lost:
    """An image that cannot be read, or the unreadable rest of a damaged archive."""

    key: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Ignored:
    """A file or member that is not an image."""


SourceItem = Found | Lost | Ignored


def is_image_name(name: str) -> bool:
    """Returns True if the name has an image suffix, in any case, and is not a ._NAME that macOS writes beside NAME."""
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


def too_large(key: str, size: int) -> Lost:
    """Returns the item for an image of more than MAX_FILE_BYTES bytes."""
    return Lost(key, Reason.FILE_TOO_LARGE, f"{size} bytes, at most {MAX_FILE_BYTES} are read")

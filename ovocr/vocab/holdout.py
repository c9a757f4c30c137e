"""Held-out images: a share of the images, from which a vocabulary is not built and on which it is measured.

An image is held out if the hash of its key is small, so the choice depends on nothing else: not on the data set, its
shards, its tags or other images. Images with the same key are on the same side. A share contains all smaller shares.
"""

from hashlib import blake2b

from ovocr.base.errors import UsageError


def is_held_out(key: str, share: float) -> bool:
    """Returns True if the image is among the held-out ones. share: 0 to 1; 0 holds out none."""
    digest = blake2b(f"holdout\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def check_share(share: float) -> None:
    """Raises UsageError unless ``--holdout`` leaves images on both sides."""
    if not 0 < share < 1:
        raise UsageError(f"--holdout {share:g}: must be above 0 and below 1, such as 0.1 for a tenth of the images")

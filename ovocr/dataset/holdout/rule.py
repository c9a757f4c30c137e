"""The rule that holds images out: for `ovocr split`, `vocab build --holdout` and `vocab coverage --holdout`.

A group of images is held out if the hash of its name and a seed is small. An image that belongs to no group is one: its
name is the image's key. So the choice depends on nothing else: not on the data set, its shards, its tags or other
images. Images of a group are on the same side. A share contains all smaller shares.
"""

import math
from hashlib import blake2b

from ovocr.base.errors import UsageError

# What images of a group may have in common: their key, if each image is a group, or their source.
KEY, SOURCE = "key", "source"
IMAGE_GROUPS = (KEY, SOURCE)
# Column of the groups in a table, unless another one is named.
GROUP = "group"


def hash_group(group: str, seed: int = 0) -> int:
    """Returns the hash of a group, less than 2**64. Seed 0 is that of ``vocab build``, which has no other."""
    seeded = f" {seed}" if seed else ""
    return int.from_bytes(blake2b(f"holdout{seeded}\0{group}".encode(), digest_size=8).digest(), "big")


def hash_limit(share: float) -> int:
    """Returns the number below which the hashes of held-out groups are. share: 0 to less than 1; 0 holds out none."""
    return math.ceil(share * 2**64)


def is_held_out(group: str, share: float, seed: int = 0) -> bool:
    """Returns True if the images of the group are held out. share: 0 to less than 1; 0 holds out none."""
    return hash_group(group, seed) < hash_limit(share)


def check_share(share: float, option: str = "--holdout") -> None:
    """Raises UsageError, naming the option, unless a share leaves images on both sides."""
    if not 0 < share < 1:
        raise UsageError(f"{option} {share:g}: must be above 0 and below 1, such as 0.1 for a tenth of the images")

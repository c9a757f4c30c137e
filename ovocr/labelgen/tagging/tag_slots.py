"""Chooses the slots of an image from the class ids of its words."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b


def tag_slots(
    ids: Sequence[int], slots: int, seed: int, key: str, weight: Callable[[int], float] | None = None
) -> list[int]:
    """Returns exactly ``slots`` class ids for an image.

    Fewer ids than slots are repeated cyclically. If there are more ids than slots, the ids with the smallest digests of
    seed, key and id are chosen and kept in order of appearance. The choice does not depend on other images or on a
    library's random numbers.

    ids: class ids in order of appearance, possibly repeated.
    weight: a number above 0 for each class id. Ids are then drawn without replacement, each with a probability in
    proportion to its weight among the remaining ids. Equal weights give the same choice as no weights.

    Raises ValueError if there are no ids, because such an image has no labels.
    """
    if not ids:
        raise ValueError("an image without words has no tags")
    if len(ids) > slots:
        chosen = by_rank(ids, seed, key, weight)[:slots]
        ids = [ids[index] for index in sorted(chosen)]
    return fill_slots(ids, slots)


def fill_slots(ids: Sequence[int], slots: int) -> list[int]:
    """Returns the first ``slots`` class ids; fewer ids are repeated cyclically. ids: at least one."""
    return [ids[slot % len(ids)] for slot in range(slots)]


def by_rank(ids: Sequence[int], seed: int, key: str, weight: Callable[[int], float] | None = None) -> list[int]:
    """Returns the indices of ``ids`` in the order in which they are chosen if there are more ids than slots."""
    ranks = _ranks(ids, seed, key, weight)
    return sorted(range(len(ids)), key=lambda index: (ranks[index], ids[index]))


def _ranks(ids: Sequence[int], seed: int, key: str, weight: Callable[[int], float] | None) -> list[float]:
    """Returns a rank for each id; ids with the smallest ranks are chosen."""
    occurrences: Counter[int] = Counter()
    ranks: list[float] = []
    for id in ids:
        digest = _digest(seed, key, id, occurrences[id])
        ranks.append(digest if weight is None else _exponential(digest) / weight(id))
        occurrences[id] += 1
    return ranks


def _exponential(digest: int) -> float:
    """Returns an exponentially distributed number that grows with the digest's upper 53 bits, which fit a float.

    The smallest of such numbers, divided by weights, are a weighted sample without replacement (Efraimidis and
    Spirakis, "Weighted random sampling with a reservoir", 2006: u ** (1 / w), here as -log(u) / w).
    """
    return -math.log1p(-(digest >> 11) / 2**53)


def _digest(seed: int, key: str, id: int, occurrence: int) -> int:
    """Hashes an id. occurrence: number of earlier occurrences of the id in the image."""
    text = f"{seed}\0{key}\0{id}" + (f"\0{occurrence}" if occurrence else "")
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

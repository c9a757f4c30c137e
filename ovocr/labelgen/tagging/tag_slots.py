"""From the words of an image to its tag slots."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b


def tag_slots(
    ids: Sequence[int], slots: int, seed: int, key: str, weight: Callable[[int], float] | None = None
) -> list[int]:
    """Exactly ``slots`` class ids from those of an image, which stand in order of appearance and may stand repeatedly.

    Fewer than slots: all of them, repeated in turn until the slots are full. More: those ``slots`` whose digest with
    seed and key is smallest, in order of appearance, so that the choice depends on nothing else: not on the other
    images and not on any library's random numbers. With ``weight``, a number above 0 for each class id, they are drawn
    one after another without replacement, each with a probability in proportion to its weight among those that are
    left; with equal weights, the choice is the one without. Raises ValueError without ids: such an image has no label.
    """
    if not ids:
        raise ValueError("an image without words has no tags")
    if len(ids) > slots:
        chosen = by_rank(ids, seed, key, weight)[:slots]
        ids = [ids[place] for place in sorted(chosen)]
    return fill_slots(ids, slots)


def fill_slots(ids: Sequence[int], slots: int) -> list[int]:
    """The first ``slots`` of class ids, of which there is at least one; fewer are repeated in turn."""
    return [ids[slot % len(ids)] for slot in range(slots)]


def by_rank(ids: Sequence[int], seed: int, key: str, weight: Callable[[int], float] | None = None) -> list[int]:
    """Places in ``ids``, from the one that is kept first where there are more than slots to the one kept last."""
    ranks = _ranks(ids, seed, key, weight)
    return sorted(range(len(ids)), key=lambda place: (ranks[place], ids[place]))


def _ranks(ids: Sequence[int], seed: int, key: str, weight: Callable[[int], float] | None) -> list[float]:
    """A rank for each place; the smallest are chosen."""
    before: Counter[int] = Counter()
    ranks: list[float] = []
    for id in ids:
        digest = _digest(seed, key, id, before[id])
        ranks.append(digest if weight is None else _waiting_time(digest) / weight(id))
        before[id] += 1
    return ranks


def _waiting_time(digest: int) -> float:
    """An exponentially distributed number that grows with the digest, of which the upper 53 bits fit a float.

    Divided by weights, the smallest of such numbers are a weighted sample without replacement (Efraimidis and
    Spirakis, "Weighted random sampling with a reservoir", 2006: u ** (1 / w), here as -log(u) / w).
    """
    return -math.log1p(-(digest >> 11) / 2**53)


def _digest(seed: int, key: str, id: int, before: int) -> int:
    """before: how often the class id stands earlier in the image."""
    text = f"{seed}\0{key}\0{id}" + (f"\0{before}" if before else "")
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

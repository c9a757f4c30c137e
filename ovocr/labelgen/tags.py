"""From the words of an image to its tag slots."""

from hashlib import blake2b


def tag_slots(ids: list[int], slots: int, seed: int, key: str) -> list[int]:
    """Exactly ``slots`` class ids from the distinct ids of an image, which stand in order of first appearance.

    Fewer ids than slots: all of them, repeated in turn until the slots are full. More: those ``slots`` ids whose
    digest with seed and key is smallest, in order of appearance, so that the choice depends on nothing else: not on
    the other images and not on any library's random numbers. Raises ValueError without ids: such an image has no
    label.
    """
    if not ids:
        raise ValueError("an image without words has no tags")
    if len(ids) > slots:
        chosen = set(sorted(ids, key=lambda id: (_digest(seed, key, id), id))[:slots])
        ids = [id for id in ids if id in chosen]
    return fill_slots(ids, slots)


def fill_slots(ids: list[int], slots: int) -> list[int]:
    """The first ``slots`` of distinct class ids, of which there is at least one; fewer are repeated in turn."""
    return [ids[slot % len(ids)] for slot in range(slots)]


def _digest(seed: int, key: str, id: int) -> bytes:
    return blake2b(f"{seed}\0{key}\0{id}".encode(), digest_size=8).digest()

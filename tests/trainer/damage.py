"""Damaged images in data sets."""

from pathlib import Path


def damage_images(root: Path, *numbers: int, shard: int = 0) -> None:
    """Overwrites the start of the JPEGs of these records of a shard."""
    path = root / "rec" / f"{shard:05d}.rec"
    data = bytearray(path.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 3] == b"\xff\xd8\xff"]
    for number in numbers:
        data[starts[number] : starts[number] + 3] = b"GIF"
    path.write_bytes(data)

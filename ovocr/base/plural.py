"""Counts with their nouns."""


def counted(count: int, noun: str) -> str:
    """Returns the count with the noun in singular or plural: "1 shard", "2 shards", "1,000 shards"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

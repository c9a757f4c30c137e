"""Counts with their nouns."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Returns the count with the noun in singular or plural: "1 shard", "2 shards", "1,000 shards".

    plural: the plural of the noun if it is not the noun with an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"

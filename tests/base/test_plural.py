"""Counts with their nouns."""

from ovocr.base.plural import counted


def test_counted_uses_singular_only_for_one() -> None:
    assert [counted(count, "shard") for count in (0, 1, 2, 1000)] == ["0 shards", "1 shard", "2 shards", "1,000 shards"]
    assert [counted(count, "class", "classes") for count in (1, 2)] == ["1 class", "2 classes"]

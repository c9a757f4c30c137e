"""Reads sources for tests: keys, reasons and counts."""

from dataclasses import dataclass, field
from pathlib import Path

from ovocr.dataset.manifest import SourceOptions
from ovocr.labelgen.sources import Found, Ignored, InputShard, Lost, plan_shards, read_shard


@dataclass
class Read:
    """What the sources of a command yield. images: key and bytes. lost: key, reason and detail."""

    shards: list[InputShard]
    images: list[tuple[str, bytes]] = field(default_factory=list)
    lost: list[tuple[str, str, str]] = field(default_factory=list)
    ignored: int = 0
    notices: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.images]

    @property
    def kinds(self) -> list[str]:
        return [shard.kind for shard in self.shards]


def read(*sources: Path | str, shard_size: int = 10_000, **options: str) -> Read:
    notices: list[str] = []
    shards = plan_shards(tuple(map(str, sources)), shard_size, SourceOptions(**options), notices.append)
    result = Read(shards, ignored=sum(shard.ignored for shard in shards), notices=notices)
    for shard in shards:
        items = list(read_shard(shard))
        found = [item for item in items if isinstance(item, Found)]
        lost = [item for item in items if isinstance(item, Lost)]
        result.images += [(item.key, item.data) for item in found]
        result.lost += [(item.key, item.reason.value, item.detail) for item in lost]
        result.ignored += sum(isinstance(item, Ignored) for item in items)
        assert shard.images in (None, len(found) + len(lost))
    return result

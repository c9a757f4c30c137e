"""Manifests of small data sets that tests write file by file."""

from collections.abc import Sequence

from ovocr.dataset.manifest import Manifest, ShardEntry, TableEntry, TagPolicy, WordsEntry
from ovocr.vocab import Segmentation, Vocabulary


def make_manifest(
    sources: Sequence[str],
    *,
    vocabulary: Vocabulary | None = None,
    num_classes: int = 0,
    tags: int = 10,
    max_pixels: int = 1_000_000,
    kind: str = "tar",
    engine: str = "none",
) -> Manifest:
    """Returns the manifest of a labelled data set with a vocabulary, or of a packed one with ``num_classes``."""
    words = table = None
    if vocabulary is None:
        table = TableEntry(num_classes=num_classes, sha256="0", key_column="key", label_columns=("labels",))
    else:
        segmentation = Segmentation.of(vocabulary.settings).describe()
        words = WordsEntry(size=len(vocabulary), sha256=vocabulary.sha256, segmentation=segmentation)
    return Manifest(
        policy=TagPolicy(tags=tags, seed=0),
        shard_size=10_000,
        max_pixels=max_pixels,
        words=words,
        engine=None if words is None else {"name": engine},
        table=table,
        versions={},
        shards=tuple(ShardEntry(source=source, kind=kind) for source in sources),
    )

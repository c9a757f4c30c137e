"""Coverage of each data set and of its sources or shards."""

from collections.abc import Iterable, Sequence

from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab.coverage.figures import SourceCoverage, share
from ovocr.vocab.coverage.shard_coverage import ShardCoverage


def data_set_coverages(shards: Sequence[ShardCoverage], vocabulary: int) -> tuple[SourceCoverage, ...]:
    """Returns the coverage of each data set by a vocabulary. Raises OvocrError if a manifest cannot be read.

    vocabulary: its index in the counts of the shards.
    """
    data_sets = dict.fromkeys(counts.shard.data_set for counts in shards)
    return tuple(
        _data_set(data_set, [counts for counts in shards if counts.shard.data_set == data_set], vocabulary)
        for data_set in data_sets
    )


def _data_set(data_set: LabelledDataSet, shards: Sequence[ShardCoverage], vocabulary: int) -> SourceCoverage:
    names = _source_names(data_set, [counts.shard.number for counts in shards])
    if len(set(names)) == 1:
        names = [f"shard {counts.shard.number}" for counts in shards]
    parts: dict[str, list[ShardCoverage]] = {}
    for name, counts in zip(names, shards, strict=True):
        parts.setdefault(name, []).append(counts)
    return _sum(
        for_terminal(str(data_set)),
        shards,
        vocabulary,
        tuple(_sum(name, of_part, vocabulary) for name, of_part in parts.items()) if len(parts) > 1 else (),
    )


def _source_names(data_set: LabelledDataSet, numbers: Iterable[int]) -> list[str]:
    """Returns the source of each shard; "" if the manifest does not name it."""
    listed = data_set.manifest().shards
    return [listed[number].source if number < len(listed) else "" for number in numbers]


def _sum(
    name: str, shards: Sequence[ShardCoverage], vocabulary: int, parts: tuple[SourceCoverage, ...] = ()
) -> SourceCoverage:
    tokens = sum(counts.tokens for counts in shards)
    tokens_in = sum(counts.tokens_in[vocabulary] for counts in shards)
    return SourceCoverage(
        name=name,
        shards=len(shards),
        images=sum(counts.images for counts in shards),
        images_without_words=sum(counts.images_without_words(vocabulary) for counts in shards),
        tokens=tokens,
        tokens_in_vocabulary=tokens_in,
        token_coverage=share(tokens_in, tokens),
        parts=parts,
    )

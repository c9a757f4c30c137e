"""The figures by which --min-score, --min-letters and --tags of ``build-labels`` can be chosen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab.coverage.figures import LetterGroup, LineScores, ScoreBand, ShortWords, SlotShortage, share
from ovocr.vocab.coverage.limits import MIN_LETTERS, MIN_SCORES, LevelCounts
from ovocr.vocab.coverage.shard_coverage import ShardCoverage
from ovocr.vocab.coverage.tallies import CorpusTally, VocabularyTally


def line_scores(shards: Sequence[ShardCoverage], vocabulary: int) -> LineScores:
    """Returns the words by the score of their lines. vocabulary: index of the vocabulary. Raises OvocrError."""
    scored = [
        counts
        for data_set in _data_sets(shards)
        if _has_scores(own := _of(data_set, shards), data_set)
        for counts in own
    ]
    total = _sum([counts.by_score for counts in scored])
    unknown = sum(counts.tokens for counts in shards) - (sum(total.tokens) if total else 0)
    if total is None or not sum(total.tokens):
        return LineScores(tokens_without_score=unknown, bands=(), kept=())
    tokens_in = total.tokens_in[vocabulary]
    bands = tuple(
        ScoreBand(
            low=low,
            high=high,
            tokens=tokens,
            token_share=share(tokens, sum(total.tokens)),
            tokens_in_vocabulary=inside,
            token_coverage=share(inside, tokens),
        )
        for (low, high), tokens, inside in zip(pairwise([*MIN_SCORES, 1.0]), total.tokens, tokens_in, strict=True)
    )
    return LineScores(tokens_without_score=unknown, bands=bands, kept=total.kept(MIN_SCORES, vocabulary))


def short_words(
    shards: Sequence[ShardCoverage], vocabulary: int, corpus: CorpusTally, tally: VocabularyTally
) -> ShortWords:
    """Returns the words of few letters. vocabulary: index of the vocabulary. tally: its sums."""
    total = _sum([counts.by_letters for counts in shards]) or LevelCounts.zero(len(MIN_LETTERS), vocabulary + 1)
    groups = tuple(
        LetterGroup(
            letters=letters,
            tokens=total.tokens[level],
            token_share=share(total.tokens[level], corpus.tokens),
            tokens_in_vocabulary=total.tokens_in[vocabulary][level],
            token_coverage=share(total.tokens_in[vocabulary][level], total.tokens[level]),
            distinct_words=corpus.words_by_letters[level],
            distinct_in_vocabulary=tally.words_by_letters[level],
        )
        for level, letters in enumerate(MIN_LETTERS[:-1])
    )
    return ShortWords(groups=groups, kept=total.kept(MIN_LETTERS, vocabulary))


def slot_shortage(shards: Sequence[ShardCoverage], vocabulary: int) -> SlotShortage:
    """Returns the images with more words than slots. vocabulary: index of the vocabulary. Raises OvocrError."""
    slots = {data_set: data_set.manifest().policy.tags for data_set in _data_sets(shards)}
    images = beyond = without_slot = words = 0
    for counts in shards:
        images += counts.images
        shard_beyond, shard_without = _beyond(counts.words_per_image[vocabulary], slots[counts.shard.data_set])
        beyond, without_slot = beyond + shard_beyond, without_slot + shard_without
        words += sum(found * number for found, number in counts.words_per_image[vocabulary].items())
    return SlotShortage(
        slots=tuple(sorted(set(slots.values()))),
        images=beyond,
        image_share=share(beyond, images),
        words=without_slot,
        word_share=share(without_slot, words),
    )


def _beyond(words_per_image: Mapping[int, int], slots: int) -> tuple[int, int]:
    """Returns the number of images with more words than slots, and the number of their words without a slot."""
    beyond = Counter({words: images for words, images in words_per_image.items() if words > slots})
    return beyond.total(), sum((words - slots) * images for words, images in beyond.items())


def _has_scores(shards: Sequence[ShardCoverage], data_set: LabelledDataSet) -> bool:
    """Returns False if the text was given in a table and all its lines have the default score."""
    return not data_set.manifest().has_given_text or min(counts.lowest_score for counts in shards) < 1


def _data_sets(shards: Sequence[ShardCoverage]) -> list[LabelledDataSet]:
    return list(dict.fromkeys(counts.shard.data_set for counts in shards))


def _of(data_set: LabelledDataSet, shards: Sequence[ShardCoverage]) -> list[ShardCoverage]:
    return [counts for counts in shards if counts.shard.data_set == data_set]


def _sum(counts: Sequence[LevelCounts]) -> LevelCounts | None:
    return sum(counts[1:], counts[0]) if counts else None

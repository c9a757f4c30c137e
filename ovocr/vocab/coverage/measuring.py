"""Measures the coverage of vocabularies: counts shards in processes, merges their words and sums over them."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import for_terminal
from ovocr.dataset.text import TextShard, find_shards
from ovocr.processes.shard_map import map_shards
from ovocr.views.legibility import Legibility, measure_legibility
from ovocr.vocab.coverage.building_text import check_holdout, warnings
from ovocr.vocab.coverage.choices import line_scores, short_words, slot_shortage
from ovocr.vocab.coverage.corpus_words import CorpusWord, TopWords, by_frequency, list_words
from ovocr.vocab.coverage.curves import (
    class_frequency,
    image_classes,
    rank_frequency,
    size_curve,
    sizes_needed,
    words_per_image,
)
from ovocr.vocab.coverage.figures import Comparison, Coverage, Difference, share
from ovocr.vocab.coverage.limits import warn_of_limits
from ovocr.vocab.coverage.merging import merge_words
from ovocr.vocab.coverage.report import FrequentWords, NamedVocabulary, Report
from ovocr.vocab.coverage.shard_coverage import ShardCoverage, ShardMeasurer
from ovocr.vocab.coverage.sources import data_set_coverages
from ovocr.vocab.coverage.tallies import CorpusTally, VocabularyTally
from ovocr.vocab.segmentation.segmenter import Segmentation
from ovocr.vocab.sources import built_from, built_with_holdout
from ovocr.vocab.vocabulary import Vocabulary

WORDS_LISTED = 100


@dataclass(frozen=True, kw_only=True)
class _CorpusCounts:
    """Counts of the corpus with one segmentation. numbers: indices of its vocabularies in the report."""

    numbers: Sequence[int]
    shards: Sequence[ShardCoverage]
    corpus: CorpusTally
    tallies: Sequence[VocabularyTally]


def measure_coverage(roots: Iterable[Path], vocabulary: Vocabulary, *, workers: int | None = None) -> Coverage:
    """Returns the coverage of one vocabulary; see ``measure``."""
    return measure(roots, [NamedVocabulary(name="vocabulary", vocabulary=vocabulary)], workers=workers).coverages[0]


def measure(
    roots: Iterable[Path],
    vocabularies: Sequence[NamedVocabulary],
    *,
    holdout: float | None = None,
    workers: int | None = None,
    look_up: int = 0,
    progress: bool = False,
) -> Report:
    """Measures how well one or two vocabularies cover the stored text of all finished shards of data sets.

    Segments the text with each vocabulary's settings and looks up the words. The text is read once for vocabularies
    with the same segmentation. The stored tags are counted by the height of their text.

    roots: folders of the data sets.
    vocabularies: one, or two to compare.
    holdout: measure only this share of the images, those that ``vocab build --holdout`` leaves out; None for all.
    workers: number of processes; None for one per core.
    look_up: number of most frequent words that the report contains in addition to its lists.
    progress: show a progress bar on stderr if it is a terminal.

    Memory: the distinct words of ``workers`` shards, the vocabularies and ``look_up`` words. Disk: the distinct words
    of every shard, in the folder for temporary files. Raises OvocrError if a root is not a data set, has no finished
    shard or its stored text or tags cannot be read. Raises UsageError unless there are one or two different
    vocabularies, or if one was built from images that ``holdout`` selects.
    """
    _check_vocabularies(vocabularies)
    roots = list(roots)
    shards = find_shards(roots)
    check_holdout(roots, vocabularies, holdout)
    legibility = _measure_legibility(shards, workers, progress)
    segmentations = [Segmentation.of(named.vocabulary.settings) for named in vocabularies]
    coverages: dict[int, Coverage] = {}
    tallies: dict[int, VocabularyTally] = {}
    frequent = []
    for segmentation in dict.fromkeys(segmentations):
        numbers = [number for number, own in enumerate(segmentations) if own == segmentation]
        done = _read(shards, segmentation, vocabularies, numbers, holdout, workers, look_up, progress)
        if holdout is not None and not any(counts.images for counts in done.shards):
            raise OvocrError(
                f"--holdout {holdout:g}: holds out no image of {', '.join(map(str, roots))}; use a larger share"
            )
        for index, number in enumerate(numbers):
            coverages[number] = _coverage(vocabularies[number], segmentation, done, index, shards)
            tallies[number] = done.tallies[index]
        frequent.append(_frequent(done, vocabularies))
    return Report(
        coverages=tuple(coverages[number] for number in range(len(vocabularies))),
        comparison=_compare(vocabularies, len(frequent) == 1, tallies, shards) if len(vocabularies) == 2 else None,
        frequent=tuple(frequent),
        shards=shards,
        legibility=legibility,
        holdout=holdout,
        warnings=[*warnings(roots, vocabularies, holdout), *warn_of_limits(roots)],
    )


def _measure_legibility(shards: list[TextShard], workers: int | None, progress: bool) -> dict[Path, Legibility]:
    """Maps the folder of each data set to the counts of its tags."""
    counts = map_shards(measure_legibility, shards, workers=workers, progress="tags" if progress else None)
    by_data_set = groupby(zip(shards, counts, strict=True), lambda pair: pair[0].root)
    return {root: Legibility.sum(count for _, count in pairs) for root, pairs in by_data_set}


def _check_vocabularies(vocabularies: Sequence[NamedVocabulary]) -> None:
    if not 1 <= len(vocabularies) <= 2:
        raise UsageError(f"--vocab: {len(vocabularies)} vocabularies; give one to measure or two to compare")
    alike = {
        (named.vocabulary.sha256, Segmentation.of(named.vocabulary.settings)): named.name for named in vocabularies
    }
    if len(alike) < len(vocabularies):
        first, second = vocabularies
        raise UsageError(f"--vocab {second.name}: the same vocabulary as {first.name}; give a different one to compare")


def _read(
    shards: list[TextShard],
    segmentation: Segmentation,
    vocabularies: Sequence[NamedVocabulary],
    numbers: Sequence[int],
    holdout: float | None,
    workers: int | None,
    look_up: int,
    progress: bool,
) -> _CorpusCounts:
    own = [vocabularies[number].vocabulary for number in numbers]
    corpus = CorpusTally(TopWords(look_up))
    tallies = [VocabularyTally(vocabulary, _other(vocabularies, vocabulary), WORDS_LISTED) for vocabulary in own]
    with tempfile.TemporaryDirectory(prefix="ovocr-coverage-") as scratch:
        measurer = replace(_measurer(Path(scratch), shards, segmentation, own), holdout=holdout)
        counts = list(map_shards(measurer, shards, workers=workers, progress="words" if progress else None))
        spill = Path(scratch) / "merging"
        for found in merge_words([shard.words for shard in counts], spill):
            corpus.add(found)
            for tally in tallies:
                tally.add(found)
    return _CorpusCounts(numbers=numbers, shards=counts, corpus=corpus, tallies=tallies)


def _other(vocabularies: Sequence[NamedVocabulary], vocabulary: Vocabulary) -> Vocabulary | None:
    return next((named.vocabulary for named in vocabularies if named.vocabulary is not vocabulary), None)


def _measurer(
    scratch: Path, shards: Sequence[TextShard], segmentation: Segmentation, vocabularies: Sequence[Vocabulary]
) -> ShardMeasurer:
    """Returns the function that processes run. They load the vocabularies from files, once per process."""
    paths = tuple(scratch / f"vocabulary-{number}.txt" for number in range(len(vocabularies)))
    for path, vocabulary in zip(paths, vocabularies, strict=True):
        vocabulary.save(path)
    folder = scratch / "words"
    folder.mkdir()
    return ShardMeasurer(folder=folder, roots=_roots(shards), segmentation=segmentation, vocabularies=paths)


def _roots(shards: Sequence[TextShard]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(shard.root for shard in shards))


def _coverage(
    named: NamedVocabulary, segmentation: Segmentation, done: _CorpusCounts, index: int, shards: Sequence[TextShard]
) -> Coverage:
    corpus, tally = done.corpus, done.tallies[index]
    without_text = sum(counts.without_text for counts in done.shards)
    without_any_word = sum(counts.without_any_word for counts in done.shards)
    images: Counter[int] = Counter({0: without_text + without_any_word})
    for counts in done.shards:
        images.update(counts.words_per_image[index])
    tokens_in = int(tally.tokens.sum())
    words_in = int((tally.tokens > 0).sum())
    scripts = [sums.coverage(script, corpus.tokens) for script, sums in tally.scripts.items()]
    return Coverage(
        vocabulary=named.name,
        vocabulary_size=len(named.vocabulary),
        vocabulary_sha256=named.vocabulary.sha256,
        segmentation=segmentation.describe(),
        images=images.total(),
        images_without_text=without_text,
        images_without_any_word=without_any_word,
        images_outside_vocabulary=images[0] - without_text - without_any_word,
        images_without_words=images[0],
        images_by_words=image_classes(images),
        words_per_image=words_per_image(images),
        tokens=corpus.tokens,
        tokens_in_vocabulary=tokens_in,
        token_coverage=share(tokens_in, corpus.tokens),
        distinct_words=corpus.words,
        distinct_in_vocabulary=words_in,
        distinct_coverage=share(words_in, corpus.words),
        sizes_needed=sizes_needed(tally.tokens, corpus.words_by_tokens, corpus.tokens),
        by_size=size_curve(tally.tokens, corpus.words_by_tokens, corpus.tokens),
        class_frequency=class_frequency(tally.tokens, tally.images),
        rank_frequency=rank_frequency(tally.tokens, tally.images),
        scripts=tuple(sorted(scripts, key=lambda script: (-script.tokens, script.script))),
        data_sets=data_set_coverages(done.shards, index),
        left_out=list_words(tally.left_out.words(), shards),
        covered=list_words(tally.covered.words(), shards),
        line_scores=line_scores(done.shards, index),
        short_words=short_words(done.shards, index, corpus, tally),
        slot_shortage=slot_shortage(done.shards, index),
        built_from=tuple(for_terminal(str(root)) for root in built_from(named.vocabulary, _roots(shards))),
        built_with_holdout=built_with_holdout(named.vocabulary),
    )


def _frequent(done: _CorpusCounts, vocabularies: Sequence[NamedVocabulary]) -> FrequentWords:
    """Returns the most frequent words, followed by the other words that the report lists."""
    top = done.corpus.top.words()
    known = {found.word for found in top}
    others: set[CorpusWord] = {
        found
        for tally in done.tallies
        for listed in (tally.left_out, tally.covered, tally.only_in_this)
        for found in listed.words()
        if found.word not in known
    }
    return FrequentWords(
        vocabularies=tuple(vocabularies[number] for number in done.numbers),
        words=[*top, *sorted(others, key=by_frequency)],
        ranks=[*range(1, len(top) + 1), *[None] * len(others)],
        distinct_words=done.corpus.words,
        tokens=done.corpus.tokens,
    )


def _compare(
    vocabularies: Sequence[NamedVocabulary],
    same_segmentation: bool,
    tallies: dict[int, VocabularyTally],
    shards: Sequence[TextShard],
) -> Comparison:
    first, second = (named.vocabulary for named in vocabularies)
    shared = sum(first.word(number) in second for number in range(len(first)))
    only_first, only_second = (
        Difference(
            vocabulary=named.name,
            classes=len(named.vocabulary) - shared,
            words=tallies[number].words_only_in_this,
            tokens=tallies[number].tokens_only_in_this,
            listed=list_words(tallies[number].only_in_this.words(), shards),
        )
        for number, named in enumerate(vocabularies)
    )
    return Comparison(same_segmentation=same_segmentation, shared_classes=shared, differences=(only_first, only_second))

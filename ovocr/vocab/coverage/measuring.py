"""Measures the coverage of vocabularies: counts shards in processes, merges their words and sums over them."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import TextShard, find_shards
from ovocr.processes.shard_map import map_shards
from ovocr.processes.termination import terminable
from ovocr.views.legibility import Legibility, LegibilitySum, measure_legibility
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
    """Counts of the corpus with one segmentation. numbers: indices of its vocabularies in the report.

    legibility: maps each data set to the counts of its tags; empty if they were not counted.
    """

    numbers: Sequence[int]
    shards: Sequence[ShardCoverage]
    corpus: CorpusTally
    tallies: Sequence[VocabularyTally]
    legibility: Mapping[LabelledDataSet, Legibility]


@dataclass(frozen=True)
class _ShardWork:
    """Measures shards in any process. tags: count the tags too. The tables of a store are fetched once for both."""

    measurer: ShardMeasurer
    tags: bool

    def __call__(self, shard: TextShard) -> tuple[ShardCoverage, Legibility | None]:
        if not self.tags:
            return self.measurer(shard), None
        with shard.on_disk("ocr", "records") as stored:
            found = measure_legibility(stored)
            return self.measurer.measure(shard, stored), found


def measure_coverage(roots: Iterable[Path | str], vocabulary: Vocabulary, *, workers: int | None = None) -> Coverage:
    """Returns the coverage of one vocabulary; see ``measure``."""
    return measure(roots, [NamedVocabulary(name="vocabulary", vocabulary=vocabulary)], workers=workers).coverages[0]


def measure(
    roots: Iterable[Path | str],
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

    roots: folders or URLs of the data sets.
    vocabularies: one, or two to compare.
    holdout: measure only this share of the images, those that ``vocab build --holdout`` leaves out; None for all.
    workers: number of processes; None for one per core.
    look_up: number of most frequent words that the report contains in addition to its lists.
    progress: show a progress bar on stderr if it is a terminal.

    Memory: the distinct words of ``workers`` shards, the vocabularies and ``look_up`` words. Disk: the distinct words
    of every shard, in the folder for temporary files, and the tables of ``workers`` shards of a data set in an object
    store. Raises OvocrError if a root is not a data set, has no finished
    shard or its stored text or tags cannot be read. Raises UsageError unless there are one or two different
    vocabularies, or if one was built from images that ``holdout`` selects.
    """
    with terminable():
        return _measure(roots, vocabularies, holdout, workers, look_up, progress)


def _measure(
    roots: Iterable[Path | str],
    vocabularies: Sequence[NamedVocabulary],
    holdout: float | None,
    workers: int | None,
    look_up: int,
    progress: bool,
) -> Report:
    _check_vocabularies(vocabularies)
    shards = find_shards(roots)
    data_sets = _data_sets(shards)
    check_holdout(data_sets, vocabularies, holdout)
    legibility: Mapping[LabelledDataSet, Legibility] = {}
    segmentations = [Segmentation.of(named.vocabulary.settings) for named in vocabularies]
    coverages: dict[int, Coverage] = {}
    tallies: dict[int, VocabularyTally] = {}
    frequent = []
    for segmentation in dict.fromkeys(segmentations):
        numbers = [number for number, own in enumerate(segmentations) if own == segmentation]
        tags = not legibility
        done = _read(shards, segmentation, vocabularies, numbers, holdout, workers, look_up, progress, tags)
        legibility = legibility or done.legibility
        if holdout is not None and not any(counts.images for counts in done.shards):
            raise OvocrError(
                f"--holdout {holdout:g}: holds out no image of {', '.join(map(str, data_sets))}; use a larger share"
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
        warnings=[*warnings(data_sets, vocabularies, holdout), *warn_of_limits(data_sets)],
    )


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
    tags: bool,
) -> _CorpusCounts:
    own = [vocabularies[number].vocabulary for number in numbers]
    corpus = CorpusTally(TopWords(look_up))
    tallies = [VocabularyTally(vocabulary, _other(vocabularies, vocabulary), WORDS_LISTED) for vocabulary in own]
    with tempfile.TemporaryDirectory(prefix="ovocr-coverage-") as scratch:
        measurer = replace(_measurer(Path(scratch), shards, segmentation, own), holdout=holdout)
        work = _ShardWork(measurer, tags)
        counts: list[ShardCoverage] = []
        legibility: dict[LabelledDataSet, LegibilitySum] = defaultdict(LegibilitySum)
        for of_shard, found_tags in map_shards(work, shards, workers=workers, progress="words" if progress else None):
            counts.append(of_shard)
            if found_tags is not None:
                legibility[of_shard.shard.data_set].add(found_tags)
        spill = Path(scratch) / "merging"
        for found in merge_words([shard.words for shard in counts], spill):
            corpus.add(found)
            for tally in tallies:
                tally.add(found)
    sums = {data_set: sums.total() for data_set, sums in legibility.items()}
    return _CorpusCounts(numbers=numbers, shards=counts, corpus=corpus, tallies=tallies, legibility=sums)


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
    return ShardMeasurer(
        folder=folder,
        roots=tuple(data_set.root for data_set in _data_sets(shards)),
        segmentation=segmentation,
        vocabularies=paths,
    )


def _data_sets(shards: Sequence[TextShard]) -> tuple[LabelledDataSet, ...]:
    return tuple(dict.fromkeys(shard.data_set for shard in shards))


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
        built_from=tuple(for_terminal(str(found)) for found in built_from(named.vocabulary, _data_sets(shards))),
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

"""``ovocr vocab build``: builds a vocabulary from the stored text of data sets."""

import hashlib
import sys
from typing import Any

from ovocr.base import plural
from ovocr.base.errors import OvocrError
from ovocr.dataset.text import TextShard, find_shards
from ovocr.processes.cores import available_cores
from ovocr.processes.termination import terminable
from ovocr.vocab.building.drop_list import read_drop_lists
from ovocr.vocab.building.options import VocabularyOptions
from ovocr.vocab.building.ranking import Ranking, rank_words
from ovocr.vocab.building.report import BuildReport, counts, total_distinct
from ovocr.vocab.building.shard_counts import CountedShards, count_shards
from ovocr.vocab.building.work_folder import work_folder
from ovocr.vocab.count_merging import check_duckdb, merged_counts
from ovocr.vocab.segmentation.normalisation import NORMALISATION
from ovocr.vocab.sources import SOURCE, describe_sources
from ovocr.vocab.vocabulary import Vocabulary


def build_vocabulary(options: VocabularyOptions, *, progress: bool = False) -> BuildReport:
    """Counts the words of all finished shards and writes the most frequent to ``options.out``, from frequent to rare.

    The files depend only on the stored text and the options about words, not on the order of data sets and shards, the
    workers or the memory. They get their final names when they are complete.

    progress: show progress on stderr if it is a terminal.

    Raises OvocrError, including on Ctrl-C and SIGTERM.
    """
    check_duckdb()
    options.check_out()
    dropped = read_drop_lists(options.drop_lists, options.segmentation)
    shards = find_shards(options.data_sets)
    try:
        with terminable():
            counted, ranking = _count_and_rank(options, shards, dropped, progress)
            if not ranking.words:
                raise OvocrError(_why_empty(options, counted, ranking))
            settings = _settings(options, shards, dropped, counted, ranking)
            vocabulary = Vocabulary(ranking.words, settings, name=str(options.out))
            options.check_out()
            vocabulary.save(options.out)
    except KeyboardInterrupt:
        raise OvocrError(f"interrupted; nothing was written to {options.out}") from None
    return BuildReport(options=options, vocabulary=vocabulary, counted=counted, ranking=ranking, listed=len(dropped))


def _count_and_rank(
    options: VocabularyOptions, shards: list[TextShard], dropped: list[str], progress: bool
) -> tuple[CountedShards, Ranking]:
    with work_folder(options.out) as folder:
        counted = count_shards(
            shards,
            folder.counts,
            options.segmentation,
            holdout=options.holdout,
            workers=min(options.workers or available_cores(), len(shards)),
            memory=options.memory,
            progress=progress,
        )
        if progress and sys.stderr.isatty():
            print(f"merging {plural.counted(len(counted.files), 'file')} of word counts", file=sys.stderr, flush=True)
        with merged_counts(counted.files, folder.merged, memory=options.memory) as connection:
            return counted, rank_words(connection, size=options.size, min_count=options.min_count, dropped=dropped)


def _why_empty(options: VocabularyOptions, counted: CountedShards, ranking: Ranking) -> str:
    names = ", ".join(map(str, options.data_sets))
    if not counted.tokens:
        images = plural.counted(counted.images, "image")
        return f"{names}: no word in the stored text of {images}; a vocabulary needs at least one word"
    words = plural.counted(total_distinct(ranking), "distinct word")
    return (
        f"{names}: no word is left of {words}: {ranking.listed.distinct:,} on --drop lists, {ranking.rare.distinct:,} "
        f"below --min-count {options.min_count}"
    )


def _settings(
    options: VocabularyOptions, shards: list[TextShard], dropped: list[str], counted: CountedShards, ranking: Ranking
) -> dict[str, Any]:
    """Returns the settings for the JSON file. They have no folder names and times, so equal inputs give equal files."""
    return {
        "normalisation": NORMALISATION,
        "segmenter": options.segmentation.describe(),
        SOURCE: describe_sources(shards),
        "options": {
            "size": options.size,
            "min_count": options.min_count,
            "drop": {
                "words": len(dropped),
                "sha256": hashlib.sha256("".join(f"{word}\n" for word in dropped).encode()).hexdigest(),
            },
            **({"holdout": options.holdout} if options.holdout else {}),
        },
        "counts": counts(counted, ranking),
    }

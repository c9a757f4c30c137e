"""``ovocr vocab build``: the stored text of data sets in, a vocabulary out."""

import hashlib
import sys
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import TextShard, find_shards
from ovocr.processes.cores import available_cores
from ovocr.processes.termination import terminable
from ovocr.vocab.building.drop_list import read_drop_lists
from ovocr.vocab.building.options import VocabularyOptions
from ovocr.vocab.building.ranking import Ranking, rank_words
from ovocr.vocab.building.report import BuildReport, counts, total_distinct
from ovocr.vocab.building.shard_counts import ShardCounts, count_shards
from ovocr.vocab.building.work_folder import work_folder
from ovocr.vocab.merged_counts import check_duckdb, merged_counts
from ovocr.vocab.segmentation.normalisation import NORMALISATION
from ovocr.vocab.vocabulary import Vocabulary


def build_vocabulary(options: VocabularyOptions, *, progress: bool = False) -> BuildReport:
    """Count the words of all finished shards and write the most frequent to ``options.out``, from frequent to rare.

    The files are a function of the stored text and the options that concern words; neither the order of data sets and
    shards nor workers or memory change them. Nothing is there under the final names before it is complete.

    progress: show how far it is, on a terminal's stderr. Raises OvocrError, also on Ctrl-C and SIGTERM.
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
        raise OvocrError(f"stopped; nothing was written to {options.out}") from None
    return BuildReport(options=options, vocabulary=vocabulary, counted=counted, ranking=ranking, listed=len(dropped))


def _count_and_rank(
    options: VocabularyOptions, shards: list[TextShard], dropped: list[str], progress: bool
) -> tuple[ShardCounts, Ranking]:
    with work_folder(options.out) as folder:
        counted = count_shards(
            shards,
            folder.counts,
            options.segmentation,
            workers=min(options.workers or available_cores(), len(shards)),
            memory=options.memory,
            progress=progress,
        )
        if progress and sys.stderr.isatty():
            print(f"merging {len(counted.files):,} files of counted words", file=sys.stderr, flush=True)
        with merged_counts(counted.files, folder.merged, memory=options.memory) as connection:
            return counted, rank_words(connection, size=options.size, min_count=options.min_count, dropped=dropped)


def _why_empty(options: VocabularyOptions, counted: ShardCounts, ranking: Ranking) -> str:
    names = ", ".join(map(str, options.data_sets))
    if not counted.tokens:
        return f"{names}: no word in the stored text of {counted.images:,} images; a vocabulary needs one"
    return (
        f"{names}: no word is left: of {total_distinct(ranking):,} distinct ones {ranking.listed.distinct:,} are on "
        f"--drop lists and {ranking.rare.distinct:,} were read less than --min-count {options.min_count} times"
    )


def _settings(
    options: VocabularyOptions, shards: list[TextShard], dropped: list[str], counted: ShardCounts, ranking: Ranking
) -> dict[str, Any]:
    """What the JSON file says. No names of folders, no times: equal data sets and options give equal files."""
    return {
        "normalisation": NORMALISATION,
        "segmenter": options.segmentation.describe(),
        "source": _describe_sources(shards),
        "options": {
            "size": options.size,
            "min_count": options.min_count,
            "drop": {
                "words": len(dropped),
                "sha256": hashlib.sha256("".join(f"{word}\n" for word in dropped).encode()).hexdigest(),
            },
        },
        "counts": counts(counted, ranking),
    }


def _describe_sources(shards: list[TextShard]) -> list[dict[str, Any]]:
    """Each data set by the hash of its manifest and its finished shards, whatever order they were given in."""
    found: dict[Any, int] = {}
    for shard in shards:
        found[shard.root] = found.get(shard.root, 0) + 1
    described = [
        {"manifest_sha256": hashlib.sha256(LabelledDataSet(root).manifest_path.read_bytes()).hexdigest(), "shards": n}
        for root, n in found.items()
    ]
    return sorted(described, key=lambda source: (source["manifest_sha256"], source["shards"]))

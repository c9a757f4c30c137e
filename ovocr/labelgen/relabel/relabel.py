"""``ovocr relabel``: makes new tags for a labelled data set from its stored text, without an engine."""

import json
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from ovocr.base.errors import MissingExtraError
from ovocr.dataset.access.opening import open_data_set
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import IDF
from ovocr.dataset.text import TextShard, find_shards
from ovocr.labelgen.options import RelabelOptions
from ovocr.labelgen.relabel.comparison import Changes, Compared, compare_shard, merge
from ovocr.labelgen.relabel.shard import RelabelSettings, is_relabelled, relabel_shard
from ovocr.labelgen.shards.destination import check_destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import describe_relabel, remove_start_files, settle_configuration
from ovocr.labelgen.shards.progress import Progress
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.shards.worker_count import worker_count
from ovocr.labelgen.sources.input_shard import find_input
from ovocr.labelgen.tagging.frequency_count import count_frequencies
from ovocr.labelgen.tagging.run_words import Words, load_vocabulary, stored_vocabulary, stored_words, with_han
from ovocr.processes.shard_map import map_shards
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies

# Minimum number of images per process, because a process takes about two seconds to start.
RELABELLED_AT_LEAST = 1_000
COMPARED_AT_LEAST = 20_000


@dataclass(frozen=True, kw_only=True)
class RelabelTotals(Totals):
    """The report of a relabelling run.

    unfinished: number of unfinished shards of the old data set, which were skipped.
    changes: changes in the shards of this run.
    """

    unfinished: int
    changes: Changes

    def to_json(self) -> dict[str, Any]:
        """Returns the values for ``--json``."""
        return {**super().to_json(), "shards_unfinished": self.unfinished, "changes": self.changes.to_json()}

    def _contents(self) -> list[str]:
        lines = list(self.changes.format_lines())
        if self.unfinished:
            lines.append(
                f"{self.unfinished} shards of the old data set are not finished; repeat the command when they are"
            )
        return lines


def relabel(options: RelabelOptions, progress: bool) -> RelabelTotals:
    """Writes the data set ``options.out`` with new tags for the stored text of ``options.source``.

    Skips shards that are finished in both. progress: show a bar on stderr. Raises OvocrError for errors that the user
    can correct. Finished shards are kept, and the same call resumes after them.
    """
    start = time.monotonic()
    with stoppable(options.out):
        if any(find_spec(name) is None for name in ("cv2", "PIL")):
            raise MissingExtraError("relabel", "ocr")
        run = _Relabelling(options)
        with run.source.errors():
            run.settle()
            images = run.make_shards(progress)
            return run.totals(images, time.monotonic() - start)


class _Relabelling:
    """A relabelling run. Raises OvocrError if the old data set is not labelled or has no finished shard."""

    def __init__(self, options: RelabelOptions) -> None:
        self._options = options
        self._workers = worker_count(options.workers)
        self.source = open_data_set(options.source, old=True)
        self._manifest = self.source.manifest()
        self._out = LabelledDataSet(options.out)
        self._finished = find_shards([self.source], old=True)
        self._inputs = {shard.number: find_input(self.source, self._manifest, shard.number) for shard in self._finished}
        index, count = options.shard_slice
        self._shards = [shard for shard in self._finished if shard.number % count == index]
        self._todo = [shard for shard in self._shards if not self._is_done(shard.number)]
        self._planned = len(self._manifest.shards)
        self._policy = options.tag_policy(self._manifest.policy)

    def _is_done(self, number: int) -> bool:
        return is_relabelled(self._out, number, self._options.retry_out_of_reach)

    def settle(self) -> None:
        """Checks the configuration, and writes it if the data set is new."""
        if self._todo:
            check_destination(self._out, [self._inputs[shard.number] for shard in self._shards])
        vocabulary = self._load_vocabulary()
        words = Words(vocabulary, self._load_frequencies(vocabulary) if self._policy.weighting == IDF else None)
        settle_configuration(self._out, describe_relabel(self.source, self._policy, words), words)
        self._settings = RelabelSettings(
            out=self._out.root,
            policy=self._policy,
            words=json.dumps(words.describe().to_json()),
            retry_out_of_reach=self._options.retry_out_of_reach,
        )

    def _load_vocabulary(self) -> Vocabulary:
        name = self._options.vocab
        vocabulary = stored_vocabulary(self.source) if name is None else load_vocabulary(name)
        return with_han(vocabulary, self._options.han)

    def _load_frequencies(self, vocabulary: Vocabulary) -> WordFrequencies:
        """Loads frequencies, or counts them if the data set is new.

        An existing data set keeps its frequencies, even if more shards of the old data set are finished now.
        """
        if self._options.idf is not None:
            return WordFrequencies.load(self._options.idf)
        if self._out.manifest_path.exists() and self._out.frequencies_path.exists():
            return WordFrequencies.load(self._out.frequencies_path)
        workers = self._processes(self._finished, RELABELLED_AT_LEAST)
        return count_frequencies(self._finished, vocabulary, self._policy, workers)

    def make_shards(self, progress: bool) -> int:
        """Writes the unfinished shards and returns the number of their images."""
        inputs = [self._inputs[shard.number] for shard in self._todo]
        with Progress(inputs, progress) as bar:
            work = partial(relabel_shard, self._settings)
            results = map_shards(work, self._todo, workers=self._processes(self._todo, RELABELLED_AT_LEAST))
            images = sum(bar.track(results, int))
        if len(self._out.finished_shards()) == self._planned:
            remove_start_files(self._out)
        return images

    def _processes(self, shards: list[TextShard], at_least: int) -> int:
        """Returns the number of processes to start. at_least: minimum number of images per process."""
        images = sum(self._inputs[shard.number].images or 0 for shard in shards)
        return max(1, min(self._workers, images // at_least))

    def totals(self, images: int, seconds: float) -> RelabelTotals:
        """Returns the report of the run."""
        compared = Compared(stored_words(self.source), stored_words(self._out), self._out.root)
        work = partial(compare_shard, compared)
        changes = merge(map_shards(work, self._shards, workers=self._processes(self._shards, COMPARED_AT_LEAST)))
        totals = Totals.of(
            (self._out.counts(shard.number) for shard in self._shards),
            built=len(self._todo),
            images_built=images,
            seconds=seconds,
        )
        return RelabelTotals(**vars(totals), unfinished=self._planned - len(self._finished), changes=changes)

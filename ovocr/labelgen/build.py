"""Implements ``ovocr build-labels``: plans engine or table and the sources, runs over the shards, returns totals."""

import time
from dataclasses import dataclass, replace
from typing import Any

from ovocr.base.errors import UsageError
from ovocr.base.request_count import StoreUse
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import IDF
from ovocr.labelgen.executors.executor import Executor, check_executor, open_executor
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import AllowedChanges, describe_build
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.shards.run_plan import RunPlan, plan_run
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.sources import InputShard, plan_shards
from ovocr.labelgen.table_keys import TableTotals, check_keys_meet, count_keys
from ovocr.labelgen.tagging.run_words import Words, load_vocabulary
from ovocr.labelgen.workers.tasks import GivenTextTask, LabelTask, engine_choice, plan_labelling
from ovocr.vocab.word_frequencies import WordFrequencies


@dataclass(frozen=True, kw_only=True)
class GivenTextTotals(TableTotals):
    """The totals of a run with a table of lines.

    lines_without_text, lines_without_box: number of the table's lines that were left out because they have no text, and
    of lines with text whose box is unknown.
    """

    lines_without_text: int
    lines_without_box: int

    def to_json(self) -> dict[str, Any]:
        """Returns the totals for ``--json``."""
        names = ("lines_without_text", "lines_without_box")
        return {**super().to_json(), **{name: getattr(self, name) for name in names}}

    def _contents(self) -> list[str]:
        return [
            *super()._contents(),
            f"lines without text: {self.lines_without_text:,} (left out); "
            f"lines without a box: {self.lines_without_box:,} (the whole image)",
        ]


def build_labels(options: BuildOptions, progress: bool) -> Totals:
    """Labels all images of the sources and writes the data set ``options.out``. Skips finished shards.

    progress: show the progress on stderr. Raises OvocrError, including on Ctrl-C and SIGTERM; the same call then
    resumes after the finished shards.
    """
    start, store_use = time.monotonic(), StoreUse()
    with stoppable(options.out):
        check_executor(options.executor)
        task, shards = _plan(options)
        with open_destination(options.out) as destination:
            plan = plan_run(destination, shards, options)
            run = ShardRun(options, plan, destination, with_text=True)
            if run.unfinished:
                destination.check(shards)
                if isinstance(task, GivenTextTask) and (options.append or not run.data_set.finished_shards()):
                    check_keys_meet([shard for _, shard in run.unfinished_shards], task.table)
                # Start the workers first: they load while this process loads the vocabulary.
                with open_executor(options, task, run) as executor:
                    _write_configuration(options, destination, task, plan, executor)
                    executor.make_shards(run, progress)
            else:
                _write_configuration(options, destination, task, plan)
            run.remove_temporary_files()
            totals = _totals(run, task, time.monotonic() - start)
        return replace(totals, repeated=store_use.repeated())  # the last shard is uploaded now


def _plan(options: BuildOptions) -> tuple[LabelTask | GivenTextTask, list[InputShard]]:
    engine_choice(options).check()
    shards = plan_shards(options.sources, options.shard_size, options.source_options, say, options.append)
    task = plan_labelling(options)
    if task.notice:
        say(task.notice)
    return task, shards


def _totals(run: ShardRun, task: LabelTask | GivenTextTask, seconds: float) -> Totals:
    totals = run.totals(seconds)
    if not isinstance(task, GivenTextTask):
        return totals
    return GivenTextTotals(
        **vars(totals),
        **count_keys(run, task.table),
        lines_without_text=task.table.without_text,
        lines_without_box=task.table.without_box,
    )


def _write_configuration(
    options: BuildOptions,
    destination: Destination,
    task: LabelTask | GivenTextTask,
    plan: RunPlan,
    executor: Executor | None = None,
) -> None:
    """Writes manifest and vocabulary to a new data set, or compares them with those of an existing data set.

    Waits for a worker first, so that models that do not load leave no data set.
    """
    words = Words(load_vocabulary(options.vocab), _frequencies(options, destination.data_set))
    manifest = describe_build(options, plan.entries, task.describe_engine(), words)
    if executor is not None:
        executor.wait_until_ready()
    changes = AllowedChanges.of(options, plan.known, idle=executor is None)
    destination.settle(manifest, words, changes)


def _frequencies(options: BuildOptions, data_set: LabelledDataSet) -> WordFrequencies | None:
    """Loads the word frequencies of ``--idf``, or of the data set if the run resumes."""
    if options.policy != IDF:
        return None
    if options.idf is None and not data_set.frequencies_path.exists():
        raise UsageError(
            "--policy idf: needs --idf FILE, the frequencies.tsv of a data set made by `ovocr relabel --policy idf`; "
            "if you have none, label with --policy uniform and relabel afterwards"
        )
    return WordFrequencies.load(options.idf or data_set.frequencies_path)

"""Implements ``ovocr build-labels``: plans the engine and the sources, runs over the shards, returns totals."""

import time

from ovocr.base.errors import UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import IDF
from ovocr.labelgen.executors.executor import Executor, check_executor, open_executor
from ovocr.labelgen.executors.shard_run import ShardRun
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.interruption import stoppable
from ovocr.labelgen.shards.manifest import describe_build
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.shards.store_destination import open_destination
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.sources import InputShard, plan_shards
from ovocr.labelgen.tagging.run_words import Words, load_vocabulary
from ovocr.labelgen.tagging.word_frequencies import WordFrequencies
from ovocr.labelgen.workers.tasks import LabelTask, engine_choice


def build_labels(options: BuildOptions, progress: bool) -> Totals:
    """Labels all images of the sources and writes the data set ``options.out``. Skips finished shards.

    progress: show the progress on stderr. Raises OvocrError, including on Ctrl-C and SIGTERM; the same call then
    resumes after the finished shards.
    """
    start = time.monotonic()
    with stoppable(options.out):
        check_executor(options.executor)
        task, shards = _plan(options)
        with open_destination(options.out) as destination:
            run = ShardRun(options, shards, destination, with_text=True)
            if run.unfinished:
                destination.check(shards)
                # Start the workers first: they load while this process loads the vocabulary.
                with open_executor(options, task, run) as executor:
                    _write_configuration(options, destination, task, shards, executor)
                    executor.make_shards(run, progress)
            else:
                _write_configuration(options, destination, task, shards)
            run.remove_temporary_files()
            return run.totals(time.monotonic() - start)


def _plan(options: BuildOptions) -> tuple[LabelTask, list[InputShard]]:
    engine_choice(options).check()
    shards = plan_shards(options.sources, options.shard_size)
    task = LabelTask.plan(options)
    if task.engine.notice:
        say(task.engine.notice)
    return task, shards


def _write_configuration(
    options: BuildOptions,
    destination: Destination,
    task: LabelTask,
    shards: list[InputShard],
    executor: Executor | None = None,
) -> None:
    """Writes manifest and vocabulary to a new data set, or checks that an existing data set has the same ones.

    Waits for a worker first, so that models that do not load leave no data set.
    """
    words = Words(load_vocabulary(options.vocab), _frequencies(options, destination.data_set))
    manifest = describe_build(options, shards, task.engine.describe(), words)
    if executor is not None:
        executor.wait_until_ready()
    destination.settle(manifest, words)


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

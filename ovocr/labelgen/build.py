"""``ovocr build-labels``: engine, vocabulary and sources in, a run over the shards, totals out."""

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
from ovocr.labelgen.workers.work import LabelWork, engine_choice


def build_labels(options: BuildOptions, progress: bool) -> Totals:
    """Label all images of the sources into the data set ``options.out``; shards finished before are left alone.

    progress: show how far it is, on stderr. Raises OvocrError for what the user can mend; finished shards stay, and
    the same call goes on behind them. Ctrl-C and SIGTERM end it with an OvocrError too.
    """
    start = time.monotonic()
    with stoppable(options.out):
        check_executor(options.executor)
        work, shards = _plan(options)
        with open_destination(options.out) as destination:
            run = ShardRun(options, shards, destination)
            if run.todo:
                destination.check(shards)
                # Workers take as long to start as the vocabulary to be made: they start first.
                with open_executor(options, work, run) as executor:
                    _settle(options, destination, work, shards, executor)
                    executor.make_shards(run, progress)
            else:
                _settle(options, destination, work, shards)
            run.tidy()
            return run.totals(time.monotonic() - start)


def _plan(options: BuildOptions) -> tuple[LabelWork, list[InputShard]]:
    """Look for the engine and the sources."""
    engine_choice(options).check()
    shards = plan_shards(options.sources, options.shard_size)
    work = LabelWork.plan(options)
    if work.engine.notice:
        say(work.engine.notice)
    return work, shards


def _settle(
    options: BuildOptions,
    destination: Destination,
    work: LabelWork,
    shards: list[InputShard],
    executor: Executor | None = None,
) -> None:
    """Check the vocabulary and the configuration, and put them into the data set if it is new.

    Not before a worker is ready: a data set must not be begun with models that do not work.
    """
    words = Words(load_vocabulary(options.vocab), _frequencies(options, destination.data_set))
    manifest = describe_build(options, shards, work.engine.describe(), words)
    if executor is not None:
        executor.wait_until_ready()
    destination.settle(manifest, words)


def _frequencies(options: BuildOptions, data_set: LabelledDataSet) -> WordFrequencies | None:
    """Those of ``--idf``, or of a data set that goes on."""
    if options.policy != IDF:
        return None
    if options.idf is None and not data_set.frequencies_path.exists():
        raise UsageError(
            "--policy idf: needs --idf FILE, the frequencies.tsv of a data set made by `ovocr relabel --policy idf`; "
            "without one, label with --policy uniform and relabel afterwards"
        )
    return WordFrequencies.load(options.idf or data_set.frequencies_path)

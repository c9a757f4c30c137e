"""``ovocr build-labels``: engine, vocabulary and sources in, a run over the shards, totals out."""

import time

from ovocr.dataset import LabelledDataSet
from ovocr.errors import UsageError
from ovocr.labelgen.destination import Destination
from ovocr.labelgen.engine import EngineChoice, EnginePlan
from ovocr.labelgen.manifest import describe_build
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.pool import Job, WorkerPool
from ovocr.labelgen.progress import say
from ovocr.labelgen.run import ShardRun, stoppable, worker_count
from ovocr.labelgen.settings import LabellerSettings
from ovocr.labelgen.sources import Found, InputShard, plan_shards
from ovocr.labelgen.store_destination import open_destination
from ovocr.labelgen.tags import IDF
from ovocr.labelgen.totals import Totals
from ovocr.labelgen.word_frequencies import WordFrequencies
from ovocr.labelgen.words import Words, load_vocabulary
from ovocr.labelgen.worker_limits import WorkerLimits
from ovocr.vocab.word_costs import prepare_word_costs


def build_labels(options: BuildOptions, progress: bool) -> Totals:
    """Label all images of the sources into the data set ``options.out``; shards finished before are left alone.

    progress: show how far it is, on stderr. Raises OvocrError for what the user can mend; finished shards stay, and
    the same call goes on behind them. Ctrl-C and SIGTERM end it with an OvocrError too.
    """
    start = time.monotonic()
    with stoppable(options.out):
        engine, shards = _plan(options)
        with open_destination(options.out) as destination:
            run = ShardRun(options, shards, destination)
            if run.todo:
                destination.check(shards)
                # Workers take as long to start as the vocabulary to be made: they start first.
                with _start_workers(options, run.data_set, engine) as pool:
                    _settle(options, destination, engine, shards, pool)
                    run.make_shards(pool, _job, progress)
            else:
                _settle(options, destination, engine, shards)
            run.tidy()
            return run.totals(time.monotonic() - start)


def _plan(options: BuildOptions) -> tuple[EnginePlan, list[InputShard]]:
    """Look for the engine and the sources."""
    choice = EngineChoice(options.engine, options.model_dir, options.det_model, options.rec_model, options.precision)
    choice.check()
    shards = plan_shards(options.sources, options.shard_size)
    engine = choice.plan()
    if engine.notice:
        say(engine.notice)
    return engine, shards


def _start_workers(options: BuildOptions, data_set: LabelledDataSet, engine: EnginePlan) -> WorkerPool:
    prepare_word_costs()
    settings = LabellerSettings(
        engine=engine,
        data_set=data_set,
        policy=options.tag_policy,
        max_pixels=options.max_pixels,
    )
    workers = worker_count(options.workers, engine.workers)
    return WorkerPool(
        settings,
        workers=workers,
        job_timeout_s=options.image_timeout_s,
        batch_size=engine.pictures_at_once,
        limits=WorkerLimits.of(options, workers),
    )


def _settle(
    options: BuildOptions,
    destination: Destination,
    engine: EnginePlan,
    shards: list[InputShard],
    pool: WorkerPool | None = None,
) -> None:
    """Check the vocabulary and the configuration, and put them into the data set if it is new.

    Not before a worker of the pool is ready: a data set must not be begun with models that do not work.
    """
    words = Words(load_vocabulary(options.vocab), _frequencies(options, destination.data_set))
    manifest = describe_build(options, shards, engine.describe(), words)
    if pool is not None:
        pool.wait_until_ready()
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


def _job(image: Found) -> Job:
    return Job((image.key, image.data), len(image.data))

"""``ovocr build-labels``: engine, vocabulary and sources in, a run over the shards, totals out."""

import time

from ovocr.dataset import LabelledDataSet
from ovocr.errors import UsageError
from ovocr.labelgen.destination import check_destination
from ovocr.labelgen.engine import EngineChoice, EnginePlan
from ovocr.labelgen.manifest import describe_build, settle_configuration
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.pool import Job, WorkerPool
from ovocr.labelgen.progress import say
from ovocr.labelgen.run import ShardRun, stoppable, worker_count
from ovocr.labelgen.settings import LabellerSettings
from ovocr.labelgen.sources import Found, InputShard, plan_shards
from ovocr.labelgen.totals import Totals
from ovocr.recordio import MAX_CLASS_ID
from ovocr.vocab import Vocabulary
from ovocr.vocab.normalisation import normalise
from ovocr.vocab.vocabulary import LEXICON
from ovocr.vocab.word_costs import prepare_word_costs


def build_labels(options: BuildOptions, progress: bool) -> Totals:
    """Label all images of the sources into the data set ``options.out``; shards finished before are left alone.

    progress: show how far it is, on stderr. Raises OvocrError for what the user can mend; finished shards stay, and
    the same call goes on behind them. Ctrl-C and SIGTERM end it with an OvocrError too.
    """
    start = time.monotonic()
    with stoppable(options.out):
        engine, shards = _plan(options)
        run = ShardRun(options, shards)
        if run.todo:
            check_destination(run.data_set, shards)
            # Workers take as long to start as the vocabulary to be made: they start first.
            with _start_workers(options, run.data_set, engine) as pool:
                _settle(options, run.data_set, engine, shards, pool)
                run.make_shards(pool, _job, progress)
        else:
            _settle(options, run.data_set, engine, shards)
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
        vocabulary=data_set.vocabulary_path,
        tags=options.tags,
        seed=options.seed,
        max_pixels=options.max_pixels,
    )
    return WorkerPool(
        settings,
        workers=worker_count(options.workers, engine.workers),
        job_timeout_s=options.image_timeout_s,
        batch_size=engine.pictures_at_once,
    )


def _settle(
    options: BuildOptions,
    data_set: LabelledDataSet,
    engine: EnginePlan,
    shards: list[InputShard],
    pool: WorkerPool | None = None,
) -> None:
    """Check the vocabulary and the configuration, and put them into the data set if it is new.

    Not before a worker of the pool is ready: a data set must not be begun with models that do not work.
    """
    vocabulary = Vocabulary.load(options.vocab)
    if not 0 < len(vocabulary) <= MAX_CLASS_ID + 1:
        raise UsageError(f"--vocab {options.vocab}: {len(vocabulary)} words; from 1 to {MAX_CLASS_ID + 1} are possible")
    _check_words_can_occur(options.vocab, vocabulary)
    manifest = describe_build(options, shards, engine.describe(), vocabulary)
    if pool is not None:
        pool.wait_until_ready()
    settle_configuration(data_set, manifest, vocabulary)


def _check_words_can_occur(name: str, vocabulary: Vocabulary) -> None:
    """Words are looked up as they are normalised: one that is written otherwise would be a class without pictures."""
    if name == LEXICON:
        return
    for id in range(len(vocabulary)):
        word = vocabulary.word(id)
        if normalise(word) != word:
            raise UsageError(f"--vocab {name}: line {id + 1}: {word!r} never occurs; write it {normalise(word)!r}")


def _job(image: Found) -> Job:
    return Job((image.key, image.data), len(image.data))

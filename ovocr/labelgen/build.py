"""``ovocr build-labels``: plan the shards, do those that are not finished, count."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ovocr.cores import available_cores
from ovocr.dataset import LabelledDataSet
from ovocr.errors import OvocrError, UsageError
from ovocr.labelgen.destination import check_destination
from ovocr.labelgen.engine import EngineChoice, EnginePlan
from ovocr.labelgen.manifest import describe_build, remove_start_files, settle_configuration
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.outcome import Outcome, quarantined
from ovocr.labelgen.pool import Failure, Job, WorkerPool
from ovocr.labelgen.progress import Progress, say
from ovocr.labelgen.settings import LabellerSettings
from ovocr.labelgen.shard import ShardWriter
from ovocr.labelgen.sources import Found, Ignored, InputShard, Lost, SourceItem, plan_shards, read_shard
from ovocr.labelgen.totals import Totals
from ovocr.recordio import MAX_CLASS_ID
from ovocr.vocab import Vocabulary
from ovocr.vocab.normalisation import normalise
from ovocr.vocab.vocabulary import LEXICON

_Note = SourceItem | None  # what the pool passes along with an image: its source item, or None at a shard's end


def build_labels(options: BuildOptions, progress: bool) -> Totals:
    """Label all images of the sources into the data set ``options.out``; shards finished before are left alone.

    progress: show how far it is, on stderr. Raises OvocrError for what the user can mend; finished shards stay, and
    the same call goes on behind them. Ctrl-C and SIGTERM end it with an OvocrError too.
    """
    start = time.monotonic()
    data_set = LabelledDataSet(options.out)
    try:
        with _terminable():
            engine, shards = _plan(options)
            numbers = range(options.shard_slice[0], len(shards), options.shard_slice[1])
            todo = [number for number in numbers if not _is_finished(data_set, number, options.retry_quarantined)]
            images = 0
            if todo:
                check_destination(data_set, shards)
                # Workers take as long to start as the vocabulary to be made: they start first.
                with _start_workers(options, data_set, engine) as pool:
                    _settle(options, data_set, engine, shards, pool)
                    images = _build(data_set, shards, todo, pool, progress)
            else:
                _settle(options, data_set, engine, shards)
            if len(data_set.finished_shards()) == len(shards):
                remove_start_files(data_set)
    except KeyboardInterrupt:
        raise OvocrError(
            f"stopped; finished shards are kept in {options.out}: the same command goes on behind them"
        ) from None
    except OSError as error:
        raise OvocrError(f"{error.filename or options.out}: {error.strerror or error}") from error
    stats = (data_set.stats(number) for number in numbers)
    return Totals.of(stats, built=len(todo), images_built=images, seconds=time.monotonic() - start)


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
    settings = LabellerSettings(
        engine=engine,
        vocabulary=data_set.vocabulary_path,
        tags=options.tags,
        seed=options.seed,
        max_pixels=options.max_pixels,
    )
    return WorkerPool(
        settings,
        workers=_worker_count(options.workers, engine.workers),
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


def _is_finished(data_set: LabelledDataSet, number: int, retry_quarantined: bool) -> bool:
    if not data_set.stats_path(number).exists():
        return False
    return not (retry_quarantined and data_set.stats(number)["quarantined"])


def _build(
    data_set: LabelledDataSet, shards: list[InputShard], todo: list[int], pool: WorkerPool, progress: bool
) -> int:
    """Make the shards ``todo``; the number of images in them."""
    images = 0
    with Progress([shards[number] for number in todo], progress) as bar:
        results = pool.run(_stream(shards, todo))
        for number in todo:
            bar.begin(shards[number])
            with ShardWriter(data_set, number, shards[number]) as writer:
                _write_shard(writer, results, bar)
            bar.end(shards[number])
            images += writer.counts.input
    return images


def _stream(shards: list[InputShard], todo: list[int]) -> Iterator[tuple[_Note, Job | None]]:
    """All items of all shards in order, images as jobs, each shard closed by an end."""
    for number in todo:
        for item in read_shard(shards[number]):
            if isinstance(item, Found):
                # The bytes travel as the job; the note waits for the result and needs only the key.
                yield Found(item.key, b""), Job((item.key, item.data), len(item.data))
            else:
                yield item, None
        yield None, None


def _write_shard(writer: ShardWriter, results: Iterator[tuple[_Note, Any]], bar: Progress) -> None:
    for item, result in results:
        if item is None:
            return
        if isinstance(item, Ignored):
            writer.ignore()
            continue
        writer.add(item.key, _outcome(item, result))
        bar.image()


def _outcome(item: Found | Lost, result: Any) -> Outcome:
    if isinstance(item, Lost):
        return quarantined(item.reason, item.detail)
    if isinstance(result, Failure):
        return quarantined(result.reason, result.detail)
    outcome: Outcome = result
    return outcome


def _worker_count(wanted: int | None, of_use: int | None) -> int:
    """wanted: by the user. of_use: by the engine, where that is not one for each core."""
    cores = available_cores()
    if wanted is not None and wanted > cores:
        say(f"--workers {wanted}: this process may use {cores} cores, so there are {cores} workers of one thread")
    return min(wanted or of_use or cores, cores)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as KeyboardInterrupt, so that files and workers are cleared away; only the main thread can have that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

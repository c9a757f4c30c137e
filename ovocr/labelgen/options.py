"""What every run over pictures can be told, and then what ``build-labels`` and ``pack-labels`` can."""

import math
from dataclasses import dataclass
from pathlib import Path

from ovocr.base.errors import UsageError
from ovocr.dataset.manifest import IDF, MAX_SEED, MAX_TAGS, UNIFORM, WEIGHTINGS, TagPolicy
from ovocr.vocab import Segmentation

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)
PRECISIONS = ("float32", "bfloat16")
MAX_CLASSES = 2**24  # class ids are stored as float32, which holds every whole number up to here


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of any run that makes a data set. Raises UsageError, naming the option, for a value that is not possible.

    sources: .tar, .rec or .parquet files, folders, or globs of these, in the order of the output shards.
    out: the folder of the data set, or the URL of one in an object store.
    executor: who makes the shards: this machine, or the nodes of a Ray cluster.
    workers: worker processes of one thread each; None for as many as there are cores. With Ray: in each actor, None for
    one.
    shard_slice: (I, N): only the shards whose number is I modulo N.
    tags: tag slots of an image.
    shard_size: images in an output shard made from a folder.
    max_pixels: an image of more is quarantined before it is decoded.
    image_timeout_s: seconds that an image may take; past them it is quarantined.
    retry_quarantined: do finished shards again that have quarantined images.
    worker_images: a worker process is replaced after so many.
    worker_memory: bytes; one that holds more after a batch is replaced. None for an equal share of the machine's.
    """

    sources: tuple[str, ...]
    out: Path | str
    executor: str = LOCAL
    workers: int | None = None
    shard_slice: tuple[int, int] = (0, 1)
    tags: int
    shard_size: int = 10_000
    max_pixels: int = 50_000_000
    image_timeout_s: float = 120.0
    retry_quarantined: bool = False
    worker_images: int = 10_000
    worker_memory: int | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("SOURCE: at least one is needed")
        if self.executor not in EXECUTORS:
            raise UsageError(f"--executor {self.executor}: there is {', '.join(EXECUTORS)}")
        for option, value in (
            ("--workers", self.workers),
            ("--shard-size", self.shard_size),
            ("--max-pixels", self.max_pixels),
            ("--worker-images", self.worker_images),
            ("--worker-memory", self.worker_memory),
        ):
            _check_positive(option, value)
        _check_tags(self.tags)
        if not (self.image_timeout_s > 0 and math.isfinite(self.image_timeout_s)):
            raise UsageError(f"--image-timeout {self.image_timeout_s}: a number of seconds above 0 is needed")
        _check_shard_slice(*self.shard_slice)


@dataclass(frozen=True, kw_only=True)
class BuildOptions(RunOptions):
    """Options of one labelling run, beside those of any run. Raises UsageError as they do.

    vocab: a vocabulary file, or ``lexicon``, the built-in one.
    engine: name of the OCR engine.
    model_dir: folder with det/ and rec/, the engine's models; None for the ones that come with the engine.
    det_model, rec_model: names of published models, for an engine that fetches them; None for its defaults.
    precision: of the networks' arithmetic, float32 or bfloat16.
    seed: chooses which tags an image with more words than slots keeps.
    policy: how likely each of them is kept: uniform, or idf.
    repeats: a word takes part as often as it stands in the image.
    idf: file of word frequencies for the policy idf; None for those that the data set has already.
    """

    vocab: str = "lexicon"
    engine: str = "rapidocr"
    model_dir: Path | None = None
    det_model: str | None = None
    rec_model: str | None = None
    precision: str = "float32"
    tags: int = 100
    seed: int = 0
    policy: str = UNIFORM
    repeats: bool = False
    idf: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision {self.precision}: there is {', '.join(PRECISIONS)}")
        _check_seed(self.seed)
        _check_policy(self.policy, self.idf)

    @property
    def tag_policy(self) -> TagPolicy:
        """How words take the slots."""
        return TagPolicy(tags=self.tags, seed=self.seed, weighting=self.policy, repeats=self.repeats)


@dataclass(frozen=True, kw_only=True)
class PackOptions(RunOptions):
    """Options of one packing run, beside those of any run. Raises UsageError as they do.

    labels: the table of class ids: a file, a folder of such files, or a glob.
    num_classes: class ids are below it; None for the table's largest + 1.
    key_column, label_columns: names of the table's columns; None and none for those with usual names.
    """

    labels: str
    num_classes: int | None = None
    key_column: str | None = None
    label_columns: tuple[str, ...] = ()
    tags: int = 10
    worker_images: int = 1_000_000  # done in milliseconds each, where a worker takes a second to start

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes is not None and not 1 <= self.num_classes <= MAX_CLASSES:
            raise UsageError(f"--num-classes {self.num_classes}: from 1 to {MAX_CLASSES} are possible")


@dataclass(frozen=True, kw_only=True)
class RelabelOptions:
    """Options of one relabelling run. Raises UsageError, naming the option, for a value that is not possible.

    source: folder of the data set whose stored text is labelled anew. out: folder of the new one.
    vocab: a vocabulary file or ``lexicon``; None for the data set's own.
    han: of the segmentation; None for the vocabulary's.
    tags, seed: as in BuildOptions; None for the data set's.
    policy, repeats: as in BuildOptions.
    idf: file of word frequencies for the policy idf; None to count them in the data set.
    workers, shard_slice: as in RunOptions.
    retry_out_of_reach: do finished shards again that lack pictures whose source was out of reach.
    """

    source: Path
    out: Path
    vocab: str | None = None
    han: str | None = None
    tags: int | None = None
    seed: int | None = None
    policy: str = UNIFORM
    repeats: bool = False
    idf: Path | None = None
    workers: int | None = None
    shard_slice: tuple[int, int] = (0, 1)
    retry_out_of_reach: bool = False

    def __post_init__(self) -> None:
        _check_positive("--workers", self.workers)
        if self.tags is not None:
            _check_tags(self.tags)
        if self.seed is not None:
            _check_seed(self.seed)
        _check_policy(self.policy, self.idf)
        _check_shard_slice(*self.shard_slice)
        if self.han is not None:
            Segmentation(self.han)
        if self.out.resolve() == self.source.resolve():
            raise UsageError(f"--out {self.out}: is the data set that is relabelled; choose another folder")


def _check_positive(option: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}: at least 1 is needed")


def _check_tags(tags: int) -> None:
    _check_positive("--tags", tags)
    if tags > MAX_TAGS:
        raise UsageError(f"--tags {tags}: at most {MAX_TAGS} are possible")


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"--seed {seed}: a number from 0 to {MAX_SEED} is needed")


def _check_policy(policy: str, idf: Path | None) -> None:
    if policy not in WEIGHTINGS:
        raise UsageError(f"--policy {policy}: there is {', '.join(WEIGHTINGS)}")
    if idf is not None and policy != IDF:
        raise UsageError(f"--idf {idf}: is of no use without --policy idf")


def _check_shard_slice(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise UsageError(f"--shard-slice {index}/{count}: I/N with I from 0 to N - 1 is needed")


def parse_shard_slice(text: str) -> tuple[int, int]:
    """(I, N) from ``I/N``. Raises UsageError where the text is something else; BuildOptions checks the range."""
    index, slash, count = text.partition("/")
    if not (slash and index.isascii() and index.isdecimal() and count.isascii() and count.isdecimal()):
        raise UsageError(f"--shard-slice {text}: I/N is needed, such as 0/8 for the first of 8 slices")
    return int(index), int(count)

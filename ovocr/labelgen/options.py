"""What every run over pictures can be told, and then what ``build-labels`` and ``pack-labels`` can."""

import math
from dataclasses import dataclass
from pathlib import Path

from ovocr.errors import UsageError

EXECUTORS = ("local",)
PRECISIONS = ("float32", "bfloat16")
MAX_SEED = 2**63 - 1
MAX_TAGS = 100_000
MAX_CLASSES = 2**24  # class ids are stored as float32, which holds every whole number up to here


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of any run that makes a data set. Raises UsageError, naming the option, for a value that is not possible.

    sources: .tar, .rec or .parquet files, folders, or globs of these, in the order of the output shards.
    out: the folder of the data set.
    workers: worker processes of one thread each; None for as many as there are cores.
    shard_slice: (I, N): only the shards whose number is I modulo N.
    tags: tag slots of an image.
    shard_size: images in an output shard made from a folder.
    max_pixels: an image of more is quarantined before it is decoded.
    image_timeout_s: seconds that an image may take; past them it is quarantined.
    retry_quarantined: do finished shards again that have quarantined images.
    """

    sources: tuple[str, ...]
    out: Path
    workers: int | None = None
    shard_slice: tuple[int, int] = (0, 1)
    tags: int
    shard_size: int = 10_000
    max_pixels: int = 50_000_000
    image_timeout_s: float = 120.0
    retry_quarantined: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("SOURCE: at least one is needed")
        for option, value in (
            ("--workers", self.workers),
            ("--tags", self.tags),
            ("--shard-size", self.shard_size),
            ("--max-pixels", self.max_pixels),
        ):
            if value is not None and value < 1:
                raise UsageError(f"{option} {value}: at least 1 is needed")
        if self.tags > MAX_TAGS:
            raise UsageError(f"--tags {self.tags}: at most {MAX_TAGS} are possible")
        if not (self.image_timeout_s > 0 and math.isfinite(self.image_timeout_s)):
            raise UsageError(f"--image-timeout {self.image_timeout_s}: a number of seconds above 0 is needed")
        index, count = self.shard_slice
        if not 0 <= index < count:
            raise UsageError(f"--shard-slice {index}/{count}: I/N with I from 0 to N - 1 is needed")


@dataclass(frozen=True, kw_only=True)
class BuildOptions(RunOptions):
    """Options of one labelling run, beside those of any run. Raises UsageError as they do.

    vocab: a vocabulary file, or ``lexicon``, the built-in one.
    engine: name of the OCR engine.
    model_dir: folder with det/ and rec/, the engine's models; None for the ones that come with the engine.
    det_model, rec_model: names of published models, for an engine that fetches them; None for its defaults.
    precision: of the networks' arithmetic, float32 or bfloat16.
    executor: who runs the workers.
    seed: chooses which tags an image with more words than slots keeps.
    """

    vocab: str = "lexicon"
    engine: str = "rapidocr"
    model_dir: Path | None = None
    det_model: str | None = None
    rec_model: str | None = None
    precision: str = "float32"
    executor: str = "local"
    tags: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.executor not in EXECUTORS:
            raise UsageError(f"--executor {self.executor}: there is {', '.join(EXECUTORS)}")
        if self.precision not in PRECISIONS:
            raise UsageError(f"--precision {self.precision}: there is {', '.join(PRECISIONS)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed}: a number from 0 to {MAX_SEED} is needed")


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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes is not None and not 1 <= self.num_classes <= MAX_CLASSES:
            raise UsageError(f"--num-classes {self.num_classes}: from 1 to {MAX_CLASSES} are possible")


def parse_shard_slice(text: str) -> tuple[int, int]:
    """(I, N) from ``I/N``. Raises UsageError where the text is something else; BuildOptions checks the range."""
    index, slash, count = text.partition("/")
    if not (slash and index.isascii() and index.isdecimal() and count.isascii() and count.isdecimal()):
        raise UsageError(f"--shard-slice {text}: I/N is needed, such as 0/8 for the first of 8 slices")
    return int(index), int(count)

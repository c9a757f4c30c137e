"""Options of the commands that write labelled data sets, with their defaults and one-line help texts."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from ovocr.base.errors import UsageError
from ovocr.dataset.holdout.rule import GROUP, IMAGE_GROUPS, KEY, check_share
from ovocr.dataset.manifest import (
    IDF,
    MAX_LETTERS,
    MAX_SEED,
    MAX_TAGS,
    UNIFORM,
    WEIGHTINGS,
    SourceOptions,
    TagPolicy,
)
from ovocr.vocab import Segmentation

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)
PRECISIONS = ("float32", "bfloat16")
_MIN_SCORE = "Leave out words in lines with a recognition score below S, from 0 to 1"
_MIN_LETTERS = "Leave out words with fewer than N letters, in Latin and other alphabets"
_AS_IN_DATA_SET = "by default as in the data set."
MAX_CLASSES = 2**24  # class ids are stored as float32, which is exact up to here


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Options of every run over shards. Raises UsageError, naming the option, if a value is not allowed."""

    workers: int | None = field(
        default=None,
        metadata={"help": "Worker processes of one thread each; by default one per core."},
    )
    shard_slice: tuple[int, int] = field(
        default=(0, 1), metadata={"help": "Process only the shards whose number is I modulo N."}
    )

    def __post_init__(self) -> None:
        _check_positive("--workers", self.workers)
        index, count = self.shard_slice
        if not 0 <= index < count:
            raise UsageError(f"--shard-slice {index}/{count}: must be I/N with I from 0 to N - 1")


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """Options that decide which tags get slots. Raises UsageError, naming the option, if a value is not allowed."""

    policy: str = field(
        default=UNIFORM,
        metadata={"help": "How to choose among more words than slots: uniform, or idf to prefer rare words."},
    )
    repeats: bool = field(
        default=False, metadata={"help": "Count a word as often as it occurs in the image, not once."}
    )
    idf: Path | None = field(
        default=None, metadata={"help": "Word frequencies for --policy idf: frequencies.tsv of a relabelled data set."}
    )

    def __post_init__(self) -> None:
        _check_choice("--policy", self.policy, WEIGHTINGS)
        if self.idf is not None and self.policy != IDF:
            raise UsageError(f"--idf {self.idf}: has no effect without --policy idf")


@dataclass(frozen=True, kw_only=True)
class RunOptions(ShardOptions):
    """Options of every run that reads sources. Raises UsageError, naming the option, if a value is not allowed."""

    sources: tuple[str, ...] = field(
        metadata={
            "help": "Images, archives (.tar, .zip, .rec), tables (.parquet, .arrow), lists (.txt), folders, globs or "
            "URLs, in the order of the output shards."
        }
    )
    out: Path | str = field(metadata={"help": "Folder, or s3:// URL, of the data set."})
    executor: str = field(
        default=LOCAL,
        metadata={
            "help": "Make shards on this machine (local) or on a Ray cluster (ray, by default one worker per actor)."
        },
    )
    tags: int = field(metadata={"help": "Tag slots per image."})
    shard_size: int = field(
        default=10_000, metadata={"help": "Images per shard if SOURCE is image files, a folder or a list."}
    )
    image_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of .parquet and .arrow sources with the images; by default image or another usual one."
        },
    )
    image_key_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of .parquet and .arrow sources with the images' keys, or row-number; by default key, "
            "__key__, url or id, else the images' paths, else row numbers."
        },
    )
    image_root: Path | None = field(
        default=None,
        metadata={"help": "Folder of the images that .parquet and .arrow sources have only the paths of."},
    )
    max_pixels: int = field(default=50_000_000, metadata={"help": "Quarantine larger images without decoding them."})
    image_timeout_s: float = field(
        default=120.0, metadata={"help": "Seconds that an image may take before it is quarantined."}
    )
    append: bool = field(
        default=False,
        metadata={"help": "Add the sources to a data set without naming again the sources that it has already."},
    )
    accept_upgrade: bool = field(
        default=False, metadata={"help": "Continue a data set that was begun with other versions of packages."}
    )
    retry_quarantined: bool = field(
        default=False, metadata={"help": "Redo finished shards that have quarantined images."}
    )
    worker_images: int = field(default=10_000, metadata={"help": "Replace a worker process after N images."})
    worker_memory: int | None = field(
        default=None,
        metadata={
            "help": "Replace a worker process that uses more memory than this, such as 4GB; by default an equal share."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources:
            raise UsageError("SOURCE: at least one is required")
        _check_choice("--executor", self.executor, EXECUTORS)
        if self.append and self.retry_quarantined:
            raise UsageError("--append: leave it out with --retry-quarantined, which needs all images of a shard")
        for option, value in (
            ("--shard-size", self.shard_size),
            ("--max-pixels", self.max_pixels),
            ("--worker-images", self.worker_images),
            ("--worker-memory", self.worker_memory),
        ):
            _check_positive(option, value)
        _check_tags(self.tags)
        if not (self.image_timeout_s > 0 and math.isfinite(self.image_timeout_s)):
            raise UsageError(f"--image-timeout {self.image_timeout_s}: must be a number of seconds above 0")
        if self.image_root is not None and not self.image_root.is_dir():
            raise UsageError(f"--image-root {self.image_root}: no such folder")

    @property
    def source_options(self) -> SourceOptions:
        """The options for sources that are tables."""
        return SourceOptions(
            image_column=self.image_column,
            image_key_column=self.image_key_column,
            image_root=None if self.image_root is None else str(self.image_root),
        )


@dataclass(frozen=True, kw_only=True)
class BuildOptions(RunOptions, PolicyOptions):
    """Options of ``build-labels``. Raises UsageError, naming the option, if a value is not allowed."""

    vocab: str = field(default="lexicon", metadata={"help": "A vocabulary file, or the built-in 'lexicon'."})
    lines: str | None = field(
        default=None,
        metadata={
            "help": "Table of key -> lines of text, instead of an OCR engine: Parquet, JSON, JSON lines, CSV or TSV."
        },
    )
    key_column: str | None = field(
        default=None,
        metadata={
            "help": "Column with the images' keys, of the --lines table (by default key), or, without --lines, of "
            ".parquet and .arrow sources."
        },
    )
    engine: str = field(default="rapidocr", metadata={"help": "OCR engine: rapidocr or paddleocr."})
    model_dir: Path | None = field(
        default=None, metadata={"help": "Folder with det/ and rec/ models, instead of the engine's own models."}
    )
    det_model: str | None = field(
        default=None, metadata={"help": "PaddleOCR's name of a text detection model to download."}
    )
    rec_model: str | None = field(
        default=None, metadata={"help": "PaddleOCR's name of a text recognition model to download."}
    )
    precision: str = field(
        default="float32",
        metadata={"help": "Precision of the networks: float32, or bfloat16, faster on processors that support it."},
    )
    tags: int = field(default=100, metadata={"help": "Tag slots per image."})
    seed: int = field(default=0, metadata={"help": "Seed that chooses the tags of images with more words than slots."})
    min_score: float = field(default=0.0, metadata={"help": f"{_MIN_SCORE}."})
    min_letters: int = field(default=1, metadata={"help": f"{_MIN_LETTERS}."})

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
        PolicyOptions.__post_init__(self)
        _check_choice("--precision", self.precision, PRECISIONS)
        _check_seed(self.seed)
        _check_limits(self.min_score, self.min_letters)
        if self.lines is None:
            if self.key_column is not None and self.image_key_column is not None:
                raise UsageError(
                    f"--key-column {self.key_column}: without --lines, it is the same as --image-key-column, which is "
                    "given, too; leave out one of them"
                )
            return
        for name in ("engine", "model_dir", "det_model", "rec_model", "precision"):
            value, default = getattr(self, name), getattr(BuildOptions, name)
            if value != default:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} {value}: no engine reads the images with --lines; leave out --{option}")

    @property
    def source_options(self) -> SourceOptions:
        """The options for sources that are tables. Without --lines, --key-column is about the sources."""
        options = super().source_options
        return (
            options
            if self.lines is not None or self.key_column is None
            else replace(options, image_key_column=self.key_column)
        )

    @property
    def tag_policy(self) -> TagPolicy:
        """The policy that turns words into tags and assigns them to slots."""
        return TagPolicy(
            tags=self.tags,
            seed=self.seed,
            weighting=self.policy,
            repeats=self.repeats,
            min_score=self.min_score,
            min_letters=self.min_letters,
        )


@dataclass(frozen=True, kw_only=True)
class PackOptions(RunOptions):
    """Options of ``pack-labels``. Raises UsageError, naming the option, if a value is not allowed."""

    labels: str = field(metadata={"help": "Table of key -> class ids: Parquet, CSV, TSV or JSON lines."})
    num_classes: int | None = field(
        default=None, metadata={"help": "Number of classes; by default the largest class id of the table + 1."}
    )
    key_column: str | None = field(
        default=None, metadata={"help": "Column of the table with the images' keys; by default key."}
    )
    label_columns: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Column of the table with class ids, may be repeated; by default labels, label, class or similar."
        },
    )
    tags: int = field(default=10, metadata={"help": "Tag slots per image."})
    # An image takes milliseconds, a worker's start a second.
    worker_images: int = field(default=1_000_000, metadata={"help": "Replace a worker process after N images."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_classes is not None and not 1 <= self.num_classes <= MAX_CLASSES:
            raise UsageError(f"--num-classes {self.num_classes}: must be from 1 to {MAX_CLASSES}")


@dataclass(frozen=True, kw_only=True)
class RelabelOptions(ShardOptions, PolicyOptions):
    """Options of ``relabel``. Raises UsageError, naming the option, if a value is not allowed."""

    source: Path | str = field(metadata={"help": "Folder or URL of the labelled data set to relabel."})
    out: Path = field(metadata={"help": "Folder of the new data set."})
    vocab: str | None = field(
        default=None, metadata={"help": "A vocabulary file, or 'lexicon'; by default the data set's vocabulary."}
    )
    han: str | None = field(
        default=None,
        metadata={
            "help": "Han characters: as-read, or simplified to fold traditional ones; by default as in the vocabulary."
        },
    )
    tags: int | None = field(default=None, metadata={"help": f"Tag slots per image; {_AS_IN_DATA_SET}"})
    seed: int | None = field(
        default=None,
        metadata={"help": f"Seed that chooses the tags of images with more words than slots; {_AS_IN_DATA_SET}"},
    )
    min_score: float | None = field(default=None, metadata={"help": f"{_MIN_SCORE}; {_AS_IN_DATA_SET}"})
    min_letters: int | None = field(default=None, metadata={"help": f"{_MIN_LETTERS}; {_AS_IN_DATA_SET}"})
    retry_out_of_reach: bool = field(
        default=False, metadata={"help": "Redo finished shards that lack images because their source was out of reach."}
    )

    def __post_init__(self) -> None:
        ShardOptions.__post_init__(self)
        PolicyOptions.__post_init__(self)
        if self.tags is not None:
            _check_tags(self.tags)
        if self.seed is not None:
            _check_seed(self.seed)
        _check_limits(self.min_score or 0.0, 1 if self.min_letters is None else self.min_letters)
        if self.han is not None:
            Segmentation(self.han)
        if isinstance(self.source, Path) and self.out.resolve() == self.source.resolve():
            raise UsageError(f"--out {self.out}: is the data set to relabel; choose another folder")

    def tag_policy(self, before: TagPolicy) -> TagPolicy:
        """Returns the policy of the new data set. before: the policy of the old one."""
        given = {name: getattr(self, name) for name in ("tags", "seed", "min_score", "min_letters")}
        changes = {name: value for name, value in given.items() if value is not None}
        return replace(before, weighting=self.policy, repeats=self.repeats, **changes)


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """Options of ``split``. Raises UsageError, naming the option, if a value is not allowed."""

    source: Path | str = field(metadata={"help": "Folder or URL of the labelled data set to divide."})
    out: Path = field(metadata={"help": "Folder of the parts: OUT/train and OUT/held-out."})
    share: float = field(
        default=0.05, metadata={"help": "Share of the images, or of the groups of --by, that are held out."}
    )
    by: str | None = field(
        default=None,
        metadata={
            "help": "What stays together: key (each image by itself), source (the images of an archive, table or "
            "folder), or, with --groups, a column of the table; by default key, or group with --groups."
        },
    )
    groups: Path | None = field(
        default=None,
        metadata={
            "help": "Table with the column key and the column of --by, such as the document of each image: CSV, TSV, "
            "JSON lines or Parquet."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of the choice."})
    workers: int | None = field(
        default=None, metadata={"help": "Worker processes of one thread each; by default one per core."}
    )

    def __post_init__(self) -> None:
        check_share(self.share, "--share")
        _check_seed(self.seed)
        _check_positive("--workers", self.workers)
        if self.groups is None and self.by not in (None, *IMAGE_GROUPS):
            raise UsageError(
                f"--by {self.by}: images have {' and '.join(IMAGE_GROUPS)}; name a table that has the columns key and "
                f"{self.by} with --groups"
            )
        if self.groups is not None and self.by == KEY:
            raise UsageError(f"--by {KEY}: is the column of the images' keys; choose another column of {self.groups}")
        if not isinstance(self.source, Path):
            return
        source, out = self.source.resolve(), self.out.resolve()
        if source in (out, *out.parents):
            raise UsageError(f"--out {self.out}: is in the data set to divide; choose another folder")
        if out in source.parents:
            raise UsageError(f"--out {self.out}: contains the data set to divide; choose another one")

    @property
    def grouped_by(self) -> str:
        """What images of a group have in common."""
        return self.by or (KEY if self.groups is None else GROUP)


def parse_shard_slice(text: str) -> tuple[int, int]:
    """Parses ``I/N``. Raises UsageError if the text has a different form; the options check the range."""
    index, slash, count = text.partition("/")
    if not (slash and index.isascii() and index.isdecimal() and count.isascii() and count.isdecimal()):
        raise UsageError(f"--shard-slice {text}: must be I/N, such as 0/8 for the first of 8 slices")
    return int(index), int(count)


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{option} {value}: must be one of {', '.join(choices)}")


def _check_positive(option: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}: must be at least 1")


def _check_tags(tags: int) -> None:
    _check_positive("--tags", tags)
    if tags > MAX_TAGS:
        raise UsageError(f"--tags {tags}: must be at most {MAX_TAGS}")


def _check_limits(min_score: float, min_letters: int) -> None:
    if not 0 <= min_score <= 1:
        raise UsageError(f"--min-score {min_score:g}: must be from 0 to 1")
    if not 1 <= min_letters <= MAX_LETTERS:
        raise UsageError(f"--min-letters {min_letters}: must be from 1 to {MAX_LETTERS}")


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise UsageError(f"--seed {seed}: must be from 0 to {MAX_SEED}")

"""Options of `ovocr vocab build`, with their defaults and one-line help texts."""

from dataclasses import dataclass, field
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.holdout.rule import check_share
from ovocr.vocab.count_merging import DEFAULT_MEMORY
from ovocr.vocab.lexicon import LEXICON
from ovocr.vocab.segmentation.segmenter import DEFAULT, Segmentation
from ovocr.vocab.vocabulary import description_path, is_description

# Class ids are stored as float32, which is exact up to here.
LARGEST_SIZE = 2**24


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    """Options of ``vocab build``. Raises UsageError, naming the option, if a value is not allowed.

    memory: bytes for counting, and then for merging, in addition to the memory of the processes themselves.
    """

    data_sets: tuple[Path | str, ...] = field(metadata={"help": "Folders or URLs of labelled data sets."})
    out: Path = field(metadata={"help": "File of the vocabulary; PATH.json is written next to it."})
    force: bool = field(default=False, metadata={"help": "Replace an existing vocabulary."})
    # The size of the built-in lexicon.
    size: int = field(default=365_187, metadata={"help": "Maximum number of words."})
    min_count: int = field(default=1, metadata={"help": "Leave out words that were read fewer than N times."})
    drop_lists: tuple[Path, ...] = field(
        default=(), metadata={"help": "File of words to leave out, one per line; may be repeated."}
    )
    holdout: float = field(
        default=0.0,
        metadata={"help": "Leave out this share of the images, chosen by their keys, to measure the coverage of them."},
    )
    segmentation: Segmentation = field(
        default=DEFAULT, metadata={"help": "Han characters: as-read, or simplified to fold traditional ones."}
    )
    workers: int | None = field(default=None, metadata={"help": "Processes that count words; by default one per core."})
    memory: int = field(
        default=DEFAULT_MEMORY, metadata={"help": "Memory for counting, and then for merging, such as 500MB."}
    )

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST_SIZE:
            raise UsageError(f"--size {self.size}: must be from 1 to {LARGEST_SIZE}")
        if self.min_count < 1:
            raise UsageError(f"--min-count {self.min_count}: must be at least 1")
        if self.holdout:
            check_share(self.holdout)
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}: must be at least 1")

    def check_out(self) -> None:
        """Raises OvocrError if ``out`` would replace a vocabulary, on which data sets and runs may depend, or any file
        but the description that an interrupted build has left."""
        for path in (self.out, description_path(self.out)):
            if path.exists() and not self.force and not is_description(path):
                raise OvocrError(f"--out {self.out}: {path} exists; choose another --out, or replace it with --force")


def out_path(text: str) -> Path:
    """Returns the path of --out. Raises UsageError for standard output and for the built-in vocabulary's name."""
    if text == "-":
        raise UsageError("--out -: a vocabulary is two files; a file's path is needed")
    if text == LEXICON:
        raise UsageError(f"--out {LEXICON}: is the name of the built-in vocabulary; write ./{LEXICON} for a file")
    return Path(text)

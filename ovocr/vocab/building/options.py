"""What a user can choose of a vocabulary."""

from dataclasses import dataclass
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.vocab.count_merging import DEFAULT_MEMORY
from ovocr.vocab.lexicon import LEXICON
from ovocr.vocab.segmentation.segmenter import DEFAULT, Segmentation
from ovocr.vocab.vocabulary import description_path

# That of the method, and of the built-in lexicon.
DEFAULT_SIZE = 365_187
# Class ids are stored as float32, which has every whole number up to here.
LARGEST_SIZE = 2**24


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    """What to make of which data sets.

    data_sets: folders of ``build-labels``. out: the vocabulary's file; force: replace one that is there. size: how many
    words at most. min_count: words that were read less often are left out. drop_lists: files of words to leave out, one
    a line. workers: processes that count; None for one a core. memory: bytes that counting, and then merging, may take
    beside what the processes have anyway.

    Raises UsageError for what cannot be.
    """

    data_sets: tuple[Path, ...]
    out: Path
    force: bool = False
    size: int = DEFAULT_SIZE
    min_count: int = 1
    drop_lists: tuple[Path, ...] = ()
    segmentation: Segmentation = DEFAULT
    workers: int | None = None
    memory: int = DEFAULT_MEMORY

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST_SIZE:
            raise UsageError(f"--size {self.size}: from 1 to {LARGEST_SIZE} are possible")
        if self.min_count < 1:
            raise UsageError(f"--min-count {self.min_count}: at least 1 is needed")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}: at least 1 is needed")

    def check_out(self) -> None:
        """Raises OvocrError where ``out`` would replace a vocabulary, whose class ids data sets and runs go by."""
        for path in (self.out, description_path(self.out)):
            if path.exists() and not self.force:
                raise OvocrError(f"--out {self.out}: {path} is there; choose another --out, or --force replaces it")


def out_path(text: str) -> Path:
    """The path of --out. Raises UsageError for standard output, and for the name of the built-in vocabulary."""
    if text == "-":
        raise UsageError("--out -: a vocabulary is two files; a file's path is needed")
    if text == LEXICON:
        raise UsageError(f"--out {LEXICON}: names the built-in vocabulary; ./{LEXICON} would be a file")
    return Path(text)

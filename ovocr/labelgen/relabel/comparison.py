"""Compares the records of two data sets with the same stored text."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import WordsEntry
from ovocr.dataset.outcome import Status
from ovocr.dataset.records import WordsRow, read_words
from ovocr.dataset.text import TextShard
from ovocr.labelgen.tagging.run_words import stored_vocabulary
from ovocr.vocab import Vocabulary

WORDS_LISTED = 10


@dataclass
class Side:
    """Sums over the images of one data set. ok: number of images with tags. tags: number of distinct tags per image."""

    ok: int = 0
    words_found: int = 0
    words_in_vocabulary: int = 0
    tags: int = 0

    def add_row(self, row: WordsRow) -> None:
        """Adds one image."""
        self.ok += row.status == Status.OK
        self.words_found += row.words_found
        self.words_in_vocabulary += row.words_in_vocabulary
        self.tags += len(row.class_ids)

    def add(self, other: "Side") -> None:
        """Adds the sums of other images."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Changes:
    """Differences between the tags before and after, over the images that were read. Tags are compared as words.

    gained_all, lost_all: number of images that have tags only after, or only before.
    same: number of images with the same tags before and after.
    compared: number of images with tags before or after. jaccard_sum: sum of the Jaccard indexes of these images.
    gained, lost: map each word to the number of images that have the tag only after, or only before.
    """

    images: int = 0
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)
    gained_all: int = 0
    lost_all: int = 0
    same: int = 0
    compared: int = 0
    jaccard_sum: float = 0.0
    gained: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def mean_jaccard(self) -> float:
        """Mean Jaccard index; 1 if no image has a tag."""
        return self.jaccard_sum / self.compared if self.compared else 1.0

    def add_image(self, before: frozenset[str], after: frozenset[str]) -> None:
        """Counts an image by the words that are its tags."""
        self.images += 1
        self.gained_all += not before and bool(after)
        self.lost_all += bool(before) and not after
        if not (before or after):
            return
        self.compared += 1
        self.same += before == after
        self.jaccard_sum += len(before & after) / len(before | after)
        self.gained.update(after - before)
        self.lost.update(before - after)

    def merge(self, other: "Changes") -> None:
        """Adds the changes of other images."""
        self.before.add(other.before)
        self.after.add(other.after)
        for name in ("images", "gained_all", "lost_all", "same", "compared", "jaccard_sum"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.gained.update(other.gained)
        self.lost.update(other.lost)

    def to_json(self) -> dict[str, Any]:
        """Returns the figures for ``--json``."""
        names = ("images", "gained_all", "lost_all", "same", "compared")
        return {
            **{name: getattr(self, name) for name in names},
            "mean_jaccard": round(self.mean_jaccard, 6),
            "before": vars(self.before),
            "after": vars(self.after),
            **{
                name: [{"word": word, "images": count} for word, count in _most_frequent(words)]
                for name, words in (("gained", self.gained), ("lost", self.lost))
            },
        }

    def format_lines(self) -> Iterator[str]:
        """Yields lines for the user."""
        yield f"{'':<24}{'before':>12}{'after':>12}"
        rows = (("images with tags", "ok"), ("words found", "words_found"), ("  in vocabulary", "words_in_vocabulary"))
        for label, name in (*rows, ("tags", "tags")):
            yield f"{label:<24}{getattr(self.before, name):>12,}{getattr(self.after, name):>12,}"
        yield f"images that have tags only after: {self.gained_all}, only before: {self.lost_all}"
        yield (
            f"{self.compared} images have tags before or after, {self.same} of them the same tags; "
            f"mean Jaccard {self.mean_jaccard:.3f}"
        )
        for label, words in (("gained", self.gained), ("lost", self.lost)):
            if words:
                listed = ", ".join(f"{for_terminal(word)} {count:,}" for word, count in _most_frequent(words))
                yield f"most frequently {label} tags, with images: {listed}"


@dataclass(frozen=True)
class Compared:
    """The data sets that are compared: their words, and the folder of the new one."""

    before: WordsEntry
    after: WordsEntry
    out: Path


def compare_shard(compared: Compared, shard: TextShard) -> Changes:
    """Compares a shard with the same shard of the new data set. Raises OvocrError if records cannot be read."""
    with shard.data_set.errors(), shard.on_disk("records") as stored:
        return _compare(compared, shard, stored)


def _compare(compared: Compared, shard: TextShard, stored: TextShard) -> Changes:
    """Compares a shard. stored: the same shard with its records on a disk."""
    changes = Changes()
    new_data_set = LabelledDataSet(compared.out)
    before, after = (data_set.records_path(shard.number) for data_set in (LabelledDataSet(stored.root), new_data_set))
    words_before = stored_vocabulary(shard.data_set, compared.before)
    words_after = stored_vocabulary(new_data_set, compared.after)
    for old, new in zip_longest(_read(before, words_before), _read(after, words_after)):
        if old is None or new is None:
            raise OvocrError(
                f"{after}: does not list the images of {before}; remove "
                f"{new_data_set.stats_path(shard.number)} and repeat the command"
            )
        if Status.QUARANTINED in (old[0].status, new[0].status):
            continue
        changes.before.add_row(old[0])
        changes.after.add_row(new[0])
        changes.add_image(old[1], new[1])
    return changes


def _most_frequent(words: Counter[str]) -> list[tuple[str, int]]:
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))[:WORDS_LISTED]


def _read(path: Path, vocabulary: Vocabulary) -> Iterator[tuple[WordsRow, frozenset[str]]]:
    """Yields each image's row and the words that are its tags. path: table of records."""
    for row in read_words(path):
        try:
            yield row, frozenset(map(vocabulary.word, row.class_ids))
        except IndexError as error:
            raise OvocrError(f"{path}: contains a class id that is not in the vocabulary; restore the file") from error


def merge(changes: Iterable[Changes]) -> Changes:
    """Returns the sum of the changes."""
    total = Changes()
    for part in changes:
        total.merge(part)
    return total

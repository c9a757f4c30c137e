"""Reports how many classes a class map keeps, adds and drops: a table for a terminal and JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ovocr.base.escape import for_terminal
from ovocr.vocab.class_map import NO_OLD_CLASS, ClassMap
from ovocr.vocab.vocabulary import Vocabulary

LISTED = 20


@dataclass(frozen=True, kw_only=True)
class ClassMapReport:
    """Counts, and the first words of each kind in class id order, which usually is from frequent to rare.

    old, new: the vocabularies' names, sizes and sha256.
    kept: new classes with an old class. folded: kept classes whose old word is spelled differently.
    added: new classes without an old class. gone: old classes without a new class.
    kept_share, added_share: fractions of the new vocabulary. gone_share: fraction of the old vocabulary.
    folded_words: (new id, new word, old id, old word). added_words: (new id, word). gone_words: (old id, word).
    """

    old: dict[str, Any]
    new: dict[str, Any]
    kept: int
    kept_share: float
    folded: int
    added: int
    added_share: float
    gone: int
    gone_share: float
    folded_words: tuple[tuple[int, str, int, str], ...]
    added_words: tuple[tuple[int, str], ...]
    gone_words: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, class_map: ClassMap, old: Vocabulary, new: Vocabulary, *, names: tuple[str, str]) -> "ClassMapReport":
        """Returns the report of a map between two vocabularies. names: names of the old and the new vocabulary."""
        taken = np.zeros(len(old), dtype=bool)
        taken[class_map.old_ids[class_map.old_ids != NO_OLD_CLASS]] = True
        added, gone = len(new) - class_map.kept, int((~taken).sum())
        folded = list(_folded(class_map, old, new))
        return cls(
            old={"name": names[0], "size": len(old), "sha256": old.sha256},
            new={"name": names[1], "size": len(new), "sha256": new.sha256},
            kept=class_map.kept,
            kept_share=class_map.kept / len(new),
            folded=len(folded),
            added=added,
            added_share=added / len(new),
            gone=gone,
            gone_share=gone / len(old),
            folded_words=tuple(folded[:LISTED]),
            added_words=_first_words(new, np.flatnonzero(class_map.old_ids == NO_OLD_CLASS)),
            gone_words=_first_words(old, np.flatnonzero(~taken)),
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name. Words are objects with id and word, and old_id and old_word if folded."""
        names = ("id", "word", "old_id", "old_word")
        lists = {
            name: [dict(zip(names, entry, strict=False)) for entry in getattr(self, name)]
            for name in ("folded_words", "added_words", "gone_words")
        }
        return {**vars(self), **lists}

    def format(self) -> str:
        """Returns the counts as lines for a terminal, without a line end after the last."""
        rows: list[tuple[str, int, float | None]] = [
            (f"old vocabulary {self.old['name']}", self.old["size"], None),
            ("  gone", self.gone, self.gone_share),
            (f"new vocabulary {self.new['name']}", self.new["size"], None),
            ("  kept", self.kept, self.kept_share),
            ("    spelled differently before", self.folded, self.folded / self.new["size"]),
            ("  new words", self.added, self.added_share),
        ]
        width = max(34, *(len(for_terminal(label)) + 2 for label, _, _ in rows))
        lines = [
            f"{for_terminal(label):<{width}}{count:>12,}" + ("" if share is None else f"{share:>8.1%}")
            for label, count, share in rows
        ]
        lines += _listed("new words, by class id", (f"{id:>10}  {for_terminal(word)}" for id, word in self.added_words))
        lines += _listed("gone, by class id", (f"{id:>10}  {for_terminal(word)}" for id, word in self.gone_words))
        respelled = (
            f"{id:>10}  {for_terminal(word)}  was {old_id}  {for_terminal(old_word)}"
            for id, word, old_id, old_word in self.folded_words
        )
        return "\n".join([*lines, *_listed("spelled differently before, by class id", respelled)])


def _folded(class_map: ClassMap, old: Vocabulary, new: Vocabulary) -> Iterator[tuple[int, str, int, str]]:
    for class_id, old_id in enumerate(class_map.old_ids.tolist()):
        if old_id != NO_OLD_CLASS and old.word(old_id) != new.word(class_id):
            yield class_id, new.word(class_id), old_id, old.word(old_id)


def _first_words(vocabulary: Vocabulary, ids: Iterable[int]) -> tuple[tuple[int, str], ...]:
    return tuple((int(class_id), vocabulary.word(int(class_id))) for class_id in islice(ids, LISTED))


def _listed(title: str, entries: Iterable[str]) -> list[str]:
    lines = list(entries)
    return [title, *lines] if lines else []

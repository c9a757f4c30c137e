"""The words of a corpus, one at a time, and the most frequent of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ovocr.base.escape import for_terminal
from ovocr.dataset.text import TextShard
from ovocr.vocab.coverage.figures import ListedWord


class FoundWord(NamedTuple):
    """A distinct word. tokens: how often it was read; images: in how many. shard: number, in the corpus, of the first
    shard that has it; example: the key of its first image there.
    """

    word: str
    tokens: int
    images: int
    shard: int
    example: str


def by_frequency(word: FoundWord) -> tuple[int, str]:
    """Sorts the most frequent first; of equally frequent words by code point."""
    return -word.tokens, word.word


class TopWords:
    """The ``limit`` most frequent of the words that were added. Memory: twice as many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._words: list[FoundWord] = []
        self._least = 0  # words with fewer tokens cannot be among them

    def add(self, word: FoundWord) -> None:
        """Words that are added are distinct."""
        if word.tokens < self._least or not self._limit:
            return
        self._words.append(word)
        if len(self._words) >= 2 * self._limit:
            self._prune()

    def words(self) -> Sequence[FoundWord]:
        """By falling frequency."""
        self._prune()
        return self._words

    def _prune(self) -> None:
        self._words.sort(key=by_frequency)
        del self._words[self._limit :]
        if self._limit and len(self._words) == self._limit:
            self._least = self._words[-1].tokens


def list_words(words: Iterable[FoundWord], shards: Sequence[TextShard]) -> tuple[ListedWord, ...]:
    """Words as reports name them. shards: of the corpus, in order."""
    return tuple(
        ListedWord(
            word=found.word,
            count=found.tokens,
            images=found.images,
            data_set=for_terminal(str(shards[found.shard].root)),
            example=found.example,
        )
        for found in words
    )

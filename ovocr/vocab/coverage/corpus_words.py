"""The distinct words of a corpus with their counts, and the most frequent of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ovocr.base.escape import for_terminal
from ovocr.dataset.text import TextShard
from ovocr.vocab.coverage.figures import ListedWord


class CorpusWord(NamedTuple):
    """A distinct word. tokens: number of occurrences. images: number of images with it.

    shard: index in the corpus of the first shard with the word. example: key of the first image with it in that shard.
    """

    word: str
    tokens: int
    images: int
    shard: int
    example: str


def by_frequency(word: CorpusWord) -> tuple[int, str]:
    """Returns a sort key: the most frequent words first, ties by code point."""
    return -word.tokens, word.word


class TopWords:
    """The ``limit`` most frequent of the added words. Memory: up to twice as many words."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._words: list[CorpusWord] = []
        self._least = 0  # words with fewer tokens are not among the most frequent

    def add(self, word: CorpusWord) -> None:
        """Adds a word. Added words must be distinct."""
        if word.tokens < self._least or not self._limit:
            return
        self._words.append(word)
        if len(self._words) >= 2 * self._limit:
            self._prune()

    def words(self) -> Sequence[CorpusWord]:
        """Returns the words, most frequent first."""
        self._prune()
        return self._words

    def _prune(self) -> None:
        self._words.sort(key=by_frequency)
        del self._words[self._limit :]
        if self._limit and len(self._words) == self._limit:
            self._least = self._words[-1].tokens


def list_words(words: Iterable[CorpusWord], shards: Sequence[TextShard]) -> tuple[ListedWord, ...]:
    """Returns the words in the form of reports. shards: the corpus's shards, in order."""
    return tuple(
        ListedWord(
            word=found.word,
            count=found.tokens,
            images=found.images,
            data_set=for_terminal(str(shards[found.shard].data_set)),
            example=found.example,
        )
        for found in words
    )

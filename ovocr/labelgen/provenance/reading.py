"""Segments an image's stored lines."""

from collections import defaultdict

from ovocr.dataset.text import StoredText
from ovocr.labelgen.provenance.story import CutWord, LineStory
from ovocr.vocab import Segmentation, Vocabulary, locate_words


class CutText:
    """The lines of one image with their words.

    known: class ids of all words that are in the vocabulary, in order, with repeats.
    """

    def __init__(self, text: StoredText, vocabulary: Vocabulary) -> None:
        words = locate_words([line.text for line in text.lines], Segmentation.of(vocabulary.settings))
        by_line: dict[int, list[CutWord]] = defaultdict(list)
        self.known: list[int] = []
        self._first: dict[str, tuple[int, int]] = {}
        for word in words:
            id = vocabulary.id(word.text)
            if id is not None:
                self.known.append(id)
            self._first.setdefault(word.text, (word.line, len(by_line[word.line])))
            by_line[word.line].append(CutWord(word.text, id, round(word.start, 4), round(word.end, 4)))
        self.lines = [
            LineStory(number=number, text=line.text, score=line.score, box=line.box, words=by_line[number])
            for number, line in enumerate(text.lines)
        ]

    def find(self, word: str) -> tuple[int, int] | None:
        """Returns the number of the first line that contains the word, and the word's index in it, both from 0."""
        return self._first.get(word)

    def words(self) -> list[str]:
        """Returns the distinct words, in order of appearance."""
        return list(self._first)

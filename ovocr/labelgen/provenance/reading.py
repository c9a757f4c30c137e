"""Segments an image's stored lines."""

from collections import defaultdict

from ovocr.dataset.lines import EDGE_DECIMALS
from ovocr.dataset.text import StoredText
from ovocr.labelgen.provenance.story import CutWord, LineStory
from ovocr.labelgen.tagging.word_boxes import LineBoxes
from ovocr.vocab import Segmentation, Vocabulary, locate_words


class CutText:
    """The lines of one image with their words."""

    def __init__(self, text: StoredText, vocabulary: Vocabulary) -> None:
        words = locate_words([line.text for line in text.lines], Segmentation.of(vocabulary.settings))
        boxes = LineBoxes(text.lines, text.width, text.height)
        by_line: dict[int, list[CutWord]] = defaultdict(list)
        self._first: dict[str, int] = {}
        for word in words:
            self._first.setdefault(word.text, word.line)
            share = boxes.share(word.line, word.start, word.end)
            start, end = (None, None) if share is None else (round(edge, EDGE_DECIMALS) for edge in share)
            by_line[word.line].append(CutWord(word.text, vocabulary.id(word.text), start, end))
        self.lines = [
            LineStory(
                number=number,
                text=line.text,
                score=line.score,
                box=line.box,
                box_origin=boxes.origin(number),
                words=by_line[number],
            )
            for number, line in enumerate(text.lines)
        ]

    def find(self, word: str) -> LineStory | None:
        """Returns the first line that contains the word."""
        return self.lines[self._first[word]] if word in self._first else None

    def words(self) -> list[str]:
        """Returns the distinct words, in order of appearance."""
        return list(self._first)

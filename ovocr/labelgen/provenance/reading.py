"""Segments an image's stored lines."""

from collections import defaultdict

from ovocr.dataset.lines import EDGE_DECIMALS
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.text import StoredText
from ovocr.labelgen.provenance.story import CutWord, LineStory
from ovocr.labelgen.tagging.left_out import why_left_out
from ovocr.labelgen.tagging.word_boxes import LineBoxes
from ovocr.vocab import Segmentation, Vocabulary, locate_words


class CutText:
    """The lines of one image with their words. policy: the tag policy, which may leave words out."""

    def __init__(self, text: StoredText, vocabulary: Vocabulary, policy: TagPolicy) -> None:
        words = locate_words([line.text for line in text.lines], Segmentation.of(vocabulary.settings))
        boxes = LineBoxes(text.lines, text.width, text.height)
        scores = [line.score for line in text.lines]
        by_line: dict[int, list[CutWord]] = defaultdict(list)
        for word in words:
            share = boxes.share(word.line, word.start, word.end)
            start, end = (None, None) if share is None else (round(edge, EDGE_DECIMALS) for edge in share)
            id = vocabulary.id(word.text)
            left_out = why_left_out(word, scores, policy) if id is not None else ""
            by_line[word.line].append(CutWord(word.text, id, start, end, left_out))
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

    def find(self, word: str) -> tuple[LineStory, CutWord] | None:
        """Returns the first place of a word that is not left out, else its first place; None if it was not read."""
        places = [(line, found) for line in self.lines for found in line.words if found.word == word]
        return min(places, key=lambda place: bool(place[1].left_out), default=None)

    def left_out(self) -> list[tuple[LineStory, CutWord]]:
        """Returns the words that the tag policy leaves out, each with its line, in reading order."""
        return [(line, word) for line in self.lines for word in line.words if word.left_out]

    def words(self) -> list[str]:
        """Returns the distinct words, in order of appearance."""
        return list(dict.fromkeys(word.word for line in self.lines for word in line.words))

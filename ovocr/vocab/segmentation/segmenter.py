"""Segments recognised lines into words: normalises, finds runs, cuts Chinese and joins hyphenated words.

Labelling, vocabulary building and coverage all use these words. Rules and examples: docs/vocabulary.md.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple

from ovocr.base.errors import UsageError
from ovocr.vocab.segmentation.chinese import HMM, JIEBA_VERSION, ChineseCutter
from ovocr.vocab.segmentation.han_folding import opencc_version, simplifying_table
from ovocr.vocab.segmentation.latin_words import LatinWords
from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.segmentation.offsets import line_offsets
from ovocr.vocab.segmentation.word_patterns import compile_ascii_words, compile_words

# Raise this when a rule changes the words of any line.
VERSION = 2
HAN_FORMS = ("as-read", "simplified")


@dataclass(frozen=True)
class Segmentation:
    """The user's settings for segmentation. They belong to a vocabulary: its words are made with them.

    han: "as-read", or "simplified" to convert traditional characters to simplified ones before lines are cut.

    Raises UsageError if ``han`` has a different value.
    """

    han: str = "as-read"

    def __post_init__(self) -> None:
        if self.han not in HAN_FORMS:
            raise UsageError(f"--han {self.han}: not one of {', '.join(HAN_FORMS)}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Segmentation":
        """Returns the segmentation named in a vocabulary's ``settings``, else the default. Raises UsageError."""
        segmenter = settings.get("segmenter")
        return cls(str(segmenter.get("han", cls.han))) if isinstance(segmenter, dict) else cls()

    def describe(self) -> dict[str, Any]:
        """Returns the entry that identifies the rules in vocabulary files and manifests."""
        described: dict[str, Any] = {"version": VERSION, "chinese": f"jieba {JIEBA_VERSION}", "hmm": HMM}
        if self.han != "as-read":
            described |= {"han": self.han, "opencc": opencc_version()}
        return described


DEFAULT = Segmentation()


@dataclass(frozen=True)
class LocatedWord:
    """A word and its position.

    line: index of its line, the first one if the word continues in the next lines. lines: number of its lines.
    start, end: offsets in the line as it was read, 0 <= start < end <= len(line). They have a fraction inside a
        character that normalisation expands (½).
    """

    text: str
    line: int
    start: float
    end: float
    lines: int = 1


class Segmenter:
    """Finds the words of a line. It contains jieba's dictionary; ``load_segmenter`` shares one per process."""

    def __init__(self, segmentation: Segmentation) -> None:
        self._chinese = ChineseCutter()
        mixed_words = [normalise(word) for word in self._chinese.mixed_words]
        self._pattern: Any = compile_words(mixed_words)
        self._ascii_pattern = compile_ascii_words(mixed_words)
        self._latin = LatinWords()
        self._folds = simplifying_table() if segmentation.han == "simplified" else {}

    def load(self) -> None:
        """Reads the dictionary now instead of at the first Chinese run."""
        self._chinese.load()

    def normalise(self, line: str) -> str:
        """Returns the normalised line in which words are found.

        A soft hyphen at the end of a line is visible, so it becomes a hyphen.
        """
        text = normalise(line) + ("-" if line.rstrip().endswith("\u00ad") else "")
        return text.translate(self._folds) if self._folds else text

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Yields start and end offsets of the words of a normalised line, in order, without overlap."""
        spaced = " " in line
        pattern = self._ascii_pattern if line.isascii() else self._pattern
        for match in pattern.finditer(line):
            start, end = match.span()
            if match.lastgroup == "han":
                for word in self._chinese.cut(match.group()):
                    yield start, start + len(word)
                    start += len(word)
            elif match.lastgroup == "latin":
                yield from self._latin.spans(line, start, end, spaced=spaced)
            elif match.lastgroup != "number":
                yield start, end

    def group_parts(self, parts: list[str]) -> list[int]:
        """Groups the parts of a word broken at line ends; see ``LatinWords.group_parts``."""
        return self._latin.group_parts(parts)


@cache
def load_segmenter(segmentation: Segmentation = DEFAULT) -> Segmenter:
    """Returns the process's segmenter, made on the first call (0.5 s; jieba takes as long at the first Chinese run).

    Raises OvocrError if a package that it needs is not installed.
    """
    return Segmenter(segmentation)


def segment(text: str, segmentation: Segmentation = DEFAULT) -> list[str]:
    """Returns the words of one line, normalised, in reading order."""
    return segment_lines([text], segmentation)


def segment_lines(lines: list[str], segmentation: Segmentation = DEFAULT) -> list[str]:
    """Returns the words of consecutive lines, normalised, in reading order; hyphenated words are joined."""
    return [word.text for word in find_words(lines, segmentation)]


def find_words(lines: list[str], segmentation: Segmentation = DEFAULT) -> list["FoundWord"]:
    """Returns the words of consecutive lines as ``locate_words`` does, without the positions in the lines as read."""
    return _find_words(lines, load_segmenter(segmentation))


def locate_words(lines: list[str], segmentation: Segmentation = DEFAULT) -> list[LocatedWord]:
    """Returns the words of consecutive lines, normalised, in reading order, with their positions.

    If a line ends with a Latin letter and a hyphen and the next line begins with a lowercase Latin letter, the parts
    are joined to one word without the hyphen, unless separate words are likelier (``well-``, ``known``). A joined word
    has the position of its first part and counts once.
    """
    segmenter = load_segmenter(segmentation)
    located = []
    for number, words in groupby(_find_words(lines, segmenter), key=attrgetter("line")):
        offsets = line_offsets(lines[number], segmenter.normalise(lines[number]))
        located += [
            LocatedWord(word.text, number, offsets[word.start], offsets[word.end], word.lines) for word in words
        ]
    return located


class FoundWord(NamedTuple):
    """A word and its offsets in its normalised line. A joined word has the offsets of its first part.

    line: index of its first line. lines: number of its lines.
    """

    text: str
    line: int
    start: int
    end: int
    lines: int = 1


def _find_words(lines: list[str], segmenter: Segmenter) -> list[FoundWord]:
    words: list[FoundWord] = []
    parts: list[FoundWord] = []  # parts of a word that continues in the next line
    for number, line in enumerate(lines):
        text = segmenter.normalise(line)
        found = [FoundWord(text[start:end], number, start, end) for start, end in segmenter.spans(text)]
        last = found[-1].end if found else 0
        broken = bool(found) and text[last:] == "-" and _is_latin(text[last - 1])
        continues = bool(parts) and bool(found) and found[0].start == 0 and _starts_lowercase(line)
        if continues:
            parts.append(found.pop(0))
        if parts and (found or not (continues and broken)):
            words += _join(parts, segmenter)
            parts = []
        if broken and found:
            parts = [found.pop()]
        words += found
    return words + _join(parts, segmenter)


def _join(parts: list[FoundWord], segmenter: Segmenter) -> list[FoundWord]:
    words = []
    todo = iter(parts)
    for number in segmenter.group_parts([part.text for part in parts]) if parts else []:
        first, *others = islice(todo, number)
        text = "".join(part.text for part in (first, *others))
        words.append(first._replace(text=text, lines=1 + len(others)))
    return words


def _starts_lowercase(line: str) -> bool:
    first = unicodedata.normalize("NFKC", line.lstrip()[:1])
    return first.islower() and _is_latin(first[0])


def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN ")

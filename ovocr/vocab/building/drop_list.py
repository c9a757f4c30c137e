"""Reads drop lists: files of words that a vocabulary leaves out."""

from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.vocab.segmentation.segmenter import Segmentation, load_segmenter, segment
from ovocr.vocab.word_script import MIXED, script_of


def read_drop_lists(paths: tuple[Path, ...], segmentation: Segmentation) -> list[str]:
    """Returns the words of all files, one per line in any spelling, normalised, distinct and sorted.

    Skips empty lines. Raises OvocrError, naming file and line, if a line is not one word.
    """
    words: set[str] = set()
    for path in paths:
        for number, line in enumerate(_read_lines(path), start=1):
            if line.strip():
                words.add(_only_word(line, segmentation, f"{path}:{number}"))
    return sorted(words)


def _only_word(line: str, segmentation: Segmentation, location: str) -> str:
    words = segment(line, segmentation)
    if len(words) == 1:
        return words[0]
    # How Chinese is cut depends on the context: a word that is cut when alone may be one word in a text.
    text = load_segmenter(segmentation).normalise(line)
    if words and text == "".join(words) and script_of(text) != MIXED:
        return text
    if not words:
        raise OvocrError(f'{location}: "{line}" is not a word, because it has no letter; remove the line')
    raise OvocrError(f'{location}: "{line}" is {len(words)} words ({" ".join(words)}); write one word per line')


def _read_lines(path: Path) -> list[str]:
    data = path.read_bytes()
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OvocrError(f"{path}:{line}: not UTF-8; save the list as UTF-8 text") from error

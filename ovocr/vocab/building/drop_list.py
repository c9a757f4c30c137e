"""Files of words that a vocabulary is to leave out."""

from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.vocab.segmentation.segmenter import Segmentation, load_segmenter, segment
from ovocr.vocab.word_script import MIXED, script_of


def read_drop_lists(paths: tuple[Path, ...], segmentation: Segmentation) -> list[str]:
    """The words of all files, one a line in any spelling, normalised as text is; distinct and sorted.

    Empty lines are passed over. Raises OvocrError naming file and line where a line is not one word.
    """
    words: set[str] = set()
    for path in paths:
        for number, line in enumerate(_read_lines(path), start=1):
            if line.strip():
                words.add(_only_word(line, segmentation, f"{path}:{number}"))
    return sorted(words)


def _only_word(line: str, segmentation: Segmentation, place: str) -> str:
    words = segment(line, segmentation)
    if len(words) == 1:
        return words[0]
    # How Chinese is cut goes by what stands beside it: a word that falls apart alone may be whole in a text.
    text = load_segmenter(segmentation).normalise(line)
    if words and text == "".join(words) and script_of(text) != MIXED:
        return text
    if not words:
        raise OvocrError(f'{place}: "{line}" is no word: words have a letter; remove the line')
    raise OvocrError(f'{place}: "{line}" is not one word but {len(words)} ({" ".join(words)}); give each its own line')


def _read_lines(path: Path) -> list[str]:
    data = path.read_bytes()
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise OvocrError(f"{path}:{line}: not UTF-8; save the list as UTF-8 text") from error

"""Looks up words, in any spelling, and class ids in a vocabulary, and describes the vocabulary."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ovocr.base.escape import for_terminal
from ovocr.vocab.segmentation.segmenter import Segmentation, load_segmenter, segment
from ovocr.vocab.vocabulary import Vocabulary

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result for a word or class id.

    asked: the word or class id as the user wrote it. id, word: the matching class, or None.
    note: a remark in one line, or "".
    """

    asked: str
    id: int | None = None
    word: str | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return asdict(self)


def look_up(vocabulary: Vocabulary, item: str) -> list[Answer]:
    """Returns one or two answers for a word or class id.

    Digits are a class id. If the vocabulary also has them as a word, there is a second answer.
    """
    if not (item.isascii() and item.isdecimal()):
        return [_look_up_word(vocabulary, item)]
    # int() refuses thousands of digits.
    as_id, as_word = int(item) if len(item) < 20 else len(vocabulary), vocabulary.id(item)
    answers = []
    if as_id < len(vocabulary):
        answers.append(Answer(asked=item, id=as_id, word=vocabulary.word(as_id)))
    if as_word is not None:
        note = "is a word of the vocabulary" + (" as well as a class id" if answers else ", not a class id of it")
        answers.append(Answer(asked=item, id=as_word, word=item, note=note))
    return answers or [Answer(asked=item, note=f"class ids go from 0 to {len(vocabulary) - 1}")]


def _look_up_word(vocabulary: Vocabulary, item: str) -> Answer:
    if (exact := vocabulary.id(item)) is not None:
        return Answer(asked=item, id=exact, word=item)
    segmentation = Segmentation.of(vocabulary.settings)
    word = load_segmenter(segmentation).normalise(item)
    id = vocabulary.id(word)
    if id is not None:
        return Answer(asked=item, id=id, word=word, note=f"is looked up as {word}")
    note = "not in the vocabulary" if word == item else f"not in the vocabulary (looked up as {word})"
    words = segment(item, segmentation)
    if words != [word]:
        note += f"; segmentation makes it {' + '.join(words)}" if words else "; segmentation finds no word in it"
    return Answer(asked=item, note=note)


def describe(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns size, sha256, the settings in the vocabulary's JSON file, and the first and last words."""
    first = range(min(_SHOWN, len(vocabulary)))
    last = range(max(len(vocabulary) - _SHOWN, 0), len(vocabulary))
    return {
        "size": len(vocabulary),
        "sha256": vocabulary.sha256,
        **vocabulary.settings,
        "first": [vocabulary.word(id) for id in first],
        "last": [vocabulary.word(id) for id in last],
    }


def format_description(description: dict[str, Any]) -> str:
    """Returns the result of ``describe`` as lines for a terminal. Control characters from the JSON file are escaped."""
    rows = list(_rows("", description))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{for_terminal(name):<{width}}  {for_terminal(value)}" for name, value in rows)


def _rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yields names and values. Nested names are joined with a dot; every data set in "source" has its own lines."""
    if isinstance(value, dict):
        for inner, inner_value in value.items():
            yield from _rows(f"{name}.{inner}" if name else inner, inner_value)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for number, part in enumerate(value, start=1):
            yield from _rows(f"{name}.{number}", part)
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

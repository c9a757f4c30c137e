"""Explains why an image does not have a tag."""

from difflib import get_close_matches

from ovocr.base.plural import counted
from ovocr.dataset.outcome import Status
from ovocr.labelgen.provenance.reading import CutText
from ovocr.labelgen.provenance.story import CutWord, LineStory
from ovocr.vocab import Segmentation, Vocabulary, load_segmenter
from ovocr.vocab.look_up import Answer

_LINES_SHOWN = 3


def explain_absence(
    answer: Answer, status: str, reason: str | None, text: CutText | None, vocabulary: Vocabulary
) -> str:
    """Returns one or two sentences. answer: the vocabulary's answer. text: None if the image was not read."""
    segmenter = load_segmenter(Segmentation.of(vocabulary.settings))
    word = answer.word if answer.word is not None else segmenter.normalise(answer.asked)
    entry = f"{word} has class id {answer.id}" if answer.id is not None else f"{answer.asked}: {answer.note}"
    if answer.id is None and answer.asked.isascii() and answer.asked.isdecimal():
        return entry
    return f"{entry}; {_explain(word, answer.id, status, reason, text, vocabulary)}"


def _explain(
    word: str, id: int | None, status: str, reason: str | None, text: CutText | None, vocabulary: Vocabulary
) -> str:
    if text is None:
        return f"the image was not read: {reason}"
    if (found := text.find(word)) is not None:
        line, read = found
        if id is None:
            return f"it was read: {show_line(line)}"
        unexplained = (
            reason if status == Status.DROPPED else "the stored tags do not match the text, see `ovocr verify`"
        )
        because = read.left_out or unexplained
        return f"it was read, but the image does not have the tag ({because}): {show_line(line)}"
    segmenter = load_segmenter(Segmentation.of(vocabulary.settings))
    letters = word.replace(" ", "")
    lines = [line for line in text.lines if letters and letters in segmenter.normalise(line.text).replace(" ", "")]
    if lines:
        shown = "; ".join(show_line(line) for line in lines[:_LINES_SHOWN])
        return f"its letters were read but segmented into other words: {shown}"
    close = get_close_matches(word, text.words(), 1)
    nearest = f"; the closest word is {close[0]}" if close else ""
    return f"it was not read in the image, which has {counted(len(text.lines), 'line')}{nearest}"


def show_line(line: LineStory) -> str:
    """Returns a line with its words: in brackets if the vocabulary lacks them, in parentheses if they are left out."""
    words = " + ".join(map(_show_word, line.words))
    return f'line {line.number} "{line.text}" = {words or "no word"}'


def _show_word(word: CutWord) -> str:
    if word.id is None:
        return f"[{word.word}]"
    return f"({word.word})" if word.left_out else word.word

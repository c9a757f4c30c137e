"""The words that the tag policy leaves out: words in lines of a low score, and words of few letters."""

from collections.abc import Sequence

from ovocr.base.plural import counted
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.reasons import Reason
from ovocr.vocab import FoundWord, LocatedWord
from ovocr.vocab.word_letters import count_letters

Word = FoundWord | LocatedWord


def word_score(word: Word, scores: Sequence[float]) -> float:
    """Returns the lowest score of the lines of a word; a hyphenated word has several. scores: those of all lines."""
    return min(scores[word.line : word.line + word.lines])


def limit_of(word: Word, scores: Sequence[float], policy: TagPolicy) -> Reason | None:
    """Returns the limit that leaves the word out, BELOW_MIN_SCORE or BELOW_MIN_LETTERS; None if it can be a tag.

    scores: the scores of the image's lines.
    """
    if policy.min_score > 0 and word_score(word, scores) < policy.min_score:
        return Reason.BELOW_MIN_SCORE
    if policy.min_letters > 1:
        letters = count_letters(word.text)
        if letters is not None and letters < policy.min_letters:
            return Reason.BELOW_MIN_LETTERS
    return None


def why_left_out(word: Word, scores: Sequence[float], policy: TagPolicy) -> str:
    """Returns why the word is left out, such as ``score 0.42 below --min-score 0.5``; empty if it can be a tag."""
    limit = limit_of(word, scores, policy)
    if limit is Reason.BELOW_MIN_SCORE:
        return f"score {word_score(word, scores):g} below --min-score {policy.min_score:g}"
    if limit is Reason.BELOW_MIN_LETTERS:
        return f"{counted(count_letters(word.text) or 0, 'letter')}, below --min-letters {policy.min_letters}"
    return ""

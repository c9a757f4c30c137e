"""Labels the lines of an image with words, tags and slots, in the same way for OCR results and stored text."""

from collections.abc import Sequence

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import IDF, TagPolicy
from ovocr.dataset.outcome import Outcome, Place, Status
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.tagging.left_out import limit_of, why_left_out, word_score
from ovocr.labelgen.tagging.run_words import stored_frequencies, stored_vocabulary
from ovocr.labelgen.tagging.tag_slots import tag_slots
from ovocr.labelgen.tagging.word_boxes import LineBoxes
from ovocr.vocab import LocatedWord, Segmentation, Vocabulary, locate_words
from ovocr.vocab.word_frequencies import WordFrequencies
from ovocr.vocab.word_letters import count_letters


class LineLabeller:
    """Turns the lines of an image into its outcome, which depends only on key and lines.

    frequencies: word frequencies for the weighting "idf"; None for other weightings.
    box_margin: as in ``Manifest.box_margin``.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        policy: TagPolicy,
        frequencies: WordFrequencies | None = None,
        box_margin: float = 0.0,
    ) -> None:
        self._vocabulary = vocabulary
        self._segmentation = Segmentation.of(vocabulary.settings)
        self._policy = policy
        self._box_margin = box_margin
        self._weight = None if frequencies is None else lambda id: frequencies.weight(vocabulary.word(id))

    @classmethod
    def load(cls, data_set: LabelledDataSet, policy: TagPolicy) -> "LineLabeller":
        """Loads the labeller of a data set from its vocabulary and, if the policy needs them, its word frequencies.

        Raises OvocrError if a file cannot be read.
        """
        frequencies = stored_frequencies(data_set) if policy.weighting == IDF else None
        return cls(stored_vocabulary(data_set), policy, frequencies, data_set.manifest().box_margin)

    def __call__(
        self, key: str, width: int, height: int, lines: Sequence[Line], *, lines_given: bool = True
    ) -> Outcome:
        """Returns the outcome of an image without the stored image.

        width, height: its size in pixels. lines_given: False if a table of lines has no row for the image.
        """
        words = locate_words([line.text for line in lines], self._segmentation)
        scores = [line.score for line in lines]
        known = [(id, word) for word in words if (id := self._vocabulary.id(word.text)) is not None]
        used = known
        if self._policy.leaves_words_out:
            used = [(id, word) for id, word in known if limit_of(word, scores, self._policy) is None]
        reason, detail = None, ""
        if known and not used:
            reason, detail = _why_all_left_out([word for _, word in known], scores, self._policy)
        elif not used:
            reason = _why_unknown(words, lines, lines_given)
        boxes = LineBoxes(lines, width, height, self._box_margin)
        places = [Place(id, word.line, boxes.word(word.line, word.start, word.end)) for id, word in used]
        return Outcome(
            status=Status.OK if places else Status.DROPPED,
            reason=reason,
            detail=detail,
            width=width,
            height=height,
            lines=lines,
            words_found=len(words),
            words_in_vocabulary=len(known),
            places=places,
            slots=self.slots(places, key),
        )

    def slots(self, places: Sequence[Place], key: str) -> list[int]:
        """Returns the slots of an image, none if it has no places. places: its places in reading order."""
        ids = self._policy.competing(places)
        return tag_slots(ids, self._policy.tags, self._policy.seed, key, self._weight) if ids else []


def _why_unknown(words: Sequence[LocatedWord], lines: Sequence[Line], lines_given: bool) -> Reason:
    """Returns the reason for an image without a word of the vocabulary."""
    if words:
        return Reason.NO_WORD_IN_VOCABULARY
    if lines:
        return Reason.NO_WORD
    return Reason.NO_TEXT if lines_given else Reason.NO_LINES_GIVEN


def _why_all_left_out(words: Sequence[LocatedWord], scores: Sequence[float], policy: TagPolicy) -> tuple[Reason, str]:
    """Returns the reason for an image whose words of the vocabulary are all left out, and its detail.

    The reason concerns one word: the longest word in lines of a sufficient score, or, if there is none, the word with
    the highest score.
    """
    short = [word for word in words if limit_of(word, scores, policy) is Reason.BELOW_MIN_LETTERS]
    if not short:
        best = max(words, key=lambda word: word_score(word, scores))
        return Reason.BELOW_MIN_SCORE, f"{best.text}: {why_left_out(best, scores, policy)}"
    longest = max(short, key=lambda word: count_letters(word.text) or 0)
    return Reason.BELOW_MIN_LETTERS, f"{longest.text}: {why_left_out(longest, scores, policy)}"

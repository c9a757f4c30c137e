"""What becomes of one image: the work of a worker process."""

from ovocr.labelgen.boxes import word_box
from ovocr.labelgen.engine import EngineError, Pixels
from ovocr.labelgen.outcome import Outcome, Status, Tag, quarantined
from ovocr.labelgen.pictures import StoredPicture, store_picture
from ovocr.labelgen.reading import Line, read_pictures
from ovocr.labelgen.reasons import QuarantinedError, Reason
from ovocr.labelgen.settings import LabellerSettings
from ovocr.labelgen.tags import tag_slots
from ovocr.vocab import LocatedWord, Vocabulary, load_segmenter, locate_words


class ImageLabeller:
    """Turns (key, encoded image) into an Outcome; holds an engine and a vocabulary. Raises OvocrError."""

    def __init__(self, settings: LabellerSettings) -> None:
        self._settings = settings
        self._vocabulary = Vocabulary.load(settings.vocabulary)
        self._engine = settings.engine.load()
        load_segmenter()

    def __call__(self, image: tuple[str, bytes]) -> Outcome:
        """The outcome of one image, given its key and encoded bytes."""
        key, data = image
        try:
            picture = store_picture(data, self._settings.max_pixels)
            lines = self._read(picture.pixels)
        except QuarantinedError as error:
            return quarantined(error.reason, error.detail)
        return self._label(key, picture, lines)

    def _read(self, pixels: Pixels) -> list[Line]:
        try:
            return read_pictures(self._engine, [pixels])[0]
        except EngineError as error:
            raise QuarantinedError(Reason.ENGINE_ERROR, str(error)) from error

    def _label(self, key: str, picture: StoredPicture, lines: list[Line]) -> Outcome:
        words = locate_words([line.text for line in lines])
        known = [(id, word) for word in words if (id := self._vocabulary.id(word.text)) is not None]
        tags = distinct_tags(known, lines)
        reason = None
        if not tags:
            reason = Reason.NO_WORD_IN_VOCABULARY if words else Reason.NO_TEXT
        return Outcome(
            status=Status.OK if tags else Status.DROPPED,
            reason=reason,
            jpeg=picture.jpeg if tags else b"",
            width=picture.width,
            height=picture.height,
            lines=lines,
            words_found=len(words),
            words_in_vocabulary=len(known),
            tags=tags,
            slots=tag_slots([tag.id for tag in tags], self._settings.tags, self._settings.seed, key) if tags else (),
        )


def distinct_tags(words: list[tuple[int, LocatedWord]], lines: list[Line]) -> list[Tag]:
    """Each class id once, in order of appearance, with the place of its first word."""
    first: dict[int, LocatedWord] = {}
    for id, word in words:
        first.setdefault(id, word)
    return [Tag(id, word.line, word_box(lines[word.line].box, word.start, word.end)) for id, word in first.items()]

"""Loads selected images with their lines, words, tags and outcome."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.labelled_images import text_mismatch
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import BOX_DECIMALS, Box, Line
from ovocr.dataset.outcome import Place, Status
from ovocr.dataset.record_columns import find_text_positions
from ovocr.dataset.records import RecordRow, read_records
from ovocr.dataset.slots import ForeignSlots, StoredSlots
from ovocr.dataset.text import StoredText, read_texts_at
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.marked_lines import Piece, cut_line
from ovocr.labelgen.inspection.page_images import NoImage, PageImage, ShardImages
from ovocr.labelgen.tagging.left_out import why_left_out
from ovocr.labelgen.tagging.word_boxes import LineBoxes
from ovocr.recordio import RecordError
from ovocr.vocab import LocatedWord, locate_words


@dataclass(frozen=True, kw_only=True)
class ReadWord:
    """A word of a line. id: class id; None if the word is not in the vocabulary.

    left_out: why the tag policy leaves out a word of the vocabulary; empty if it is a tag.
    """

    text: str
    id: int | None
    box: Box
    left_out: str = ""

    @property
    def can_be_tag(self) -> bool:
        """True if the vocabulary has the word and the tag policy does not leave it out."""
        return self.id is not None and not self.left_out


@dataclass(frozen=True, kw_only=True)
class ReadLine:
    """A line with its words and its text in pieces. The pieces that are words are in the order of ``words``."""

    line: Line
    words: tuple[ReadWord, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class TagPlace:
    """A place of a tag. line: index of its line."""

    line: int
    box: Box


@dataclass(frozen=True, kw_only=True)
class ImageTag:
    """A tag of an image.

    word: the word; None in a packed data set. slots: number of slots that contain the tag; 0 if there is no record.
    places: in reading order; none in a packed data set.
    """

    id: int
    word: str | None
    slots: int = 0
    places: tuple[TagPlace, ...] = ()

    @property
    def lines(self) -> list[int]:
        """The distinct lines of the places."""
        return list(dict.fromkeys(place.line for place in self.places))


@dataclass(frozen=True, kw_only=True)
class InspectedImage:
    """One input image.

    position: position of its row in the shard's records, from 0.
    size: width and height of the stored image in pixels, if known.
    words_found, words_in_vocabulary: counts from labelling; None in a packed data set.
    foreign_slots: slots of the record that do not contain a tag of the image. damage: sentences about them.
    page_image: the image for the page.
    """

    shard: int
    position: int
    source: str
    key: str
    status: Status
    reason: str | None
    detail: str | None
    record_id: int | None
    words_found: int | None
    words_in_vocabulary: int | None
    size: tuple[int, int] | None
    lines: tuple[ReadLine, ...]
    tags: tuple[ImageTag, ...]
    foreign_slots: tuple[ForeignSlots, ...]
    damage: tuple[str, ...]
    page_image: PageImage | NoImage


def load_images(data_set: InspectedDataSet, shard: int, positions: list[int], side: int) -> Iterator[InspectedImage]:
    """Yields the images at the ascending ``positions`` of a finished shard; keeps one in memory.

    side: longest side of an image on the page, in pixels. Raises OvocrError, naming the file, if the rows of an image
    cannot be read or do not match. An image that cannot be shown has a NoImage with the reason.
    """
    with shard_on_disk(data_set.files, shard, ["records"] if data_set.packed else ["records", "ocr"]) as files:
        yield from _load_images(data_set, files, shard, positions, side)


def _load_images(
    data_set: InspectedDataSet, files: LabelledDataSet, shard: int, positions: list[int], side: int
) -> Iterator[InspectedImage]:
    """Yields the images. files: the data set with the tables of the shard on a disk."""
    path = files.records_path(shard)
    rows = read_records(path, positions, with_text=not data_set.packed)
    texts = {} if data_set.packed else _read_texts(files, shard, positions)
    record_ids = [row.record_id for row in rows if row.record_id is not None]
    with ShardImages(data_set, files, shard, record_ids, side) as images:
        for row in rows:
            text = texts.get(row.position)
            if text is not None and text[0] != row.key:
                raise text_mismatch(files, shard)
            try:
                image = _Image(data_set, row, None if text is None else text[1])
            except (ValueError, IndexError) as error:
                raise OvocrError(f"{path}: {row.name} is invalid: {error}; restore the file") from error
            yield image.load(shard, images)


def _read_texts(files: LabelledDataSet, shard: int, positions: list[int]) -> dict[int, tuple[str, StoredText]]:
    """Maps the positions of images that were read to their key and text."""
    rows = find_text_positions(files.records_path(shard), positions)
    texts = read_texts_at(files.ocr_path(shard), list(rows.values()))
    return dict(zip(rows, texts, strict=True))


class _Image:
    """An image's row with its words. Raises ValueError or IndexError if the row is invalid."""

    def __init__(self, data_set: InspectedDataSet, row: RecordRow, text: StoredText | None) -> None:
        self._row = row
        self._slots = data_set.manifest.policy.tags
        self._status = Status(row.status)
        self._size = None if text is None else (text.width, text.height)
        self._lines = () if text is None else tuple(_read_lines(text, data_set))
        self._tags = [_read_tag(tag, row, data_set, len(self._lines)) for tag in row.tags]

    def load(self, shard: int, images: ShardImages) -> InspectedImage:
        row = self._row
        stored, page_image = self._load_record(images)
        return InspectedImage(
            shard=shard,
            position=row.position,
            source=row.source,
            key=row.key,
            status=self._status,
            reason=row.reason,
            detail=row.detail,
            record_id=row.record_id,
            words_found=row.words_found,
            words_in_vocabulary=row.words_in_vocabulary,
            size=self._size or ((page_image.width, page_image.height) if isinstance(page_image, PageImage) else None),
            lines=self._lines,
            tags=tuple(replace(tag, slots=len(stored.of_tag[tag.id]) if stored else 0) for tag in self._tags),
            foreign_slots=tuple(stored.foreign) if stored else (),
            damage=tuple(stored.damage(self._slots)) if stored else (),
            page_image=page_image,
        )

    def _load_record(self, images: ShardImages) -> tuple[StoredSlots | None, PageImage | NoImage]:
        """Returns the content of the record's slots, if it can be read, and the image for the page."""
        row = self._row
        if row.record_id is None:
            return None, images.of_source(row.position, row.key, self._size)
        try:
            record = images.record(row.record_id)
        except RecordError as error:
            return None, NoImage(f"The record cannot be read: {error}")
        page_image = images.of_record(record)
        if self._size is not None and isinstance(page_image, PageImage):
            size = (page_image.width, page_image.height)
            if size != self._size:
                page_image = NoImage(
                    "The stored image has a different size: {}x{} pixels, {}x{} when it was read".format(
                        *size, *self._size
                    )
                )
        return StoredSlots.of(record.labels, row.tags), page_image


def _read_tag(tag: int, row: RecordRow, data_set: InspectedDataSet, lines: int) -> ImageTag:
    """Returns a tag without its slots. lines: number of lines of the image."""
    if data_set.packed:
        return ImageTag(id=tag, word=None)
    places = tuple(_read_place(place, lines) for place in row.places if place.id == tag)
    return ImageTag(id=tag, word=data_set.vocabulary.word(tag), places=places)


def _read_place(place: Place, lines: int) -> TagPlace:
    if place.line is None or place.box is None or not 0 <= place.line < lines:
        raise IndexError(f"a place in line {place.line} of {lines}")
    # Corners had fewer decimals than float32 stores.
    return TagPlace(place.line, tuple(round(corner, BOX_DECIMALS) for corner in place.box))


def _read_lines(text: StoredText, data_set: InspectedDataSet) -> Iterator[ReadLine]:
    """Yields the lines with their words, segmented again with the vocabulary's rules."""
    words_of: dict[int, list[LocatedWord]] = defaultdict(list)
    for word in locate_words([line.text for line in text.lines], data_set.segmentation):
        words_of[word.line].append(word)
    scores = [line.score for line in text.lines]
    boxes = LineBoxes(text.lines, text.width, text.height, data_set.manifest.box_margin)
    for number, line in enumerate(text.lines):
        words = words_of[number]
        yield ReadLine(
            line=line,
            words=tuple(
                ReadWord(
                    text=word.text,
                    id=data_set.vocabulary.id(word.text),
                    box=boxes.word(number, word.start, word.end),
                    left_out=why_left_out(word, scores, data_set.manifest.policy),
                )
                for word in words
            ),
            pieces=tuple(cut_line(line.text, words)),
        )

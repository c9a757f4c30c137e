"""What the data set tells of the chosen images: lines, words, tags, and what became of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.dataset.boxes import DECIMALS, Box
from ovocr.dataset.lines import SCORE_DECIMALS, Line
from ovocr.dataset.outcome import Status
from ovocr.dataset.schemas import OCR, PACKED_RECORDS, RECORDS
from ovocr.dataset.slots import ForeignSlots, StoredSlots
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.marked_lines import Piece, cut_line
from ovocr.labelgen.inspection.matching import ocr_places
from ovocr.labelgen.inspection.page_images import NoImage, PageImage, ShardImages
from ovocr.labelgen.inspection.rows import read_rows
from ovocr.labelgen.tagging.word_boxes import word_box
from ovocr.recordio import RecordError
from ovocr.vocab import load_segmenter, locate_words
from ovocr.vocab.segmentation.segmenter import find_words


@dataclass(frozen=True, kw_only=True)
class ReadWord:
    """A word of a line. id: its class, None for one that the vocabulary lacks. box: interpolated along the line."""

    text: str
    id: int | None
    box: Box


@dataclass(frozen=True, kw_only=True)
class ReadLine:
    """A line with its words, and its text in pieces, of which those that are words follow the order of ``words``."""

    line: Line
    words: tuple[ReadWord, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class ImageTag:
    """A class of an image. word: None where classes are no words. slots: how many of the record's it takes; 0 of an
    image without a record too. line, box: where the word stands first, None for a class that is no word."""

    id: int
    word: str | None
    slots: int
    line: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class InspectedImage:
    """One input image. place: among the shard's records, from 0. size: width and height of the stored picture in
    pixels, None where the data set does not say. picture: to look at. Words: as counted when it was labelled.
    foreign_slots: of the record, which hold none of the tags. damage: what is wrong with its slots, in words."""

    shard: int
    place: int
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
    picture: PageImage | NoImage


def load_images(data_set: InspectedDataSet, shard: int, places: list[int], side: int) -> Iterator[InspectedImage]:
    """The images at ``places`` of a finished shard, ascending; one in memory.

    side: longest side of their pictures, pixels. Raises OvocrError, naming the file, where the rows of an image cannot
    be read or do not fit; a picture that cannot be had is told in its stead.
    """
    path = data_set.files.records_path(shard)
    rows = read_rows(path, PACKED_RECORDS if data_set.packed else RECORDS, places)
    texts = {} if data_set.packed else _read_texts(data_set, shard, places)
    with ShardImages(data_set, shard, side) as pictures:
        for place, row in zip(places, rows, strict=True):
            text = texts.get(place)
            if text is not None and text["key"] != row["key"]:
                raise OvocrError(f"{data_set.files.ocr_path(shard)}: does not list the images of {path}; put both back")
            try:
                image = _Image(data_set, row, text)
            except (TypeError, ValueError, IndexError) as error:
                raise OvocrError(
                    f"{path}: row {place} is not as ovocr writes it ({error}); put the file back"
                ) from error
            yield image.load(shard, place, pictures)


def _read_texts(data_set: InspectedDataSet, shard: int, places: list[int]) -> dict[int, dict[str, Any]]:
    """The stored text of those that were read."""
    rows = ocr_places(data_set, shard, places)
    texts = read_rows(data_set.files.ocr_path(shard), OCR, list(rows.values()))
    return dict(zip(rows, texts, strict=True))


class _Image:
    """An image's rows, parsed. Raises TypeError, ValueError or IndexError where something is missing or wrong."""

    def __init__(self, data_set: InspectedDataSet, row: dict[str, Any], text: dict[str, Any] | None) -> None:
        self._row = row
        self._slots = data_set.slots
        self._status = Status(row["status"])
        if not isinstance(row["key"], str) or not isinstance(row["source"], str):
            raise TypeError("source or key is null")
        lines = [] if text is None else [_line(line) for line in text["lines"]]
        self._size = None if text is None else (int(text["width"]), int(text["height"]))
        self._lines = tuple(_read_lines(lines, data_set)) if lines else ()
        self._tags = [_tag(tag, data_set, len(lines)) for tag in row["tags"]]

    def load(self, shard: int, place: int, pictures: ShardImages) -> InspectedImage:
        row = self._row
        stored, picture = self._stored(pictures, place)
        return InspectedImage(
            shard=shard,
            place=place,
            source=row["source"],
            key=row["key"],
            status=self._status,
            reason=row["reason"],
            detail=row["detail"],
            record_id=row["record_id"],
            words_found=row.get("words_found"),
            words_in_vocabulary=row.get("words_in_vocabulary"),
            size=self._size or ((picture.width, picture.height) if isinstance(picture, PageImage) else None),
            lines=self._lines,
            tags=tuple(ImageTag(**tag, slots=len(stored.of_tag[tag["id"]]) if stored else 0) for tag in self._tags),
            foreign_slots=tuple(stored.foreign) if stored else (),
            damage=tuple(stored.damage(self._slots)) if stored else (),
            picture=picture,
        )

    def _stored(self, pictures: ShardImages, place: int) -> tuple[StoredSlots | None, PageImage | NoImage]:
        """What the record's slots hold, if it can be read, and the picture, which must have the size of the boxes."""
        id = self._row["record_id"]
        if id is None:
            return None, pictures.of_source(place, self._row["key"], self._size)
        try:
            record = pictures.record(id)
        except RecordError as error:
            return None, NoImage(f"The record cannot be read: {error}")
        picture = pictures.of_record(record)
        if isinstance(picture, PageImage) and self._size not in (None, (picture.width, picture.height)):
            found = f"{picture.width}x{picture.height} pixels, {self._size[0]}x{self._size[1]} when it was read"
            picture = NoImage(f"The stored picture is another one: {found}")
        return StoredSlots.of(record.labels, [tag["id"] for tag in self._tags]), picture


def _line(line: dict[str, Any]) -> Line:
    return Line(line["text"], round(line["score"], SCORE_DECIMALS), _box(line["box"]))


def _box(corners: Sequence[float]) -> Box:
    """Written with fewer decimals than float32 holds, and rounded again, corners are what they were before."""
    return tuple(round(corner, DECIMALS) for corner in corners)


def _tag(tag: dict[str, Any], data_set: InspectedDataSet, lines: int) -> dict[str, Any]:
    if data_set.packed:
        return {"id": int(tag["id"]), "word": None}
    if not 0 <= tag["line"] < lines:
        raise IndexError(f"a tag in line {tag['line']} of {lines}")
    word = data_set.vocabulary.word(tag["id"])
    return {"id": tag["id"], "word": word, "line": tag["line"], "box": _box(tag["box"])}


def _read_lines(lines: list[Line], data_set: InspectedDataSet) -> Iterator[ReadLine]:
    """The lines with their words, found anew by the rules that the vocabulary names."""
    texts = [line.text for line in lines]
    found = find_words(texts, data_set.segmentation)
    located = locate_words(texts, data_set.segmentation)
    pairs = groupby(zip(found, located, strict=True), key=lambda pair: pair[0].line)
    of_line = {number: list(pair) for number, pair in pairs}
    normalise = load_segmenter(data_set.segmentation).normalise
    for number, line in enumerate(lines):
        words = of_line.get(number, [])
        yield ReadLine(
            line=line,
            words=tuple(
                ReadWord(
                    text=word.text,
                    id=data_set.vocabulary.id(word.text),
                    box=word_box(line.box, place.start, place.end),
                )
                for word, place in words
            ),
            pieces=tuple(cut_line(line.text, [word for word, _ in words], normalise)),
        )

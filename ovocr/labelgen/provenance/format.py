"""Formats the explanation of an image for a terminal."""

from collections.abc import Iterator

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.dataset.layout import RELATIVE
from ovocr.dataset.outcome import Status
from ovocr.labelgen.provenance.absence import show_line
from ovocr.labelgen.provenance.story import CutWord, ImageStory, PlaceStory, TagStory
from ovocr.labelgen.tagging.word_boxes import BoxOrigin

_SLOTS_SHOWN = 8
_LEFT_OUT_SHOWN = 8
_ORIGINS = {
    BoxOrigin.COLUMNS: "box from the recogniser's columns",
    BoxOrigin.INTERPOLATED: "box interpolated",
    BoxOrigin.WHOLE_IMAGE: "the whole image",
}


def format_stories(stories: list[ImageStory]) -> str:
    """Returns a block of lines for each image. Control characters are escaped."""
    return "\n\n".join("\n".join(map(for_terminal, _lines(story))) for story in stories)


def _lines(story: ImageStory) -> Iterator[str]:
    yield story.key
    yield f"  source  {story.source}; row {story.row} of {RELATIVE.records_path(story.shard)}"
    yield f"  status  {_status(story)}"
    if story.size is not None:
        width, height = story.size
        words = f"{counted(story.words_found or 0, 'word')}, {story.words_in_vocabulary} of them in the vocabulary"
        yield f"  read    {width}x{height} pixels, {counted(len(story.lines), 'line')}, {words}"
    if story.rule:
        yield f"  slots   {story.slots} for {story.competing}: {story.rule}"
    for note in story.notes:
        yield f"  note    {note}"
    for tag in story.tags:
        yield from _tag_lines(tag, story)
    yield from _left_out(story)
    for sentence in story.damage:
        yield f"  {sentence}"
    for answer in story.answers:
        yield f"  {answer}"
    if story.status == Status.DROPPED and not story.answers:
        for line in story.lines:
            yield f"  {show_line(line)}, score {line.score:.4f}"
    shown = list(_shown_words(story))
    if any(word.id is None for word in shown) or any("[" in answer for answer in story.answers):
        yield "  (words in brackets are not in the vocabulary)"
    if any(word.left_out for word in shown):
        yield "  (words in parentheses are in the vocabulary but left out)"


def _status(story: ImageStory) -> str:
    if story.record_id is not None:
        return f"{story.status}: record {story.record_id} of {RELATIVE.rec_prefix(story.shard)}.rec"
    because = ": ".join(part for part in (story.reason, story.detail) if part)
    return f"{story.status}: {because}"


def _left_out(story: ImageStory) -> Iterator[str]:
    """Yields a line for each word that the tag policy leaves out, without tags that were asked for."""
    if story.answers:
        return
    for line, word in story.left_out[:_LEFT_OUT_SHOWN]:
        yield f"  left out  {word.word} in line {line.number}: {word.left_out}"
    if (beyond := len(story.left_out) - _LEFT_OUT_SHOWN) > 0:
        yield f"  left out  {counted(beyond, 'other word')}"


def _shown_words(story: ImageStory) -> Iterator[CutWord]:
    lines = [place.line for tag in story.tags for place in tag.places]
    if story.status == Status.DROPPED and not story.answers:
        lines += story.lines
    yield from (word for line in lines for word in line.words)


def _tag_lines(tag: TagStory, story: ImageStory) -> Iterator[str]:
    yield f"  tag {tag.id}" + (f" {tag.word}" if tag.word is not None else "")
    for number, place in enumerate(tag.places, 1):
        first, *others = _place_lines(place)
        yield f"    place {number} of {len(tag.places)}: {first}" if len(tag.places) > 1 else f"    {first}"
        for line in others:
            yield f"      {line}" if len(tag.places) > 1 else f"    {line}"
    yield f"    {_slots(tag, story)}"


def _place_lines(place: PlaceStory) -> Iterator[str]:
    yield f"{show_line(place.line)}, score {place.line.score:.4f}"
    if place.word is not None:
        word = place.line.words[place.word]
        span = "" if word.start is None else f", from {word.start:.1%} to {word.end:.1%} of the line"
        yield f"word {place.word + 1} of {len(place.line.words)}{span}"
    corners = " ".join(f"({x:g}, {y:g})" for x, y in zip(place.box[::2], place.box[1::2], strict=True))
    yield f"{_ORIGINS[place.line.box_origin]}: {corners}"


def _slots(tag: TagStory, story: ImageStory) -> str:
    order = ", ".join(f"{rank + 1} of {story.competing}" for rank in tag.ranks)
    weight = f" with weight {tag.weight:.3f}" if tag.weight is not None else ""
    order = f"; rank {order}{weight}" if order else ""
    if not tag.slots:
        return f"in no slot: left out{order}"
    shown = ", ".join(map(str, tag.slots[:_SLOTS_SHOWN])) + (" ..." if len(tag.slots) > _SLOTS_SHOWN else "")
    return f"in {len(tag.slots)} of {story.slots} slots: {shown}{order}"

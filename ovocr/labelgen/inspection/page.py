"""Renders an inspection as an HTML page."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ovocr.dataset.lines import whole_image
from ovocr.dataset.outcome import Status
from ovocr.labelgen.inspection.images import InspectedImage, ReadLine
from ovocr.labelgen.inspection.inspecting import Inspection
from ovocr.labelgen.inspection.legible_tags import name_shards
from ovocr.labelgen.inspection.page_images import NoImage
from ovocr.pages.rendering import render_page
from ovocr.views.crop_legibility import CROPS
from ovocr.views.legibility import COMPARED_HEIGHT
from ovocr.vocab.segmentation.normalisation import normalise
from ovocr.vocab.word_script import OTHER, script_of

LOW_SCORE = 0.8
"""The page colours the scores of lines below this value."""


def inspection_page(inspection: Inspection) -> str:
    """Returns the page. The same inspection gives the same bytes."""
    data_set, selection, options = inspection.data_set, inspection.selection, inspection.options
    name = data_set.files.root.resolve().name if data_set.files.url is None else data_set.files.url.rpartition("/")[2]
    min_score = data_set.manifest.policy.min_score
    cards = [_card(number, image, min_score) for number, image in enumerate(inspection.images, 1)]
    return render_page(
        __package__,
        script=True,
        images=True,
        title=f"Labelled images: {name}",
        root=data_set.files,
        packed=data_set.packed,
        slots=data_set.manifest.policy.tags,
        vocabulary_size=None if data_set.packed else len(data_set.vocabulary),
        given_text=data_set.manifest.has_given_text,
        engine=(data_set.manifest.engine or {}).get("name"),
        counts=data_set.counts,
        shards=len(data_set.shards),
        planned_shards=len(data_set.manifest.shards),
        status_counts=data_set.status_counts(),
        legible=inspection.legible,
        compared_height=COMPARED_HEIGHT,
        text_crops=CROPS,
        unreadable=name_shards(selection.left_out),
        uncounted=name_shards(inspection.legible.left_out) if inspection.legible else [],
        matching=selection.matching,
        matching_shards=selection.shards,
        options=options,
        filters={
            "status": _by_frequency(card["status"] for card in cards),
            "reason": _by_frequency(card["reason"] for card in cards if card["reason"]),
            "script": _by_frequency(script for card in cards for script in card["scripts"]),
        },
        low_score=LOW_SCORE,
        cards=cards,
    )


def _by_frequency(values: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))


def _card(number: int, image: InspectedImage, min_score: float) -> dict[str, Any]:
    """Returns the template's variables of one image.

    number: number of the image on the page, from 1. min_score: words in lines of a lower score are not tags.
    """
    page_image = image.page_image
    scripts = {script_of(word.text) for line in image.lines for word in line.words}
    return {
        "number": number,
        "image": None if isinstance(page_image, NoImage) else page_image,
        "why_no_image": page_image.why if isinstance(page_image, NoImage) else "",
        "source": image.source,
        "key": image.key,
        "shard": image.shard,
        "position": image.position,
        "record_id": image.record_id,
        "size": image.size,
        "whole_image": None if image.size is None else whole_image(*image.size),
        "status": image.status.value,
        "was_read": image.status is not Status.QUARANTINED,
        "reason": image.reason or "",
        "detail": image.detail or "",
        "damage": image.damage,
        "scripts": sorted(scripts - {OTHER}),
        "lowest_score": min((line.line.score for line in image.lines), default=""),
        "words_found": image.words_found,
        "words_in_vocabulary": image.words_in_vocabulary or 0,
        "tags": image.tags,
        "slots": sum(tag.slots for tag in image.tags),
        "lines": _lines(image, min_score),
        "left_out_boxes": [
            (number, word.box) for number, line in enumerate(image.lines) for word in line.words if not word.can_be_tag
        ],
    }


def _lines(image: InspectedImage, min_score: float) -> list[dict[str, Any]]:
    """Returns the lines in pieces. Words that cannot be tags are numbered from 0 in each image."""
    tags = {tag.id: number for number, tag in enumerate(image.tags)}
    lines, left_out = [], 0
    for line in image.lines:
        score = line.line.score
        pieces = list(_pieces(line, tags, left_out))
        lines.append({"box": line.line.box, "score": score, "is_used": score >= min_score, "pieces": pieces})
        left_out += sum(not word.can_be_tag for word in line.words)
    return lines


def _pieces(line: ReadLine, tags: dict[int, int], left_out: int) -> Iterable[dict[str, Any]]:
    """Yields the pieces of a line.

    tags: maps class ids to the numbers of the image's tags. left_out: number of the next word that cannot be a tag.
    """
    words = iter(line.words)
    for piece in line.pieces:
        if piece.word is None:
            yield {"text": piece.text, "is_word": False}
            continue
        word = next(words)
        normalised = "" if normalise(piece.text) == word.text else word.text
        yield {
            "text": piece.text,
            "is_word": True,
            "title": ": ".join(part for part in (normalised, word.left_out) if part),
            "tag": tags.get(word.id) if word.id is not None and word.can_be_tag else None,
            "left_out": None if word.can_be_tag else left_out,
        }
        left_out += not word.can_be_tag

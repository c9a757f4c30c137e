"""Samples of each head of a run as they are loaded, with the places that are kept, too small, or cut away."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ovocr.base.errors import UsageError
from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.damaged_samples import load_unless_damaged
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.images import decode, encoded_size
from ovocr.trainer.data.records import RecordSamples, Selection
from ovocr.trainer.data.samples import NoLegibleTagError, Sample
from ovocr.trainer.data.thumbnails import THUMBNAIL_SIZE, small_jpeg, to_jpeg
from ovocr.trainer.training.loop import open_data

SAMPLES = 24  # per head

# kept: shown and large enough. small: shown, but smaller than min_text_height. cut: not shown, or not enough of it.
State = Literal["kept", "small", "cut"]


@dataclass(frozen=True)
class PreviewedPlace:
    """A place of a tag.

    corners: x1, y1 .. x4, y4 as shares of the image's sides.
    height: text height in pixels of the input; None if unknown.
    """

    corners: tuple[float, ...]
    state: State
    height: float | None


@dataclass(frozen=True, kw_only=True)
class PreviewedTag:
    """A tag of an image.

    state: kept: a positive. ignored: neither a positive nor a negative. cut: a negative, like the words that the image
        does not have.
    note: why it is ignored, unless it is too small.
    height: largest text height of its places in the sample, in pixels of the input; None if it has none or it is
        unknown.
    places: in reading order; none if it has no boxes.
    """

    word: str
    state: Literal["kept", "ignored", "cut"]
    note: str = ""
    height: float | None = None
    places: tuple[PreviewedPlace, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PreviewedSample:
    """A sample at its position of the run.

    shown: the encoder's input, as JPEG.
    whole: the stored image, as JPEG; None for a video.
    aspect: width / height of the stored image.
    scale: pixels of the input per pixel of the stored image; None for a video.
    part: the crop as left, top, right, bottom in shares of the image's sides; None if the sample is not cropped.
    part_used: whether the encoder gets the crop. False if no crop contains a positive; ``part`` is then the first crop
        drawn.
    """

    position: int
    name: str
    shown: bytes
    tags: tuple[PreviewedTag, ...]
    whole: bytes | None = None
    aspect: float = 1.0
    scale: float | None = None
    part: tuple[float, float, float, float] | None = None
    part_used: bool = False


@dataclass(frozen=True)
class PreviewedHead:
    """The samples at consecutive positions. replaced: why a run replaces the others, a line for each."""

    samples: list[PreviewedSample]
    replaced: list[str]


def preview(config: RunConfig, count: int, step: int = 0) -> dict[str, PreviewedHead]:
    """Returns the samples of ``count`` positions of each head, from a step on; prints the ones that a run replaces.

    Raises UsageError if the run has fewer steps, and OvocrError.
    """
    if step >= config.run.steps:
        raise UsageError(f"--preview-step {step}: the run has {counted(config.run.steps, 'step')}, counted from 0")
    heads = {}
    for name, data in open_data(config).items():
        first = step * config.heads[name].global_batch
        replaced: list[str] = []
        heads[name] = PreviewedHead(list(_samples(data, first, count, replaced)), replaced)
    return heads


def _samples(data: HeadData, first: int, count: int, replaced: list[str]) -> Iterator[PreviewedSample]:
    positions = np.arange(first, first + count)
    for position, index in zip(positions.tolist(), data.order.samples_at(positions).tolist(), strict=True):
        try:
            sample = load_unless_damaged(data.samples, index, position)
        except NoLegibleTagError as error:
            sample = str(error)
        if not isinstance(sample, Sample):  # a training run also replaces it
            replaced.append(f"position {position}: {sample}")
            print(f"ovocr: position {position}: replaced: {for_terminal(sample)}", file=sys.stderr)
        elif isinstance(data.samples, RecordSamples):
            yield _preview_record(data, data.samples, index, position, sample)
        else:
            tags = tuple(
                PreviewedTag(word=_word(data, tag), state="kept") for tag in dict.fromkeys(sample.labels.tolist())
            )
            yield PreviewedSample(position=position, name=data.samples.name(index), shown=to_jpeg(sample), tags=tags)


def _preview_record(
    data: HeadData, samples: RecordSamples, index: int, position: int, sample: Sample
) -> PreviewedSample:
    encoded, labels = samples[index]
    width, height = encoded_size(encoded)
    chosen = samples.choose_view(index, encoded, labels, position)
    places = samples.places_of(index)
    first = next(samples.draw_views(width, height, labels, places, position), None)
    crop = chosen.view.crop if not chosen.view.is_whole else None if first is None else first.crop
    return PreviewedSample(
        position=position,
        name=samples.name(index),
        shown=to_jpeg(sample),
        tags=tuple(_tags(data, samples, index, labels.tolist(), (width, height), chosen)),
        whole=small_jpeg(decode(encoded, at_least=THUMBNAIL_SIZE)),
        aspect=width / height,
        scale=chosen.view.scale,
        part=(crop.left / width, crop.top / height, crop.right / width, crop.bottom / height) if crop else None,
        part_used=not chosen.view.is_whole,
    )


def _tags(
    data: HeadData, samples: RecordSamples, index: int, labels: list[int], size: tuple[int, int], chosen: Selection
) -> Iterator[PreviewedTag]:
    """Yields the tags with a slot in their order, then the ignored tags without a slot. size: width and height."""
    places = _places(samples, index, size, chosen)
    positives = {label for label, is_positive in zip(labels, chosen.is_positive, strict=True) if is_positive}
    ignored = [] if chosen.ignored is None else chosen.ignored.tolist()
    for tag in dict.fromkeys([*labels, *ignored]):
        heights = [place.height for place in places[tag] if place.state != "cut" and place.height is not None]
        is_ignored = tag not in positives and tag in ignored
        yield PreviewedTag(
            word=_word(data, tag),
            state="kept" if tag in positives else "ignored" if is_ignored else "cut",
            note=_why_ignored(places[tag], has_slot=tag in labels) if is_ignored else "",
            height=max(heights, default=None),
            places=tuple(places[tag]),
        )


def _why_ignored(places: list[PreviewedPlace], *, has_slot: bool) -> str:
    states = {place.state for place in places}
    if "kept" in states and not has_slot:
        return "no slot"
    if states == {"cut"}:
        return "cut off"
    if all(place.height is None for place in places if place.state == "small"):
        return "unknown height"
    return ""


def _places(
    samples: RecordSamples, index: int, size: tuple[int, int], chosen: Selection
) -> defaultdict[int, list[PreviewedPlace]]:
    """Maps the tags of a sample to their places. size: width and height of the image."""
    of_tag: defaultdict[int, list[PreviewedPlace]] = defaultdict(list)
    places = samples.places_of(index)
    if places is None:
        return of_tag
    is_visible = samples.places_in(chosen.view, places)
    is_legible = is_visible & samples.legible_in(chosen.view, places)
    corners = (places.boxes / np.tile(size, 4)).tolist()
    heights = (places.text_heights * chosen.view.scale).tolist()
    for number, tag in enumerate(places.ids.tolist()):
        state: State = "kept" if is_legible[number] else "small" if is_visible[number] else "cut"
        height = round(heights[number], 1) if heights[number] > 0 else None
        of_tag[tag].append(PreviewedPlace(tuple(corners[number]), state, height))
    return of_tag


def _word(data: HeadData, tag: int) -> str:
    return str(tag) if data.vocabulary is None else data.vocabulary.word(tag)

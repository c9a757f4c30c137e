"""The first samples of each head of a run as they are loaded, with the tags that crops keep and drop."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ovocr.base.escape import for_terminal
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.crops import Crop
from ovocr.trainer.data.damaged_samples import load_unless_damaged
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.images import decode, encoded_size
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.data.samples import Sample
from ovocr.trainer.data.thumbnails import THUMBNAIL_SIZE, small_jpeg, to_jpeg
from ovocr.trainer.training.loop import open_data

SAMPLES = 24  # per head


@dataclass(frozen=True)
class PreviewedPlace:
    """A place of a tag.

    corners: x1, y1 .. x4, y4 as shares of the image's sides. shown: whether the sample shows enough of its box.
    """

    corners: tuple[float, ...]
    shown: bool


@dataclass(frozen=True, kw_only=True)
class PreviewedTag:
    """A tag of an image. kept: whether the head learns from it. places: in reading order; none if it has no boxes."""

    word: str
    kept: bool
    places: tuple[PreviewedPlace, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PreviewedSample:
    """A sample at its position of the run.

    shown: the encoder's input, as JPEG.
    whole: the stored image, as JPEG; None for a video.
    aspect: width / height of the stored image.
    part: the crop as left, top, right, bottom in shares of the image's sides; None if the sample is not cropped.
    part_used: whether the encoder gets the crop. False if no crop contains a tag; ``part`` is then the first crop
        drawn.
    """

    position: int
    name: str
    shown: bytes
    tags: tuple[PreviewedTag, ...]
    whole: bytes | None = None
    aspect: float = 1.0
    part: tuple[float, float, float, float] | None = None
    part_used: bool = False


def preview(config: RunConfig, count: int) -> dict[str, list[PreviewedSample]]:
    """Returns the first ``count`` samples of each head; prints and skips damaged ones. Raises OvocrError."""
    return {name: list(_samples(data, count)) for name, data in open_data(config).items()}


def _samples(data: HeadData, count: int) -> Iterator[PreviewedSample]:
    for position, index in enumerate(data.order.samples_at(np.arange(count)).tolist()):
        sample = load_unless_damaged(data.samples, index, position)
        if not isinstance(sample, Sample):  # a training run also skips it
            print(f"ovocr: position {position}: skipped: {for_terminal(sample)}", file=sys.stderr)
        elif isinstance(data.samples, RecordSamples):
            yield _preview_record(data, data.samples, index, position, sample)
        else:
            tags = tuple(
                PreviewedTag(word=_word(data, tag), kept=True) for tag in dict.fromkeys(sample.labels.tolist())
            )
            yield PreviewedSample(position=position, name=data.samples.name(index), shown=to_jpeg(sample), tags=tags)


def _preview_record(
    data: HeadData, samples: RecordSamples, index: int, position: int, sample: Sample
) -> PreviewedSample:
    encoded, labels = samples[index]
    width, height = encoded_size(encoded)
    chosen = samples.choose_crop(index, encoded, labels, position)
    crop = chosen[0] if chosen else next(samples.draw_crops(encoded, position), None)
    kept = set(sample.labels.tolist())
    places = _places(samples, index, (width, height), chosen[0] if chosen else None)
    return PreviewedSample(
        position=position,
        name=samples.name(index),
        shown=to_jpeg(sample),
        tags=tuple(
            PreviewedTag(word=_word(data, tag), kept=tag in kept, places=tuple(places[tag]))
            for tag in dict.fromkeys(labels.tolist())
        ),
        whole=small_jpeg(decode(encoded, at_least=THUMBNAIL_SIZE)),
        aspect=width / height,
        part=(crop.left / width, crop.top / height, crop.right / width, crop.bottom / height) if crop else None,
        part_used=chosen is not None,
    )


def _places(
    samples: RecordSamples, index: int, size: tuple[int, int], crop: Crop | None
) -> defaultdict[int, list[PreviewedPlace]]:
    """Maps the tags of a sample to their places. size: width and height of the image. crop: None for a whole image."""
    of_tag: defaultdict[int, list[PreviewedPlace]] = defaultdict(list)
    places = samples.places_of(index)
    if places is not None:
        corners = (places.boxes / np.tile(size, 4)).tolist()
        shown = [True] * len(corners) if crop is None else samples.places_in(crop, places).tolist()
        for tag, own_corners, is_shown in zip(places.ids.tolist(), corners, shown, strict=True):
            of_tag[tag].append(PreviewedPlace(tuple(own_corners), is_shown))
    return of_tag


def _word(data: HeadData, tag: int) -> str:
    return str(tag) if data.vocabulary is None else data.vocabulary.word(tag)

"""Reads lines of text in images: batches detection and recognition in the same way for every engine.

Images whose detector inputs have the same shape are detected together. Images with small print are then detected again
at a higher resolution (``closer_look``). The crops of all given images are sorted by their padded width and recognised
in batches of one width. A crop is padded to its own width, rounded up, so padding costs little and the result never
depends on the other crops in the batch.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ovocr.dataset.lines import SCORE_DECIMALS, Line
from ovocr.labelgen.engines.character_edges import character_edges
from ovocr.labelgen.engines.closer_look import LOOKS, needs_closer_look
from ovocr.labelgen.engines.interface import Batching, Detection, Engine, Pixels, Prepared, Reading, Region

MIN_CROP_WIDTH = 32
# The recogniser's output has about 18,000 probabilities per 8 pixels of width, so batches of long lines are smaller.
MAX_BATCH_WIDTH = 32_768

_Item = TypeVar("_Item")
_Shape = TypeVar("_Shape", int, tuple[int, ...])
_Result = TypeVar("_Result")


def read_lines(engine: Engine, images: Sequence[Pixels]) -> list[list[Line]]:
    """Returns the lines of each image in reading order; an empty list if it has no text. Raises EngineError."""
    batching = engine.batching
    detections = _detect(engine, [engine.prepare(image) for image in images])
    for look in range(1, LOOKS):
        again = [
            engine.prepare(image, look) if detection is not None and needs_closer_look(detection) else None
            for image, detection in zip(images, detections, strict=True)
        ]
        detections = [new or old for new, old in zip(_detect(engine, again), detections, strict=True)]
    found = [[] if detection is None else detection.regions for detection in detections]
    readings = _in_batches(
        [region.crop for regions in found for region in regions],
        lambda crop: padded_width(crop, batching),
        lambda width: max(1, min(batching.crops, MAX_BATCH_WIDTH // width)),
        engine.recognise,
        batching.full,
    )
    remaining = iter(readings)
    return [_lines(regions, remaining, engine.min_score) for regions in found]


def _detect(engine: Engine, prepared: Sequence[Prepared | None]) -> list[Detection | None]:
    """Returns what the detector finds in each image; None for an image without an input."""
    detected = iter(
        _in_batches(
            [image for image in prepared if image is not None],
            lambda image: image.tensor.shape,
            lambda shape: engine.batching.images,
            lambda batch, shape: engine.detect(batch),
            engine.batching.full,
        )
    )
    return [None if image is None else next(detected) for image in prepared]


def padded_width(crop: Pixels, batching: Batching) -> int:
    """Returns the width of the recogniser's input for a crop, including padding, in pixels."""
    return max(MIN_CROP_WIDTH, math.ceil(batching.text_width(crop) / batching.width_step) * batching.width_step)


def _in_batches(
    items: Sequence[_Item],
    shape_of: Callable[[_Item], _Shape],
    size_of: Callable[[_Shape], int],
    run: Callable[[list[_Item], _Shape], list[_Result]],
    full: bool,
) -> list[_Result]:
    """Calls ``run`` on batches of one shape and returns the results in the order of the items.

    full: fill the last batch of a shape by repeating its last item.
    """
    by_shape: dict[_Shape, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        by_shape[shape_of(item)].append(number)
    results: dict[int, _Result] = {}
    for shape in sorted(by_shape):
        numbers, size = by_shape[shape], size_of(shape)
        for start in range(0, len(numbers), size):
            batch = numbers[start : start + size]
            filling = [batch[-1]] * (size - len(batch)) if full else []
            batch_results = run([items[number] for number in batch + filling], shape)
            results.update(zip(batch, batch_results, strict=not full))
    return [results[number] for number in range(len(items))]


def _lines(regions: list[Region], readings: Iterator[Reading], min_score: float) -> list[Line]:
    """Returns the lines of an image. Consumes one reading per region from ``readings``."""
    return [
        Line(
            reading.text,
            round(reading.score, SCORE_DECIMALS),
            region.box,
            character_edges(reading.text, reading.centers, region.crop),
        )
        for region, reading in zip(regions, readings, strict=False)
        if reading.text.strip() and reading.score >= min_score
    ]

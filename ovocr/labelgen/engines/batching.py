"""From pictures to lines of text: the schedule that every engine's detection and recognition run in.

Pictures that have the same shape before the detector are detected together. The crops of all pictures at hand are
pooled, sorted by the width they are padded to, and recognised in batches of one width. A crop's width is its own
rounded up, so that little of what a network computes is padding, and what is read never depends on the neighbours.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ovocr.dataset.lines import SCORE_DECIMALS, Line
from ovocr.labelgen.engines.interface import Batching, Engine, Pixels, Reading, Region

MIN_CROP_WIDTH = 32
# Recognition's output has some 18,000 probabilities for every 8 pixels across: batches of long lines are smaller.
MAX_BATCH_WIDTH = 32_768

_Item = TypeVar("_Item")
_Shape = TypeVar("_Shape", int, tuple[int, ...])
_Result = TypeVar("_Result")


def read_lines(engine: Engine, pictures: Sequence[Pixels]) -> list[list[Line]]:
    """The lines of each picture in reading order; none where there is no text. Raises EngineError."""
    batching = engine.batching
    prepared = [engine.prepare(picture) for picture in pictures]
    detected = iter(
        _in_batches(
            [picture for picture in prepared if picture is not None],
            lambda picture: picture.tensor.shape,
            lambda shape: batching.pictures,
            lambda batch, shape: engine.detect(batch),
            batching.full,
        )
    )
    found = [[] if picture is None else next(detected) for picture in prepared]
    readings = _in_batches(
        [region.crop for regions in found for region in regions],
        lambda crop: padded_width(crop, batching),
        lambda width: max(1, min(batching.crops, MAX_BATCH_WIDTH // width)),
        engine.recognise,
        batching.full,
    )
    remaining = iter(readings)
    return [_lines(regions, remaining, engine.min_score) for regions in found]


def padded_width(crop: Pixels, batching: Batching) -> int:
    """Pixels across that the recogniser gets of a crop, text and padding."""
    text_width = math.ceil(batching.crop_height * crop.shape[1] / crop.shape[0])
    return max(MIN_CROP_WIDTH, math.ceil(text_width / batching.width_step) * batching.width_step)


def _in_batches(
    items: Sequence[_Item],
    shape_of: Callable[[_Item], _Shape],
    size_of: Callable[[_Shape], int],
    run: Callable[[list[_Item], _Shape], list[_Result]],
    full: bool,
) -> list[_Result]:
    """What ``run`` gives for each item, called on batches of one shape. full: the last batch is filled up."""
    by_shape: dict[_Shape, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        by_shape[shape_of(item)].append(number)
    results: dict[int, _Result] = {}
    for shape in sorted(by_shape):
        numbers, size = by_shape[shape], size_of(shape)
        for start in range(0, len(numbers), size):
            batch = numbers[start : start + size]
            filling = [batch[-1]] * (size - len(batch)) if full else []
            given = run([items[number] for number in batch + filling], shape)
            results.update(zip(batch, given, strict=not full))
    return [results[number] for number in range(len(items))]


def _lines(regions: list[Region], readings: Iterator[Reading], min_score: float) -> list[Line]:
    """The lines of a picture, which takes as many readings as it has regions."""
    return [
        Line(reading.text, round(reading.score, SCORE_DECIMALS), region.box)
        for region, reading in zip(regions, readings, strict=False)
        if reading.text.strip() and reading.score >= min_score
    ]

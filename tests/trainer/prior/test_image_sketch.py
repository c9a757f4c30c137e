"""Sketches count exactly in small sets and estimate in large ones."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.trainer.data.samples import hash_image
from ovocr.trainer.prior.image_sketch import ImageSketch, Overlap


def hashes(*numbers: int) -> NDArray[np.uint64]:
    return np.array([hash_image("source", number) for number in numbers], np.uint64)


def test_small_set_is_exact() -> None:
    sketch = ImageSketch.of(hashes(*range(50), 3, 4))
    assert len(sketch.hashes) == 50
    overlap = sketch.overlap(hashes(*range(40, 80), 41))
    assert overlap == Overlap(images=41, compared=41, found=11)
    assert (overlap.is_exact, overlap.number, overlap.share) == (True, 11, 11 / 41)
    assert overlap.describe() == "11 of 41 images"
    assert overlap.to_json() == {"images": 11, "share": 11 / 41, "compared": 41}


def test_large_set_is_estimated() -> None:
    sketch = ImageSketch.of(hashes(*range(20_000)), size=2_000)
    assert len(sketch.hashes) == 2_000
    overlap = sketch.overlap(hashes(*range(15_000, 25_000)))
    assert overlap.compared == pytest.approx(1_000, rel=0.15)
    assert overlap.number == pytest.approx(5_000, rel=0.1)
    assert not overlap.is_exact
    assert sketch.overlap(hashes(*range(20_000))).share == 1.0
    assert sketch.overlap(hashes(*range(20_000, 40_000))).found == 0


def test_nothing_compared_is_unknown() -> None:
    overlap = ImageSketch.of(np.array([1, 2, 3], np.uint64), size=1).overlap(np.array([5, 9], np.uint64))
    assert overlap == Overlap(2, 0, 0)
    assert overlap.to_json() == {"images": None, "share": None, "compared": 0}


def test_sketch_of_parts_is_the_sketch_of_all() -> None:
    every = hashes(*range(900))
    parts = [ImageSketch.of(every[number::3], size=100) for number in range(3)]
    last = min(part.last for part in parts)
    found = ImageSketch.of(np.concatenate([part.hashes for part in parts]), last, size=100)
    wanted = ImageSketch.of(every, size=100)
    assert found.last == wanted.last
    assert found.hashes.tolist() == wanted.hashes.tolist()


def test_largest_hash_belongs_to_a_complete_set() -> None:
    edge = np.array([2**64 - 1, 0], np.uint64)
    assert ImageSketch.of(edge).overlap(edge) == Overlap(2, 2, 2)


def test_sketch_of_many_parts_is_that_of_all_at_once() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 5000, np.uint64, endpoint=False)
    for size in (10, 700, 4999, 5000, 6000):
        for parts in ([hashes], np.array_split(hashes, 7), np.array_split(hashes, 999), [hashes, hashes[:50]]):
            found, expected = ImageSketch.of_parts(iter(parts), size), ImageSketch.of(hashes, size=size)
            assert found.last == expected.last
            assert found.hashes.tolist() == expected.hashes.tolist()
    assert len(ImageSketch.of_parts(iter(())).hashes) == 0

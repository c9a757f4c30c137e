"""Batches of an evaluation: whole samples in order, with all tags that they show."""

import multiprocessing
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.evaluation_batches import BATCH, load_batches
from ovocr.trainer.data.records import RecordSamples
from tests.trainer.damage import damage_images

NUMBERS = np.arange(1, 79, 2)  # 32 and 7 samples


@pytest.fixture
def root(make_data_set: Callable[..., Path]) -> Path:
    return make_data_set("labels", [50, 30], patterned=True)


def opened(root: Path) -> RecordSamples:
    return RecordSamples([root], labels_stored=4, num_classes=50, image_size=16)


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_come_in_order_with_their_tags(root: Path, workers: int) -> None:
    damage_images(root, 7)
    state = torch.random.get_rng_state()
    batches = list(load_batches(opened(root), NUMBERS, workers=workers))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [len(found.shown) for found in batches] == [BATCH - 1, 7]
    assert [list(found.batch.skipped) for found in batches] == [
        [f"{root}/rec/00000.rec id 7 (7.jpg of source0.tar): not a JPEG, PNG or WebP image"],
        [],
    ]
    ids = torch.cat([found.batch.sample_ids for found in batches]).tolist()
    assert ids == [number for number in NUMBERS.tolist() if number != 7]
    samples = opened(root)
    for found in batches:
        for row, (number, shown) in enumerate(zip(found.batch.sample_ids.tolist(), found.shown, strict=True)):
            assert torch.equal(found.batch.pixels[row], torch.from_numpy(samples.load(number).pixels))
            assert found.batch.labels[row].tolist() == [(number + slot) % 50 for slot in range(4)]
            assert shown.ids.tolist() == sorted((number + tag) % 50 for tag in range(10))  # also without a slot
            assert shown.heights == pytest.approx(12 * 16 / 40)


@pytest.mark.parametrize("workers", [0, 1])
def test_error_that_is_no_damage_is_raised(root: Path, workers: int) -> None:
    samples = opened(root)
    (root / "ocr" / "00000.parquet").unlink()
    with pytest.raises(OvocrError, match=r"ocr/00000.parquet"):
        list(load_batches(samples, NUMBERS, workers=workers))


def test_batch_of_damaged_samples_is_empty(root: Path) -> None:
    damage_images(root, 3, 5)
    (found,) = load_batches(opened(root), np.array([3, 5]), workers=0)
    assert (found.shown, len(found.batch.pixels), len(found.batch.skipped)) == ([], 0, 2)


def test_closing_ends_the_worker_processes(root: Path) -> None:
    with closing(load_batches(opened(root), NUMBERS, workers=2)) as batches:
        next(batches)
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []

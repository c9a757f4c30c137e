"""Shrunk images for a page, and reasons for images that cannot be shown."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.images import load_images
from ovocr.labelgen.inspection.inspecting import inspect_labels
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.inspection.page import inspection_page
from ovocr.labelgen.inspection.page_images import NoImage, PageImage, shrink
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.totals import Totals


def size_of(page_image: PageImage) -> tuple[int, int]:
    with Image.open(io.BytesIO(page_image.jpeg)) as image:
        return image.size


def test_shrink_limits_large_images_and_keeps_small_ones() -> None:
    large = shrink(np.full((1500, 2000, 3), 255, np.uint8), 400)
    assert size_of(large) == (400, 300)
    assert (large.width, large.height) == (2000, 1500)
    assert size_of(shrink(np.zeros((30, 7, 3), np.uint8), 400)) == (7, 30)
    assert size_of(shrink(np.zeros((3000, 30, 3), np.uint8), 100)) == (1, 100)


def test_fifty_images_of_noise_take_less_than_15_megabytes(noise: np.ndarray) -> None:
    side = InspectOptions(source=Path()).side
    page_image = shrink(noise, side)
    assert 50 * len(base64.b64encode(page_image.jpeg)) < 15e6
    width, height = size_of(page_image)
    assert abs(width / height - 4 / 3) < 0.01


def test_images_without_a_record_are_read_from_their_source(built: tuple[LabelledDataSet, Totals]) -> None:
    """A blank image, one with unknown words, a truncated one and an empty one have no record."""
    root = built[0].root
    inspection = inspect_labels(InspectOptions(source=root), progress=False)
    shown = {image.key: image for image in inspection.images}
    blank, unknown = shown["a/blank.png"].page_image, shown["b/unknown.png"].page_image
    assert isinstance(blank, PageImage)
    assert isinstance(unknown, PageImage)
    assert (blank.width, blank.height) == (80, 60)
    cut, empty = shown["b/cut.jpg"].page_image, shown["b/zero.jpg"].page_image
    assert isinstance(cut, NoImage)
    assert isinstance(empty, NoImage)
    assert "the source does not provide it: truncated: " in cut.why
    assert "the source does not provide it: empty: zero bytes" in empty.why


def test_missing_source_hides_only_images_without_a_record(
    built: tuple[LabelledDataSet, Totals], options: BuildOptions
) -> None:
    source = Path(options.sources[0])
    away = source.with_suffix(".away")
    source.rename(away)
    try:
        data_set = InspectedDataSet.open(built[0].root)
        images = list(load_images(data_set, 0, list(range(7)), 300))
    finally:
        away.rename(source)
    for image in images:
        assert isinstance(image.page_image, NoImage) == (image.record_id is None), image.key
    assert "No such file" in next(image.page_image.why for image in images if image.record_id is None)


def test_damaged_record_hides_only_its_image(make_data_set: Callable[..., Path]) -> None:
    root = make_data_set([3])
    path = root / "rec" / "00000.rec"
    data = bytearray(path.read_bytes())
    second = int((root / "rec" / "00000.idx").read_text().splitlines()[1].split("\t")[1])
    data[second] ^= 0xFF  # a byte of the record's magic number
    path.write_bytes(data)
    first, damaged, third = load_images(InspectedDataSet.open(root), 0, [0, 1, 2], 300)
    assert isinstance(first.page_image, PageImage)
    assert isinstance(third.page_image, PageImage)
    assert isinstance(damaged.page_image, NoImage)
    assert damaged.page_image.why.startswith("The record cannot be read: ")
    assert [tag.slots for tag in damaged.tags] == [0]
    assert [tag.slots for tag in first.tags] == [4]


@pytest.mark.parametrize("packed", [False, True])
def test_labels_that_are_not_tags_are_shown(
    make_data_set: Callable[..., Path], overwrite_labels: Any, packed: bool
) -> None:
    root = make_data_set([2], packed=packed)
    tag = 7 if packed else 5
    overwrite_labels(LabelledDataSet(root), 0, [tag, float("nan"), float("-inf"), 500_000])
    inspection = inspect_labels(InspectOptions(source=root), progress=False)
    damaged, valid = inspection.images
    assert isinstance(damaged.page_image, PageImage)
    assert (damaged.tags[0].id, damaged.tags[0].slots) == (tag, 1)
    assert damaged.damage == (
        "slot 1 contains nan, which is not a tag of the image; see `ovocr verify`",
        "slot 2 contains -inf, which is not a tag of the image; see `ovocr verify`",
        "slot 3 contains 500000, which is not a tag of the image; see `ovocr verify`",
    )
    assert valid.damage == ()
    assert inspection_page(inspection).count("damaged record</strong> slot 1 contains nan, which is not a tag") == 1
    rows = inspection.to_json()["images"]
    assert rows[0]["foreign_slots"][2] == {"holds": "500000", "slots": [3]}
    assert rows[0]["damage"] == list(damaged.damage)
    assert (rows[1]["foreign_slots"], rows[1]["damage"]) == ([], [])


def test_stored_image_with_a_different_size_than_its_text_is_not_shown(make_data_set: Callable[..., Path]) -> None:
    root = make_data_set([1])
    path = root / "ocr" / "00000.parquet"
    table = pq.read_table(path)
    rows = [{**row, "width": row["width"] + 1} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    (image,) = load_images(InspectedDataSet.open(root), 0, [0], 300)
    assert image.page_image == NoImage("The stored image has a different size: 64x32 pixels, 65x32 when it was read")


def test_image_with_too_many_pixels_is_not_decoded(make_data_set: Callable[..., Path]) -> None:
    root = make_data_set([1])
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["options"]["max_pixels"] = 2000
    (root / "manifest.json").write_text(json.dumps(manifest))
    (image,) = load_images(InspectedDataSet.open(root), 0, [0], 300)
    assert isinstance(image.page_image, NoImage)
    assert "too-many-pixels: 64x32 pixels, more than 2000" in image.page_image.why

"""Tags of whole images are counted by the height of their text, compared with heights by hand and a slow count."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Box, Line, box_size, runs_down, whole_image
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.text import TextShard
from ovocr.dataset.text_heights import text_heights
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions
from ovocr.trainer.data.images import GROUND_RGB, letterbox
from ovocr.views.crop_legibility import CropCounts
from ovocr.views.legibility import IMAGE_SIZES, TEXT_HEIGHTS, Legibility, measure_legibility

EDGES = (0.0, 0.5, 1.0)


def upright(width: float, height: float) -> Box:
    return (10.0, 10.0, 10.0 + width, 10.0, 10.0 + width, 10.0 + height, 10.0, 10.0 + height)


def turned(length: float, height: float, degrees: float) -> Box:
    """Returns the box of a line that is turned around its top left corner, with 2 decimals."""
    along, down = math.radians(degrees), math.radians(degrees + 90)
    x, y = length * math.cos(along), length * math.sin(along)
    dx, dy = height * math.cos(down), height * math.sin(down)
    return tuple(round(300 + value, 2) for value in (0, 0, x, y, x + dx, y + dy, dx, dy))


def image(
    *boxes: Box,
    places: Sequence[tuple[int, int]] = (),
    size: tuple[int, int] = (448, 300),
    edges: Sequence[float] = EDGES,
) -> Outcome:
    """Returns an ok image with a line for each box. places: class id and line; by default a tag a line."""
    tags = [Place(id, line, boxes[line]) for id, line in places or enumerate(range(len(boxes)))]
    return Outcome(
        status=Status.OK,
        jpeg=b"j",
        width=size[0],
        height=size[1],
        lines=[Line("ab", 0.9, box, tuple(edges)) for box in boxes],
        places=tags,
        slots=[0],
    )


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., Legibility]:
    """Returns measure(outcomes...), which counts the tags of a shard with these images."""

    def measured(*outcomes: Outcome) -> Legibility:
        return measure_legibility(write_shard(tmp_path / "labels", outcomes))

    return measured


def write_shard(root: Path, outcomes: Sequence[Outcome], number: int = 0) -> TextShard:
    with ShardWriter(LabelledDataSet(root), number, ShardEntry(source="x.tar", kind="tar")) as writer:
        for position, outcome in enumerate(outcomes):
            writer.add(f"{position}.jpg", outcome)
    return TextShard(root, number)


def legible(found: Legibility, image_size: int) -> list[int]:
    """Returns the numbers of tags for each of TEXT_HEIGHTS."""
    (row,) = (row for row in found.by_size if row.image_size == image_size)
    return list(row.legible.values())


def medians(found: Legibility) -> list[float | None]:
    return [row.median_height for row in found.by_size]


@pytest.mark.parametrize(
    ("box", "height"),
    [
        (upright(100, 10), 10),
        (upright(10, 100), 10),  # runs down
        (upright(10, 14), 14),  # a tall character, not a line that runs down
        (upright(10, 15), 10),
        (turned(100, 10, 30), 10),
        (turned(100, 10, -45), 10),
        (turned(10, 100, 3), 10),  # runs down, leaning
    ],
)
def test_height_of_a_line(box: Box, height: float, measure: Callable[..., Legibility]) -> None:
    found = measure(image(box))
    assert (found.images, found.tags, found.tags_of_unknown_height) == (1, 1, 0)
    assert medians(found) == pytest.approx([height * size / 448 for size in IMAGE_SIZES], abs=0.05)
    slack = 0.01  # of boxes with 2 decimals
    assert legible(found, 896) == [int(2 * height >= least - slack) for least in TEXT_HEIGHTS]


def test_heights_are_those_of_single_boxes() -> None:
    random = np.random.default_rng(5)
    boxes = np.round(random.uniform(0, 900, (2000, 8)), 2)
    boxes[::2] = [upright(*random.uniform(1, 40, 2)) for _ in boxes[::2]]
    expected = []
    for box in boxes.tolist():
        across, down = box_size(tuple(box))
        expected.append(across if runs_down(tuple(box)) else down)
    assert text_heights(boxes) == pytest.approx(expected, abs=1e-9)
    assert len(text_heights(np.empty((0, 8)))) == 0


def test_a_height_at_the_threshold_is_legible(measure: Callable[..., Legibility]) -> None:
    found = measure(image(upright(90, 10), upright(90, 9.99), upright(90, 8), upright(90, 12)))
    assert legible(found, 448) == [4, 2, 1]
    assert legible(found, 224) == [0, 0, 0]
    assert legible(found, 672) == [4, 4, 4]
    assert medians(found)[2] == pytest.approx((9.99 + 10) / 2, abs=0.05)


def test_largest_place_counts(measure: Callable[..., Legibility]) -> None:
    boxes = [upright(90, 6), upright(90, 11), upright(90, 9)]
    found = measure(image(*boxes, places=[(7, 0), (3, 2), (7, 1), (3, 0), (7, 0)]), image(boxes[0], places=[(7, 0)]))
    assert (found.images, found.tags) == (2, 3)
    assert legible(found, 448) == [2, 1, 0]  # 11, 9, 6


def test_image_is_scaled_by_its_longer_side(measure: Callable[..., Legibility]) -> None:
    """Up or down, as the trainer does."""
    wide, tall, small = ((896, 100), (100, 896), (112, 50))
    found = measure(*(image(upright(40, 10), size=size) for size in (wide, tall, small)))
    assert legible(found, 448) == [1, 1, 1]  # 5, 5, 40
    assert legible(found, 672) == [1, 1, 1]  # 7.5, 7.5, 60
    assert legible(found, 896) == [3, 3, 1]  # 10, 10, 80
    assert medians(found)[4] == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize("size", [(896, 100), (100, 896), (112, 50), (448, 448)])
@pytest.mark.parametrize("image_size", IMAGE_SIZES)
def test_text_is_as_high_as_in_the_input_of_the_trainer(
    size: tuple[int, int], image_size: int, measure: Callable[..., Legibility]
) -> None:
    width, height = size
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[10:30] = 0  # a line across the image
    shown = letterbox(pixels, image_size)[0, :, image_size // 2]
    dark = np.count_nonzero(shown < GROUND_RGB[0])
    found = measure(image((0, 10, width, 10, width, 30, 0, 30), size=size))
    (row,) = (row for row in found.by_size if row.image_size == image_size)
    assert row.median_height == pytest.approx(dark, abs=1)


def test_a_single_line_without_a_box_is_as_high_as_the_image(measure: Callable[..., Legibility]) -> None:
    size = (448, 30)
    given = image(whole_image(*size), places=[(1, 0), (2, 0)], size=size, edges=())
    read = image(whole_image(*size), size=size)  # an engine found a line that fills the image
    inside = image(upright(40, 9), size=size, edges=())  # given with a box
    found = measure(given, read, inside)
    assert (found.tags, found.tags_of_unknown_height) == (4, 0)
    assert legible(found, 448) == [4, 3, 3]


def test_several_lines_without_boxes_have_unknown_heights(measure: Callable[..., Legibility]) -> None:
    size, whole = (448, 30), whole_image(448, 30)
    page = image(whole, whole, places=[(1, 0), (2, 0), (2, 1)], size=size, edges=())
    both = image(whole, upright(40, 9), places=[(1, 0), (1, 1), (2, 1), (3, 0)], size=size, edges=())
    found = measure(page, both)
    assert (found.tags, found.known, found.tags_of_unknown_height) == (5, 2, 3)
    assert legible(found, 448) == [2, 0, 0]
    assert found.by_size[2].shares[8] == 1.0
    only = measure(page)
    assert (only.known, only.by_size[0].median_height) == (0, None)
    assert only.format() == ["2 tags of unknown text height, given without boxes"]


def test_only_ok_images_are_counted(measure: Callable[..., Legibility]) -> None:
    """Images that were not read have no row of text. 700 images are read in several parts."""
    dropped = Outcome(
        status=Status.DROPPED,
        reason=Reason.SOURCE_OUT_OF_REACH,
        width=448,
        height=448,
        lines=[Line("ab", 0.9, upright(90, 40), EDGES)],
        places=[Place(1, 0, upright(90, 40))],
    )
    no_text = Outcome(status=Status.DROPPED, reason=Reason.NO_TEXT, width=448, height=448)
    unread = quarantined(Reason.EMPTY, "")
    kinds = [dropped, no_text, unread, *(image(upright(90, height)) for height in (7, 9, 11, 13))]
    found = measure(*(kinds[number * number % 11 % 7] for number in range(700)), *[unread] * 600)
    numbers = [number * number % 11 % 7 for number in range(700)]
    assert found.images == found.tags == sum(number > 2 for number in numbers)
    assert legible(found, 448) == [sum(number > least for number in numbers) for least in (3, 4, 5)]


def test_counts_of_shards_are_added(tmp_path: Path) -> None:
    outcomes = [image(upright(90, 7 + number % 5), upright(30, 3 + number / 7)) for number in range(40)]
    whole = measure_legibility(write_shard(tmp_path / "whole", outcomes))
    parts = [write_shard(tmp_path / "parts", outcomes[start : start + 9], start) for start in range(0, 40, 9)]
    counts = [measure_legibility(part) for part in parts]
    total = Legibility.sum(counts)
    assert replace(total, crops=whole.crops) == whole  # each shard has crops of its own
    assert total.crops == sum((each.crops for each in counts), CropCounts())
    assert (whole.tags, total.crops.images) == (80, 40)


def test_json_has_shares_and_medians(measure: Callable[..., Legibility]) -> None:
    found = measure(image(upright(90, 10), upright(90, 5)), image(upright(90, 12)))
    figures = found.to_json()
    assert [row.pop("image_size") for row in figures["by_size"]] == [224, 336, 448, 672, 896]
    assert (figures["images"], figures["tags"], figures["tags_of_unknown_height"]) == (2, 3, 0)
    crops = [row.pop("text_crops") for row in figures["by_size"]]
    assert list(figures["by_size"][2]) == ["median_text_height", "legible", "legible_share", "legible_per_image"]
    assert figures["by_size"][2] == {
        "median_text_height": pytest.approx(10, abs=0.05),
        "legible": {"8": 2, "10": 2, "12": 1},
        "legible_share": {"8": 2 / 3, "10": 2 / 3, "12": 1 / 3},
        "legible_per_image": {"8": 1.0, "10": 1.0, "12": 0.5},
    }
    assert crops == [row.crops.to_json() for row in found.by_size]
    assert (crops[0]["images"], crops[0]["tags_shown"], crops[0]["legible"]["8"]) == (2, 3, 3)
    nothing = measure().to_json()
    assert nothing == Legibility().to_json()
    zero = {"8": 0.0, "10": 0.0, "12": 0.0}
    assert nothing["by_size"][0] == {
        "image_size": 224,
        "median_text_height": None,
        "legible": {"8": 0, "10": 0, "12": 0},
        "legible_share": zero,
        "legible_per_image": zero,
        "text_crops": CropCounts().at(224, TEXT_HEIGHTS).to_json(),
    }


def test_terminal_table(measure: Callable[..., Legibility]) -> None:
    """A crop shows the line of 9 pixels with 12 to 18, and the one of 5 with 10: twice its size."""
    size = (448, 30)
    given = image(whole_image(*size), size=size, edges=())
    page = image(whole_image(*size), whole_image(*size), size=size, edges=())
    assert measure(given, image(upright(90, 5), size=size), image(upright(90, 9), size=size), page).format() == [
        "3 tags by text height in the whole image        median   8+ px  10+ px  12+ px  10+ px/image",
        "  scaled to 224 px                              4.5 px   33.3%   33.3%   33.3%           0.2",
        "  scaled to 336 px                              6.8 px   33.3%   33.3%   33.3%           0.2",
        "  scaled to 448 px                              9.0 px   66.7%   33.3%   33.3%           0.2",
        "  scaled to 672 px                             13.5 px   66.7%   66.7%   66.7%           0.5",
        "  scaled to 896 px                             18.0 px  100.0%  100.0%   66.7%           0.8",
        "crops chosen by their text, 4 images         tags/crop   8+ px  10+ px  12+ px   10+ px/crop",
        "  of 224 px                                        0.8  100.0%  100.0%   66.7%           0.8",
        "  of 336 px                                        0.8  100.0%  100.0%   66.7%           0.8",
        "  of 448 px                                        0.8  100.0%  100.0%   66.7%           0.8",
        "  of 672 px                                        0.8  100.0%  100.0%   66.7%           0.8",
        "  of 896 px                                        0.8  100.0%  100.0%   66.7%           0.8",
        "2 tags of unknown text height, given without boxes",
    ]
    assert measure().format() == []


def test_columns_of_large_counts_stay_aligned() -> None:
    heights = Counter({200: 30_000_000_000})
    crops = CropCounts(images=2_000_000, shown=Counter({448: 9}), legible=Counter({(448, 10): 9}))
    found = Legibility(images=10**9, tags=30_000_000_000, heights=heights, crops=crops)
    lines = found.format()
    assert lines[0].startswith("30,000,000,000 tags by text height in the whole image median ")
    assert lines[6].startswith("crops chosen by their text, 2,000,000 images tags/crop ")
    assert len(set(map(len, lines[1:]))) == 1
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("file", ["ocr", "records"])
@pytest.mark.parametrize("damage", ["missing", "cut", "column", "null"])
def test_error_names_the_damaged_file(file: str, damage: str, tmp_path: Path) -> None:
    shard = write_shard(tmp_path, [image(upright(90, 10))] * 3)
    path = tmp_path / file / "00000.parquet"
    table = pq.read_table(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "column":
        pq.write_table(table.drop_columns("key"), path)
    else:
        pq.write_table(table.set_column(table.schema.get_field_index("key"), "key", pa.nulls(3, pa.string())), path)
    with pytest.raises(OvocrError, match=rf"{file}/00000.parquet: cannot be read: .+; restore the file") as caught:
        measure_legibility(shard)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "others",
    [
        [image(upright(90, 10))] * 2,
        [image(upright(90, 10))] * 4,
        [quarantined(Reason.EMPTY, ""), *[image(upright(90, 10))] * 3],
        [],
    ],
)
def test_texts_of_other_images_are_refused(others: Sequence[Outcome], tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "labels", [image(upright(90, 10))] * 3)
    shard.path.write_bytes(write_shard(tmp_path / "others", others).path.read_bytes())
    with pytest.raises(OvocrError, match="ocr/00000.parquet: does not list the images of .*records/00000.parquet"):
        measure_legibility(shard)


@pytest.mark.parametrize("line", [-1, 1, 2**31 - 1])
def test_tag_in_a_line_that_the_image_lacks_is_refused(line: int, tmp_path: Path) -> None:
    good = image(upright(90, 10))
    wrong = Outcome(**{**vars(good), "places": [Place(0, 0, good.lines[0].box), Place(1, line, good.lines[0].box)]})
    shard = write_shard(tmp_path, [good, quarantined(Reason.EMPTY, ""), wrong, good])
    message = rf"records/00000.parquet: row 2 \(2.jpg\) is invalid: a tag in line {line} of 1; restore the file"
    with pytest.raises(OvocrError, match=message):
        measure_legibility(shard)


@pytest.mark.parametrize(
    ("size", "box", "message"),
    [
        ((0, 0), upright(90, 10), "an image has a width or a height of 0"),
        ((448, 448), (math.nan,) * 8, "the box of a line is not finite"),
        ((448, 448), (*upright(90, 10)[:7], math.inf), "the box of a line is not finite"),
    ],
)
def test_impossible_sizes_are_refused(size: tuple[int, int], box: Box, message: str, tmp_path: Path) -> None:
    shard = write_shard(tmp_path, [image(box, size=size)])
    with pytest.raises(OvocrError, match=f"ocr/00000.parquet: cannot be read: {message}; restore the file"):
        measure_legibility(shard)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_box_of_a_tag_that_is_not_finite_is_refused(value: float, tmp_path: Path) -> None:
    good = image(upright(90, 10))
    wrong = Outcome(**{**vars(good), "places": [Place(0, 0, (*upright(90, 10)[:7], value))]})
    shard = write_shard(tmp_path, [good, wrong])
    message = "records/00000.parquet: cannot be read: the box of a tag is not finite; restore the file"
    with pytest.raises(OvocrError, match=message):
        measure_legibility(shard)


def count_independently(root: Path) -> tuple[int, list[float]]:
    """Returns the number of ok images, and for each tag its height as a share of the longer side of its image."""
    images, heights = 0, []
    for path in sorted(root.glob("records/*.parquet")):
        texts = {text["key"]: text for text in pq.read_table(root / "ocr" / path.name).to_pylist()}
        for row in pq.read_table(path).to_pylist():
            if row["status"] == "ok":
                images += 1
                text = texts[row["key"]]
                largest: dict[int, float] = {}
                for tag in row["tags"]:
                    corners = np.round(text["lines"][tag["line"]]["box"], 2).reshape(4, 2).tolist()
                    across = max(math.dist(corners[0], corners[1]), math.dist(corners[3], corners[2]))
                    down = max(math.dist(corners[0], corners[3]), math.dist(corners[1], corners[2]))
                    height = across if int(down) / max(1, int(across)) >= 1.5 else down
                    largest[tag["id"]] = max(largest.get(tag["id"], 0.0), height)
                heights += [height / max(text["width"], text["height"]) for height in largest.values()]
    return images, heights


def test_real_receipts_match_an_independent_count(shared_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "receipts"
    source.mkdir()
    for path in sorted((shared_data / "receipts").glob("*.jpg"))[:3]:
        (source / path.name).symlink_to(path)
    root = tmp_path / "labels"
    totals = build_labels(BuildOptions(sources=(str(source),), out=root, shard_size=2), progress=False)
    images, heights = count_independently(root)
    found = Legibility.sum(measure_legibility(TextShard(root, number)) for number in range(2))
    assert images == found.images == 3
    assert len(heights) == found.tags == totals.counts["tags"] > 100
    for row in found.by_size:
        own = [row.image_size * height for height in heights]
        assert row.median_height == pytest.approx(median(own), abs=0.05)
        assert row.legible == {least: sum(height >= least - 1e-9 for height in own) for least in TEXT_HEIGHTS}
    assert found.tags_of_unknown_height == 0

"""Tags in crops are counted as plain Python counts them, and as a training run shows them."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ovocr.base.errors import OvocrError
from ovocr.dataset import tables
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Box, Line, whole_image
from ovocr.dataset.manifest import ShardEntry
from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.text import TextShard
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.heads import OcrHeadConfig
from ovocr.trainer.data.records import RecordSamples
from ovocr.views.crop_legibility import CropCounts
from ovocr.views.legibility import IMAGE_SIZES, TEXT_HEIGHTS, measure_legibility
from ovocr.views.text_crops import RECOMMENDED_HEIGHTS, RangeSchedule, TextCrops
from ovocr.views.view import ImagePlaces, View, whole_view
from tests.trainer.placed_words import BOXES, encoded, flat, painted, write_placed

MOST = 100
CROPS = TextCrops(share=1.0, heights=RangeSchedule(end=(12.0, 48.0)), max_upscale=2.0, seed=0)
SIZES = [(448, 300), (1000, 700), (300, 1200), (120, 80)]
Rectangle = tuple[int, int, int, int]


def corners(rectangle: Rectangle) -> Box:
    left, top, right, bottom = map(float, rectangle)
    return (left, top, right, top, right, bottom, left, bottom)


def ok(size: tuple[int, int], words: Sequence[tuple[int, Rectangle]], has_boxes: bool = True) -> Outcome:
    """Returns an image with a line for each word. words: class ids and boxes. has_boxes: whether lines have boxes."""
    boxes = [corners(box) if has_boxes else whole_image(*size) for _, box in words]
    return Outcome(
        status=Status.OK,
        jpeg=b"j",
        width=size[0],
        height=size[1],
        lines=[Line("ab", 0.9, box, (0.0, 0.5, 1.0) if has_boxes else ()) for box in boxes],
        places=[Place(tag, line, boxes[line]) for line, (tag, _) in enumerate(words)],
        slots=[words[0][0]],
    )


def random_images(count: int) -> tuple[list[Outcome], list[tuple[tuple[int, int], list[tuple[int, Rectangle]]]]]:
    """Returns outcomes of a shard, and size and words of its ok images. Every tenth ok image has no boxes."""
    random = np.random.default_rng(count)
    outcomes: list[Outcome] = []
    images: list[tuple[tuple[int, int], list[tuple[int, Rectangle]]]] = []
    while len(images) < count:
        if random.random() < 0.3:
            outcomes.append(quarantined(Reason.EMPTY, ""))
            continue
        size = SIZES[random.integers(len(SIZES))]
        words = []
        for _ in range(random.integers(1, 12)):
            height = int(random.integers(3, 30))
            width = int(random.integers(height + 1, 100))
            left, top = int(random.integers(0, size[0] - width)), int(random.integers(0, size[1] - height))
            words.append((int(random.integers(0, 6)), (left, top, left + width, top + height)))
        has_boxes = len(images) % 10 != 9
        if not has_boxes:
            words = [*words, words[0]]  # several lines, or the only one would be as high as the image
        outcomes.append(ok(size, words, has_boxes))
        images.append((size, words if has_boxes else []))
    return outcomes, images


def write_shard(root: Path, outcomes: Sequence[Outcome], number: int = 0) -> TextShard:
    with ShardWriter(LabelledDataSet(root), number, ShardEntry(source="x.tar", kind="tar")) as writer:
        for position, outcome in enumerate(outcomes):
            writer.add(f"{position}.jpg", outcome)
    return TextShard(root, number)


def views_of(size: tuple[int, int], words: Sequence[tuple[int, Rectangle]], side: int, position: int) -> Iterator[View]:
    places = ImagePlaces(
        np.array([tag for tag, _ in words], np.int32),
        np.array([corners(box) for _, box in words], np.int16).reshape(-1, 8),
        np.array([bottom - top for _, (_, top, _, bottom) in words], np.float32),
    )
    return chain(CROPS.draw(*size, side, position, places), [whole_view(*size, side)])


def heights_in(view: View, words: Sequence[tuple[int, Rectangle]]) -> dict[int, float]:
    """Returns the largest text height of each tag that a view shows, in pixels of the input."""
    largest: dict[int, float] = {}
    for tag, (left, top, right, bottom) in words:
        across = min(right, view.crop.right) - max(left, view.crop.left)
        down = min(bottom, view.crop.bottom) - max(top, view.crop.top)
        if max(0, across) * max(0, down) >= 0.8 * (right - left) * (bottom - top):
            largest[tag] = max(largest.get(tag, 0.0), (bottom - top) * view.scale)
    return largest


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("count", [1, 100, 101, 230])
def test_counts_match_an_independent_count(count: int, number: int, tmp_path: Path) -> None:
    outcomes, images = random_images(count)
    measured = {math.ceil(part * count / MOST) - 1 for part in range(1, MOST + 1)} if count > MOST else range(count)
    assert len(measured) == min(count, MOST)
    shown: Counter[int] = Counter()
    legible: Counter[tuple[int, int]] = Counter()
    for index in measured:
        size, words = images[index]
        for side in IMAGE_SIZES:
            views = views_of(size, words, side, number * 2**32 + index)
            tags: dict[int, float] = {}
            for view in views:
                tags = heights_in(view, words)
                if any(height >= 8 for height in tags.values()):
                    break
            shown[side] += len(tags)
            for least in TEXT_HEIGHTS:
                legible[side, least] += sum(height >= least for height in tags.values())
    found = measure_legibility(write_shard(tmp_path, outcomes, number)).crops
    assert found == CropCounts(images=min(count, MOST), shown=shown, legible=legible)
    assert count == 1 or 0 < legible[224, 12] < legible[224, 8] < shown[224] < shown[896]


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_counts_do_not_depend_on_the_batches(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_shard(tmp_path, random_images(310)[0])
    before = measure_legibility(shard)
    assert measure_legibility(shard) == before
    monkeypatch.setattr(tables, "_BATCH_ROWS", rows)
    assert measure_legibility(shard) == before


def test_shards_and_images_have_crops_of_their_own(tmp_path: Path) -> None:
    """The same image a hundred times, in two shards."""
    image = ok((1000, 700), [(tag, (90 * tag, 60 * tag, 90 * tag + 80, 60 * tag + 12)) for tag in range(10)])
    first, second = (measure_legibility(write_shard(tmp_path, [image] * 100, number)).crops for number in range(2))
    assert first.shown[448] % 100 != 0
    assert first != second
    total = first + second
    assert (total.images, total.shown[448]) == (200, first.shown[448] + second.shown[448])
    assert total.legible[448, 10] == first.legible[448, 10] + second.legible[448, 10]


def test_samples_of_a_training_run_show_the_same_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record ids of shard 0 are the positions of the draws. Some of the words are turned."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    boxes = [flat(box) for box in BOXES]
    small = [[value / 4 for value in box] for box in boxes]
    records = [(encoded(painted()), [0, 1, 2, 3, 4], small if number % 3 else boxes) for number in range(40)]
    root = write_placed(tmp_path / "set", records)
    found = {row.image_size: row.crops for row in measure_legibility(TextShard(root, 0)).by_size}
    for side in IMAGE_SIZES:
        samples = RecordSamples(
            [root], labels_stored=5, num_classes=9, image_size=side, crops=CROPS, min_visible=0.8, min_text_height=8.0
        )
        heights = np.concatenate([samples.shown_tags(index, index).heights for index in range(40)])
        assert found[side].images == 40
        assert found[side].shown == len(heights)
        assert list(found[side].legible.values()) == [int((heights >= least).sum()) for least in TEXT_HEIGHTS]
    assert found[224].shown < found[448].shown


def test_image_without_a_legible_crop_is_counted_whole(tmp_path: Path) -> None:
    """A line of 3 pixels cannot get 8 by doubling it. The whole image, 100 pixels wide, is enlarged more."""
    found = measure_legibility(write_shard(tmp_path, [ok((100, 60), [(1, (10, 10, 60, 13)), (2, (10, 40, 60, 43))])]))
    for row in found.by_size:
        assert row.crops.shown == 2
        assert row.crops.legible == row.legible
    assert [row.crops.legible[12] for row in found.by_size] == [0, 0, 2, 2, 2]


def test_figures_at_a_size() -> None:
    counts = CropCounts(images=4, shown=Counter({448: 10}), legible=Counter({(448, 8): 9, (448, 10): 5}))
    assert counts.at(448, TEXT_HEIGHTS).to_json() == {
        "images": 4,
        "tags_shown": 10,
        "legible": {"8": 9, "10": 5, "12": 0},
        "legible_share": {"8": 0.9, "10": 0.5, "12": 0.0},
        "legible_per_image": {"8": 2.25, "10": 1.25, "12": 0.0},
    }
    assert counts.at(448, TEXT_HEIGHTS).shown_per_image == 2.5
    assert counts.has_tags
    assert not CropCounts(images=4).has_tags
    nothing = CropCounts().at(224, TEXT_HEIGHTS)
    assert nothing.shares == nothing.per_image == dict.fromkeys(TEXT_HEIGHTS, 0.0)
    assert nothing.shown_per_image == 0.0


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{}")])
def test_error_names_damaged_statistics(damage: Callable[[Path], object], tmp_path: Path) -> None:
    shard = write_shard(tmp_path, random_images(3)[0])
    damage(LabelledDataSet(tmp_path).stats_path(0))
    with pytest.raises(OvocrError, match=r"stats/00000\.json: ") as caught:
        measure_legibility(shard)
    assert "\n" not in str(caught.value)


def test_crops_are_those_of_the_recommended_configuration() -> None:
    head = load_config(Path(__file__).parents[2] / "configs" / "stage2.toml", check_paths=False).heads["ocr"]
    assert isinstance(head, OcrHeadConfig)
    assert head.crop_text_height in (None, RECOMMENDED_HEIGHTS)
    assert (head.max_upscale, head.crop_min_visible) == (2.0, 0.8)


def test_neither_opencv_nor_torch_is_needed() -> None:
    code = "import ovocr.views.legibility, sys; print(sorted({'cv2', 'torch', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""Positives, ignored tags and negatives of samples, on images with words of known places and sizes."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.images import GROUND_RGB
from ovocr.trainer.data.loader import Batch, build_loader
from ovocr.trainer.data.mixing import ShuffledList
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.data.samples import NoLegibleTagError, Sample
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.views.random_crops import RandomCrops
from ovocr.views.text_crops import RangeSchedule, TextCrops
from ovocr.views.view import Crop, View
from tests.trainer.placed_words import encoded, write_placed

SIZE, WIDTH, HEIGHT = 64, 400, 300
CLASSES = 40
# Class id, left, top, width and height of each word, in pixels. Words 2 and 7 have a second, larger place.
WORDS = [
    (0, 10, 10, 80, 40),
    (1, 200, 20, 60, 12),
    (2, 20, 100, 50, 9),
    (3, 300, 40, 90, 30),
    (4, 150, 150, 100, 20),
    (5, 30, 250, 40, 24),
    (6, 300, 200, 50, 15),
    (7, 120, 260, 30, 8),
]
AGAIN = [(2, 250, 240, 100, 45), (7, 200, 80, 40, 18)]
LEAST = 5.0
TEXT_CROPS = TextCrops(
    share=0.9,
    heights=RangeSchedule(end=(6, 12), start=(12, 30), steps=20, samples_per_step=12),
    max_upscale=2.0,
    seed=11,
)
RANDOM_CROPS = RandomCrops(share=0.9, scale=(0.1, 0.6), ratio=(0.75, 4 / 3), seed=11)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def corners(x: int, y: int, width: int, height: int) -> list[float]:
    return [float(value) for value in (x, y, x + width, y, x + width, y + height, x, y + height)]


def colour(word: int) -> tuple[int, int, int]:
    return (20 + 25 * word, 230 - 25 * word, 60 + 90 * (word % 3))


def image(offset: int = 0) -> NDArray[np.uint8]:
    """Returns a white image, the words as rectangles of their colours."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255 - offset, np.uint8)
    for word, x, y, width, height in (*WORDS, *AGAIN):
        cv2.rectangle(pixels, (x, y), (x + width - 1, y + height - 1), colour(word), -1)
    return pixels


def write(root: Path, slots: Sequence[int] = tuple(range(8)), images: int = 1) -> Path:
    """Writes a data set. slots: the first word has to be in a slot; words without a slot keep their places."""
    boxes = {word: corners(*rest) for word, *rest in WORDS}
    records = [
        (encoded(image(number)), list(np.resize(slots, 8)), [boxes[word] for word in dict.fromkeys(slots)])
        for number in range(images)
    ]
    again = [(word, corners(*rest)) for word, *rest in AGAIN]
    again += [(word, box) for word, box in boxes.items() if word not in slots]
    names = [f"word{number}" for number in range(CLASSES)]
    return write_placed(root, records, names, again=again, size=(WIDTH, HEIGHT))


def open_samples(
    root: Path,
    crops: RandomCrops | TextCrops | None = TEXT_CROPS,
    least: float | None = LEAST,
    size: int = SIZE,
) -> RecordSamples:
    return RecordSamples(
        [root],
        labels_stored=8,
        num_classes=CLASSES,
        image_size=size,
        crops=crops,
        min_visible=0.8,
        min_text_height=least,
    )


def expected(samples: RecordSamples, position: int) -> tuple[set[int], set[int], set[int]]:
    """Returns positives, ignored tags and negatives among the words, from the view and the boxes in plain Python."""
    encoded_image, labels = samples[0]
    view = samples.choose_view(0, encoded_image, labels, position).view
    left, top, right, bottom = view.crop
    positives, touched = set(), set()
    for word, x, y, width, height in (*WORDS, *AGAIN):
        across = min(x + width, right) - max(x, left)
        down = min(y + height, bottom) - max(y, top)
        if across > 0 and down > 0:
            touched.add(word)
            if across * down >= 0.8 * width * height and height * view.scale >= LEAST and word in labels:
                positives.add(word)
    return positives, touched - positives, {word for word, *_ in WORDS} - touched


def kinds(sample: Sample) -> tuple[set[int], set[int], set[int]]:
    positives = set(sample.labels.tolist())
    assert sample.ignored is not None
    ignored = set(sample.ignored.tolist())
    assert len(ignored) == len(sample.ignored)
    return positives, ignored, {word for word, *_ in WORDS} - positives - ignored


@pytest.mark.parametrize("crops", [None, RANDOM_CROPS, TEXT_CROPS], ids=["whole", "random", "text"])
def test_tags_are_positives_ignored_or_negatives(tmp_path: Path, crops: RandomCrops | TextCrops | None):
    samples = open_samples(write(tmp_path / "set"), crops)
    seen = [0, 0, 0]
    for position in range(300):
        found = kinds(samples.load(0, position))
        assert found == expected(samples, position)
        seen = [count + len(own) for count, own in zip(seen, found, strict=True)]
    if crops is None:  # a scale of 0.16: 40, 12, 45, 30, 20, 24, 15 and 18 pixels become 6.4, 1.9, 7.2, 4.8 ...
        assert found == ({0, 2}, {1, 3, 4, 5, 6, 7}, set())
    else:
        assert min(seen) > 200, seen


def test_pixels_agree_with_the_kinds(tmp_path: Path):
    """A positive's colour covers at least four fifths of its area in the input, a negative's nothing."""
    samples = open_samples(write(tmp_path / "set"), size=160)
    seen = {"positive": 0, "negative": 0}
    for position in range(150):
        positives, _, negatives = kinds(samples.load(0, position))
        pixels = samples.load(0, position).pixels.astype(int)
        encoded_image, labels = samples[0]
        scale = samples.choose_view(0, encoded_image, labels, position).view.scale
        for word, _, _, width, height in WORDS:
            if word in (2, 7):  # has two places
                continue
            distance = np.abs(pixels - np.array(colour(word))[:, None, None]).max(axis=0)
            share = (distance < 8).sum() / (width * height * scale**2)
            if word in positives:
                assert share > 0.6, (position, word, share)  # blurred edges have other colours
                seen["positive"] += 1
            elif word in negatives:
                assert share < 0.05, (position, word, share)
                seen["negative"] += 1
    assert min(seen.values()) > 100


def test_text_crop_is_not_letterboxed_to_the_input(tmp_path: Path):
    """Where the scaled image is smaller than the input, the rest is padding; the scale stays the drawn one."""
    crops = replace(TEXT_CROPS, share=1.0, heights=RangeSchedule(end=(6, 6)))
    samples = open_samples(write(tmp_path / "set"), crops, size=320)
    encoded_image, labels = samples[0]
    padded = 0
    for position in range(40):
        view = samples.choose_view(0, encoded_image, labels, position).view
        pixels = samples.load(0, position).pixels
        is_image = (pixels != np.array(GROUND_RGB, np.uint8)[:, None, None]).any(axis=0)
        rows, columns = np.flatnonzero(is_image.any(axis=1)), np.flatnonzero(is_image.any(axis=0))
        crop = view.crop
        assert abs(len(columns) - (crop.right - crop.left) * view.scale) <= 1.5
        assert abs(len(rows) - (crop.bottom - crop.top) * view.scale) <= 1.5
        padded += len(rows) < 318 or len(columns) < 318
    assert padded > 10


def test_shown_tag_without_a_slot_is_ignored(tmp_path: Path):
    """An image with more tags than slots: words 5, 6 and 7 are in it, but not in its labels."""
    samples = open_samples(write(tmp_path / "set", slots=range(5)), crops=None)
    assert kinds(samples.load(0, 0)) == ({0, 2}, {1, 3, 4, 5, 6, 7}, set())
    large = open_samples(tmp_path / "set", crops=None, size=400)
    assert kinds(large.load(0, 0)) == ({0, 1, 2, 3, 4}, {5, 6, 7}, set())


def test_without_a_least_height_nothing_is_ignored(tmp_path: Path):
    root = write(tmp_path / "set")
    samples, tiny = open_samples(root, least=None), open_samples(root, least=1e-9)
    cropped = 0
    for position in range(60):
        sample = samples.load(0, position)
        assert sample.ignored is None
        assert np.array_equal(sample.labels, tiny.load(0, position).labels)
        cropped += set(sample.labels.tolist()) != set(range(8))
    assert cropped > 30


def test_without_a_position_the_image_is_whole_with_all_tags(tmp_path: Path):
    samples = open_samples(write(tmp_path / "set"))
    sample = samples.load(0)
    assert sample.labels.tolist() == list(range(8))
    assert sample.ignored is None
    shown = samples.shown_tags(0)
    assert shown.ids.tolist() == list(range(8))
    heights = np.array([40, 12, 45, 30, 20, 24, 15, 18]) * SIZE / WIDTH
    assert shown.heights.tolist() == pytest.approx(heights.tolist())


def test_shown_tags_of_a_crop(tmp_path: Path):
    samples = open_samples(write(tmp_path / "set", slots=range(5)))
    small = 0
    for position in range(60):
        positives, ignored, _ = expected(samples, position)
        shown = samples.shown_tags(0, position)
        assert positives <= set(shown.ids.tolist()) <= positives | ignored
        large = set(shown.ids[shown.heights >= LEAST].tolist())
        assert large & {0, 1, 2, 3, 4} == positives
        small += len(shown.ids) - len(large)
    assert small > 20


@pytest.mark.parametrize("crops", [TEXT_CROPS, RANDOM_CROPS])
@pytest.mark.parametrize("slots", [range(8), range(5)])
def test_cut_words_are_the_ignored_ones_of_training(
    tmp_path: Path, crops: RandomCrops | TextCrops, slots: Sequence[int]
) -> None:
    """Of any text height: the tags that training ignores without being small, with and without a slot."""
    root = write(tmp_path / "set", slots=slots)
    samples, training = open_samples(root, crops, least=None), open_samples(root, crops, least=1e-9)
    cut = 0
    for position in range(60):
        encoded_image, labels = samples[0]
        view = samples.choose_view(0, encoded_image, labels, position).view
        assert training.choose_view(0, encoded_image, labels, position).view == view
        positives, ignored, _ = expected(training, position)
        for own in (samples, training):
            shown = own.shown_tags(0, position)
            seen, of_cut = set(shown.ids.tolist()), set(shown.cut.tolist())
            assert not seen & of_cut
            assert seen | of_cut == positives | ignored
            assert of_cut == {
                word
                for word in ignored
                if max(share_in(view, *box) for number, *box in (*WORDS, *AGAIN) if number == word) < 0.8
            }
        cut += len(of_cut)
    assert cut > 20
    assert not len(samples.shown_tags(0).cut)


@pytest.mark.parametrize("crops", [TEXT_CROPS, RANDOM_CROPS])
def test_samples_in_another_size_show_the_same(tmp_path: Path, crops: RandomCrops | TextCrops) -> None:
    root = write(tmp_path / "set")
    options = {"labels_stored": 8, "num_classes": CLASSES, "image_size": SIZE, "crops": crops, "min_visible": 0.8}
    samples, large = RecordSamples([root], **options), RecordSamples([root], pixel_size=4 * SIZE, **options)
    for position in (None, *range(40)):
        one, other = samples.load(0, position), large.load(0, position)
        assert one.labels.tolist() == other.labels.tolist()
        assert other.pixels.shape == (3, 4 * SIZE, 4 * SIZE)
        small = cv2.resize(other.pixels.transpose(1, 2, 0), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - one.pixels.transpose(1, 2, 0)).mean() < 8
    other_crops = RecordSamples([root], **{**options, "image_size": 4 * SIZE})
    differ = [not np.array_equal(other_crops.load(0, n).pixels, large.load(0, n).pixels) for n in range(40)]
    assert any(differ) == isinstance(crops, TextCrops)


def share_in(view: View, x: int, y: int, width: int, height: int) -> float:
    left, top, right, bottom = view.crop
    across, down = min(x + width, right) - max(x, left), min(y + height, bottom) - max(y, top)
    return max(0, across) * max(0, down) / (width * height)


def test_a_word_that_also_stands_wholly_in_a_crop_is_not_cut(tmp_path: Path) -> None:
    """A crop of 100 pixels cuts word 0, shows one place of word 1 and cuts another, and shows nothing of word 2."""
    boxes = [corners(80, 10, 40, 20), corners(10, 10, 50, 20), corners(200, 10, 40, 20)]
    root = write_placed(
        tmp_path / "set",
        [(encoded(image()), [0, 1, 2], boxes)],
        [f"word{number}" for number in range(CLASSES)],
        again=[(1, corners(90, 60, 50, 30))],
        size=(WIDTH, HEIGHT),
    )
    samples = RecordSamples([root], labels_stored=3, num_classes=CLASSES, crops=RANDOM_CROPS, min_visible=0.8)
    with pytest.MonkeyPatch.context() as patched:
        view = View(Crop(0, 0, 100, 100), 0.5)
        patched.setattr(samples, "draw_views", lambda *_: iter([view]))
        shown = samples.shown_tags(0, 3)
    assert (shown.ids.tolist(), shown.heights.tolist(), shown.cut.tolist()) == ([1], [10], [0])
    assert not shown.is_whole


def test_unknown_heights_are_ignored(tmp_path: Path):
    """Two lines that were given without a box: the first record has no positive, and no crop."""
    whole = corners(0, 0, WIDTH, HEIGHT)
    names = [f"word{number}" for number in range(CLASSES)]
    root = write_placed(
        tmp_path / "set", [(encoded(image()), [1, 2], [whole, whole])], names, size=(WIDTH, HEIGHT), edges=()
    )
    samples = RecordSamples([root], labels_stored=2, num_classes=CLASSES, crops=TEXT_CROPS, min_text_height=LEAST)
    with pytest.raises(
        NoLegibleTagError, match=r"rec id 0 \(0.png of source.tar\): no tag of known text height, because"
    ):
        samples.load(0, 3)
    with pytest.raises(OvocrError, match=r"^/.*/set: its text was given without boxes$"):
        samples.check_text_heights()
    assert np.isnan(samples.shown_tags(0).heights).all()
    without = RecordSamples([root], labels_stored=2, num_classes=CLASSES, crops=TEXT_CROPS)
    assert without.load(0, 3).labels.tolist() == [1, 2]


def batches(samples: RecordSamples, passes: range, rank: int = 0, world: int = 1, workers: int = 0) -> list[Batch]:
    order = ShuffledList(len(samples), seed=3)
    loader = build_loader(
        samples, order, pass_batch=12, rank=rank, world=world, passes=passes, workers=workers, prefetch=1
    )
    return list(loader)


def rows(batch: Batch) -> list[tuple[bytes, list[int], set[int]]]:
    assert batch.ignored is not None
    return [
        (pixels.numpy().tobytes(), labels.tolist(), set(ignored[ignored >= 0].tolist()))
        for pixels, labels, ignored in zip(batch.pixels, batch.labels, batch.ignored, strict=True)
    ]


def test_ranks_workers_and_a_resume_give_the_same_samples(tmp_path: Path):
    """Over the whole schedule of text heights, which ends at step 20; the resume is in its middle."""
    samples = open_samples(write(tmp_path / "set", images=7))
    alone = [rows(batch) for batch in batches(samples, range(24))]
    assert len({row[0] for batch in alone for row in batch}) > 250
    for world in (2, 3):
        ranks = [batches(samples, range(24), rank, world, workers=rank % 2) for rank in range(world)]
        together = [[row for of_rank in ranks for row in rows(of_rank[number])] for number in range(24)]
        assert together == alone
    assert [rows(batch) for batch in batches(samples, range(11, 24))] == alone[11:]
    assert [rows(batch) for batch in batches(samples, range(11, 24), workers=2)] == alone[11:]
    assert multiprocessing.active_children() == []


def test_padding_of_ignored_tags(tmp_path: Path):
    (batch,) = batches(open_samples(write(tmp_path / "set", images=3)), range(4, 5))
    assert batch.ignored is not None
    counts = (batch.ignored >= 0).sum(1)
    assert batch.ignored.shape == (12, int(counts.max()))
    for row, count in zip(batch.ignored, counts.tolist(), strict=True):
        assert (row[count:] == -1).all()


def test_sample_without_a_legible_tag_is_replaced_and_counted(tmp_path: Path):
    """No word is 20 pixels high in a whole image; some crops show one, the others are replaced alike on all ranks."""
    small = open_samples(write(tmp_path / "set", images=3), crops=None, least=20)
    with pytest.raises(OvocrError) as caught:
        batches(small, range(1))
    assert "500 samples in a row cannot be used, the last one: " in str(caught.value)
    assert str(caught.value).endswith(
        ": no tag with text of at least 20 pixels in the input; lower min_text_height, or use crop_text_height"
    )
    small.check_text_heights()
    cropped = open_samples(tmp_path / "set", replace(RANDOM_CROPS, share=0.5, scale=(0.05, 0.3)), least=12)
    found = batches(cropped, range(6))
    assert sum(batch.illegible for batch in found) > 0
    assert not any(batch.skipped for batch in found)
    ranks = [batches(cropped, range(6), rank, 3) for rank in range(3)]
    for number, batch in enumerate(found):
        assert [row for of_rank in ranks for row in rows(of_rank[number])] == rows(batch)
        assert sum(of_rank[number].illegible for of_rank in ranks) == batch.illegible


@pytest.mark.parametrize("mask_own_tags", [True, False])
@pytest.mark.parametrize("sample_rate", [0.5, 1.0])
def test_ignored_centers_get_no_gradient_from_the_image(tmp_path: Path, mask_own_tags: bool, sample_rate: float):
    """From the .rec to the gradient: one image at a time, so a center's whole gradient comes from it."""
    samples = open_samples(write(tmp_path / "set"))
    head = PartialFC(
        16, CLASSES, labels_per_sample=4, sample_rate=sample_rate, mask_own_tags=mask_own_tags, implementation="torch"
    )
    ignored_rows = negative_rows = 0
    for position in range(40):
        sample = samples.load(0, position)
        assert sample.ignored is not None
        head.zero_grad()
        labels, ignored = torch.from_numpy(sample.labels)[None], torch.from_numpy(sample.ignored)[None]
        head(torch.randn(1, 16, generator=torch.Generator().manual_seed(position)), labels, ignored).backward()
        assert head.weight.grad is not None
        gradient = head.weight.grad.to_dense() if head.weight.grad.is_sparse else head.weight.grad
        _, too_small, cut = kinds(sample)
        assert torch.equal(gradient[sorted(too_small)], torch.zeros(len(too_small), 16))
        ignored_rows += len(too_small)
        negative_rows += int(gradient[sorted(cut)].any(1).sum())
    assert ignored_rows > 20
    assert negative_rows > 40

"""Word AUC and word mAP against plain loops over classes and images: eligibility, bands, groups of classes, intervals.

Cosines are planted: class c of C has the c-th axis as its center, and image n has the coordinates of its cosines, plus
one more that gives all embeddings the same length.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.samples import ShownTags
from ovocr.trainer.measures.bands import FREQUENCY_BANDS, HEIGHT_BANDS
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.measures.word_figures import GroupFigures, WordMeasures
from ovocr.trainer.measures.word_measures import OwnCenters, measure_words
from ovocr.vocab.word_script import script_of
from tests.trainer.measures.brute_force import weighted_ap, weighted_auc

NAN = float("nan")
LOWER_ENDS = dict(zip(HEIGHT_BANDS, [0, 6, 8, 12, 16, 24, 48], strict=False))


def planted(cosines: np.ndarray) -> tuple[torch.Tensor, OwnCenters]:
    """Returns embeddings and centers with these cosines [images, classes], each row shorter than 1."""
    squares = (cosines.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
    assert (squares < 1).all()
    embeddings = torch.from_numpy(np.concatenate([cosines, np.sqrt(1 - squares)], axis=1).astype(np.float32))
    classes = cosines.shape[1]
    return embeddings, OwnCenters(torch.eye(classes, classes + 1), 0, classes)


def tagged(heights: np.ndarray) -> ImageTags:
    """Returns tags of these text heights [images, classes]; a negative height is no tag, NaN an unknown height."""
    has = ~(heights < 0)
    return ImageTags.join((np.flatnonzero(row), own[row]) for row, own in zip(has, heights, strict=True))


def random_heights(images: int, classes: int, seed: int = 0) -> np.ndarray:
    """Returns tags with frequencies from rare to common, with heights in every band, some unknown."""
    random = np.random.default_rng(seed)
    heights = random.choice([3.0, 6, 7.5, 8, 11, 13, 20, 30, 60, NAN], (images, classes))
    return np.where(random.random((images, classes)) < np.linspace(0.02, 0.98, classes), heights, -1)


def in_band(height: float, band: str) -> bool:
    if np.isnan(height) or band == "unknown":
        return bool(np.isnan(height)) and band == "unknown"
    return band == max((name for name, low in LOWER_ENDS.items() if height >= low), key=HEIGHT_BANDS.index)


def loops(
    cosines: np.ndarray, heights: np.ndarray, classes: Sequence[int], is_positive: Callable[[float], bool]
) -> dict[str, Any]:
    """Returns both figures without intervals, computed with loops over classes."""
    values = []
    for class_id in classes:
        own = list(zip(cosines[:, class_id].tolist(), heights[:, class_id].tolist(), strict=True))
        positives = [(cosine, 1.0) for cosine, height in own if not height < 0 and is_positive(height)]
        negatives = [(cosine, 1.0) for cosine, height in own if height < 0]
        if min(len(positives), len(negatives)) >= 5:
            share = len(positives) / (len(positives) + len(negatives))
            values.append((weighted_auc(positives, negatives), weighted_ap(positives, negatives), share))
    auc, ap, chance = np.mean(values, axis=0).tolist() if values else (None, None, None)
    return {
        "word_auc": {"value": auc and pytest.approx(auc), "classes": len(values)},
        "word_map": {
            "value": ap and pytest.approx(ap),
            "classes": len(values),
            "chance": chance and pytest.approx(chance),
        },
    }


def without_intervals(figures: GroupFigures) -> dict[str, Any]:
    return {
        name: {key: value for key, value in figure.items() if key not in ("low", "high")}
        for name, figure in figures.to_json().items()
    }


def measure(cosines: np.ndarray, heights: np.ndarray, **options: Any) -> WordMeasures:
    embeddings, centers = planted(cosines)
    return measure_words(embeddings, tagged(heights), centers, **{"replicates": 20, **options})


@pytest.mark.parametrize("distinct", [None, 4])
@pytest.mark.parametrize("least", [8.0, 11.5, 0.0])
def test_all_figures_match_loops(distinct: int | None, least: float) -> None:
    random = np.random.default_rng(1)
    images, classes = 61, 40
    cosines = (
        random.uniform(-0.1, 0.1, (images, classes))
        if distinct is None
        else np.tile(random.choice([-0.125, 0, 0.0625, 0.125], (distinct, classes)), (16, 1))[:images]
    )
    heights = random_heights(images, classes)
    words = [*(f"word{n}" for n in range(20)), *(f"词{n}" for n in range(15)), *("42",) * 5]
    counts = np.array([0, 1, 5, 50, 500, 5000] * 6)
    found = measure(
        cosines,
        heights,
        min_text_height=least,
        script_of_class=lambda class_id: script_of(words[class_id]),
        class_counts=counts,
    )

    def headline(height: float) -> bool:
        return bool(np.isnan(height)) or height >= least

    every = range(classes)
    assert without_intervals(found.every) == loops(cosines, heights, every, headline)
    assert {name: without_intervals(group) for name, group in found.by_text_height.items()} == {
        band: loops(cosines, heights, every, lambda height, band=band: in_band(height, band)) for band in HEIGHT_BANDS
    }
    scripts = {
        script: loops(cosines, heights, [c for c in every if script_of(words[c]) == script], headline)
        for script in ("Latin", "Han", "other")
    }
    assert {name: without_intervals(group) for name, group in found.by_script.items()} == scripts
    sizes = [group.word_auc.classes for group in found.by_script.values()]
    assert sizes == sorted(sizes, reverse=True)
    by_count = {0: "never", 1: "1", 5: "2-9", 50: "10-99", 500: "100-999", 5000: "1,000+"}
    full = [*counts.tolist(), 0, 0, 0, 0]
    assert {name: without_intervals(group) for name, group in found.by_frequency.items()} == {
        band: loops(cosines, heights, [c for c in every if by_count[full[c]] == band], headline)
        for band in FREQUENCY_BANDS
    }
    assert (found.images, found.groups, found.min_text_height, found.replicates) == (images, images, least, 20)
    by_class = {own.class_id: own for own in found.classes}
    assert list(by_class) == sorted(by_class)
    for class_id in every:
        wanted = loops(cosines, heights, [class_id], headline)
        own = by_class.get(class_id)
        assert wanted["word_auc"]["value"] == (own and own.auc)
        assert wanted["word_map"]["value"] == (own and own.average_precision)
        shown = sum(not height < 0 and headline(height) for height in heights[:, class_id].tolist())
        assert own is None or own.images == shown


def test_classes_need_five_positives_and_five_negatives() -> None:
    heights = np.full((12, 6), -1.0)
    for class_id, positives in enumerate([4, 5, 7, 8, 12, 0]):
        heights[:positives, class_id] = 10
    found = measure(np.random.default_rng(0).uniform(-0.1, 0.1, (12, 6)), heights)
    assert found.every.word_auc.classes == 2  # of 5 and 7 positives; 8 leave 4 negatives
    assert found.every.word_map.chance == pytest.approx((5 / 12 + 7 / 12) / 2)


def test_tags_too_small_are_neither_positive_nor_negative() -> None:
    heights = np.full((20, 1), -1.0)
    heights[:5], heights[5:10], heights[10] = 9, 7, NAN
    cosines = np.full((20, 1), 0.125)
    cosines[:5], cosines[10], cosines[5:10] = 0.25, 0.25, 0.5  # the small ones rank above all
    found = measure(cosines, heights)
    assert (found.every.word_auc.value, found.every.word_map.value) == (1, 1)
    assert found.every.word_map.chance == 6 / 15
    classes = {band: group.word_auc.classes for band, group in found.by_text_height.items()}
    assert classes == {"6-8": 1, "8-12": 1, **dict.fromkeys(("<6", "12-16", "16-24", "24-48", "48+", "unknown"), 0)}
    assert found.by_text_height["6-8"].word_map.chance == 5 / 14
    heights[4] = 7  # now 5 large enough with the unknown one
    assert measure(cosines, heights).every.word_auc.classes == 1
    heights[3] = 7  # now 4
    assert measure(cosines, heights).every.word_auc.value is None


def test_words_that_a_crop_cuts_are_neither_positive_nor_negative() -> None:
    """Two crops each of ten images. Crops that cut the word rank above all others."""
    cosines = np.array([0.25] * 5 + [0.5] * 3 + [0.125] * 10 + [0.375] * 2)[:, None]
    empty, own = np.empty(0, np.int64), np.zeros(1, np.int64)
    shows = ShownTags(own, np.full(1, 9, np.float32), False)
    cuts = ShownTags(empty, np.empty(0, np.float32), False, own)
    lacks = ShownTags(empty, np.empty(0, np.float32), False)
    embeddings, centers = planted(cosines)

    def figures(cut: ShownTags, **options: Any) -> WordMeasures:
        shown = [shows] * 5 + [cut] * 3 + [lacks] * 12
        images_N = np.array([0, 1, 2, 3, 4, 5, 5, 6, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 9])
        return measure_words(
            embeddings, ImageTags.of_samples(shown), centers, images_N=images_N, replicates=20, **options
        )

    # 12 negatives, two of which have a higher cosine than the positives
    found = figures(cuts, min_text_height=0)
    assert found.every == found.by_text_height["8-12"]
    assert found.every.word_auc.value == 10 / 12
    assert found.every.word_map.value == pytest.approx(5 / 7)
    assert found.every.word_map.chance == 5 / 17
    bands = {band: group.word_auc.classes for band, group in found.by_text_height.items()}
    assert bands == {**dict.fromkeys(HEIGHT_BANDS, 0), "8-12": 1}
    assert figures(lacks).every.word_auc.value == 10 / 15
    assert figures(shows).every.word_auc.value == pytest.approx((5 * 10 + 3 * 12) / (8 * 12))


def test_cut_words_do_not_make_a_class_eligible() -> None:
    """Five images with positives and five with negatives are needed; crops that cut the word are neither."""
    empty, own, height = np.empty(0, np.int64), np.zeros(1, np.int64), np.full(1, 9, np.float32)
    shows, lacks = ShownTags(own, height, False), ShownTags(empty, height[:0], False)
    cuts = ShownTags(empty, height[:0], False, own)

    def classes(*shown: ShownTags) -> int:
        embeddings, centers = planted(np.linspace(0, 0.1, len(shown))[:, None])
        of_images = [
            measure_words(embeddings, ImageTags.of_samples(shown), centers, images_N=images_N, replicates=20)
            for images_N in (None, np.arange(len(shown)))
        ]
        assert of_images[0] == of_images[1]
        return of_images[0].every.word_auc.classes

    assert classes(*[shows] * 5, *[lacks] * 5, *[cuts] * 3) == 1
    assert classes(*[shows] * 4, *[lacks] * 9, *[cuts] * 3) == 0
    assert classes(*[shows] * 9, *[lacks] * 4, *[cuts] * 3) == 0


def test_constant_encoder_is_at_chance_exactly() -> None:
    images, classes = 200, 30
    embeddings = torch.randn(1, 67, generator=torch.Generator().manual_seed(0)).repeat(images, 1)
    centers = OwnCenters(torch.randn(classes, 67, generator=torch.Generator().manual_seed(1)), 0, classes)
    found = measure_words(embeddings, tagged(random_heights(images, classes)), centers, replicates=50)
    for group in (found.every, *found.by_text_height.values()):
        assert group.word_auc.classes > 5
        assert (group.word_auc.value, group.word_auc.low, group.word_auc.high) == (0.5, 0.5, 0.5)
        assert group.word_map.value == group.word_map.chance


def test_perfect_encoder_is_1_exactly() -> None:
    heights = random_heights(200, 20)
    found = measure(np.where(heights < 0, 0.0, 0.125), heights)
    for figure in (found.every.word_auc, found.every.word_map):
        assert (figure.value, figure.low, figure.high) == (1, 1, 1)


def test_without_eligible_classes_there_are_no_values() -> None:
    found = measure(np.zeros((8, 3)), np.full((8, 3), -1.0), script_of_class=lambda _: "Han", class_counts=np.ones(3))
    missing = {"value": None, "low": None, "high": None, "classes": 0}
    both = {"word_auc": missing, "word_map": {**missing, "chance": None}}
    assert found.to_json() == {
        **both,
        "by_text_height": dict.fromkeys(HEIGHT_BANDS, both),
        "by_script": {},
        "by_frequency": dict.fromkeys(FREQUENCY_BANDS, both),
    }
    assert measure_words(torch.zeros(0, 4), tagged(np.zeros((0, 3))), OwnCenters(torch.eye(3, 4), 0, 3)).images == 0


def test_groups_of_classes_are_optional() -> None:
    found = measure(np.zeros((20, 3)), random_heights(20, 3))
    assert (found.by_script, found.by_frequency) == ({}, {})


def test_crops_of_few_images_do_not_make_a_class_eligible() -> None:
    """Twelve images with ten crops each; which crops of which images have a class."""
    heights, images_N = np.full((120, 6), -1.0), np.repeat(np.arange(100, 112), 10)
    heights[:40, 0] = 20  # all crops of four images
    heights[:50:10, 1] = 20  # a crop of each of five images
    heights[:80, 2] = 20  # the negatives are from four images
    heights[:79, 3] = 20  # and from five
    heights[:, 4], heights[::10, 4] = 20, -1  # each image has crops with the class and without it
    heights[:50, 5], heights[3, 5], heights[40:50, 5] = 20, 10, 7  # only four images have a height of 8 or more
    cosines = np.random.default_rng(2).uniform(-0.1, 0.1, heights.shape)
    scripts = ("Latin", "Han", "Cyrillic", "Greek", "Thai", "Hangul")
    groups_N = np.arange(120) % 3
    for options in ({}, {"groups_N": groups_N}):
        found = measure(cosines, heights, images_N=images_N, script_of_class=scripts.__getitem__, **options)
        assert set(found.by_script) == {"Han", "Greek", "Thai"}
        assert found.images == 120
        assert found.by_text_height["8-12"].word_auc.classes == found.by_text_height["6-8"].word_auc.classes == 0
    without_images = measure(cosines, heights, script_of_class=scripts.__getitem__)
    assert set(without_images.by_script) == set(scripts)
    for script in ("Han", "Greek", "Thai"):
        assert without_intervals(found.by_script[script]) == without_intervals(without_images.by_script[script])
    own_images = measure(cosines, heights, images_N=np.arange(120), script_of_class=scripts.__getitem__)
    assert own_images == without_images


def test_interval_comes_from_the_replicates_and_the_seed() -> None:
    random = np.random.default_rng(2)
    cosines, heights = random.uniform(-0.1, 0.1, (60, 12)), random_heights(60, 12)
    one, same, other = (measure(cosines, heights, seed=seed, replicates=300) for seed in (1, 1, 2))
    assert one == same
    assert one.every.word_auc.value == other.every.word_auc.value
    assert one.every.word_auc.low != other.every.word_auc.low
    for figure in (one.every.word_auc, one.every.word_map):
        assert figure.low < figure.value < figure.high
    assert one.every.word_auc.low == pytest.approx(other.every.word_auc.low, abs=0.01)


def test_images_of_one_group_have_no_interval() -> None:
    cosines, heights = np.random.default_rng(2).uniform(-0.1, 0.1, (60, 12)), random_heights(60, 12)
    found = measure(cosines, heights, groups_N=np.full(60, 7))
    assert found.groups == 1
    assert found.every.word_auc.value == measure(cosines, heights).every.word_auc.value
    assert {found.every.word_auc.low, found.every.word_map.high} == {None}


def test_wrong_arguments_raise() -> None:
    embeddings, centers = planted(np.zeros((6, 3)))
    tags = tagged(np.ones((6, 3)))
    with pytest.raises(ValueError, match="6 embeddings do not fit 5 images"):
        measure_words(embeddings, tagged(np.ones((5, 3))), centers)
    for numbers in ("images_N", "groups_N"):
        with pytest.raises(ValueError, match="or their groups"):
            measure_words(embeddings, tags, centers, **{numbers: np.zeros(5, np.int64)})
    with pytest.raises(ValueError, match="class ids must be from 0 to 1"):
        measure_words(embeddings, tags, centers._replace(num_classes=2))
    with pytest.raises(ValueError, match="replicates must be at least 2, not 1"):
        measure_words(embeddings, tags, centers, replicates=1)


@pytest.mark.parametrize("value", [NAN, float("inf")])
@pytest.mark.parametrize("place", ["embeddings", "centers"])
def test_diverged_run_raises(place: str, value: float) -> None:
    embeddings, centers = planted(np.zeros((20, 3)))
    (embeddings if place == "embeddings" else centers.weight_CD)[2, 1] = value
    with pytest.raises(OvocrError, match="NaN or infinite: the training run diverged"):
        measure_words(embeddings, tagged(random_heights(20, 3)), centers)

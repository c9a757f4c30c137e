"""How often the 95% interval contains the true figure, over simulated data sets.

The true figure is the mean of the figure over the data sets. Coverage has an error of about 0.011 (400 data sets).
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovocr.trainer.measures import resampling
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.measures.word_measures import OwnCenters, measure_words

DATA_SETS, CLASSES, REPLICATES = 400, 20, 300


class Coverage(NamedTuple):
    """Coverage of word AUC and of word mAP, mean word AUC, and mean width of its interval."""

    auc: float
    ap: float
    mean_auc: float
    width: float


def simulate(
    images: int, separation: float, *, group_size: int = 1, shared: float = 0.0, resample_groups: bool = True
) -> Coverage:
    """Simulates data sets with classes of 8% to 40% of the images.

    separation: how much higher the cosine of a positive is, in standard deviations of the noise. shared: share of the
    variance of cosines and of tags that the images of a group have in common.
    """
    random = np.random.default_rng(0)
    thresholds = np.quantile(random.normal(size=100_000), 1 - np.linspace(0.08, 0.4, CLASSES))
    group = np.arange(images) // group_size

    def noise() -> NDArray[np.float64]:
        own, common = random.normal(size=(2, images, CLASSES))
        return np.sqrt(1 - shared) * own + np.sqrt(shared) * common[group]

    found = []
    for _ in range(DATA_SETS):
        has = noise() > thresholds
        # The noise of an image is partly the same for all classes, as for a photo that is hard to read.
        cosines = noise() + separation * has + 0.5 * random.normal(size=(images, 1))
        lengths = np.full((images, 1), 100.0)
        embeddings = np.concatenate([cosines, np.sqrt(lengths**2 - (cosines**2).sum(axis=1, keepdims=True))], axis=1)
        tags = ImageTags.join((np.flatnonzero(row), np.full(row.sum(), np.nan)) for row in has)
        measures = measure_words(
            torch.from_numpy(embeddings.astype(np.float32)),
            tags,
            OwnCenters(torch.eye(CLASSES, CLASSES + 1), 0, CLASSES),
            groups_N=group if resample_groups else None,
            replicates=REPLICATES,
        )
        found.append(
            [[figure.value, figure.low, figure.high] for figure in (measures.every.word_auc, measures.every.word_map)]
        )
    values, low, high = np.moveaxis(np.array(found, np.float64), 2, 0)
    truth = values.mean(axis=0)
    covered = ((low <= truth) & (truth <= high)).mean(axis=0)
    return Coverage(*covered.tolist(), float(truth[0]), float((high - low)[:, 0].mean()))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # several threads are slower on matrices of this size


def assert_covers(found: Coverage) -> None:
    assert 0.9 <= found.auc <= 0.99
    assert 0.9 <= found.ap <= 0.99


@pytest.mark.parametrize(("images", "separation"), [(40, 1.0), (80, 0.0), (80, 2.5)])
def test_interval_over_images_covers(images: int, separation: float) -> None:
    found = simulate(images, separation)
    assert_covers(found)
    # Cosines of positives and negatives are normal, with the same variance.
    expected = float(torch.distributions.Normal(0, 1).cdf(torch.tensor(separation / np.sqrt(2 * 1.25))))
    assert found.mean_auc == pytest.approx(expected, abs=0.01)


def test_interval_over_blocks_of_images_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    every = simulate(120, 1.0)
    monkeypatch.setattr(resampling, "MAX_BLOCKS", 50)
    blocks = simulate(120, 1.0)
    assert_covers(every)
    assert_covers(blocks)
    assert blocks.width == pytest.approx(every.width, rel=0.08)


def test_interval_over_groups_covers_where_an_interval_over_images_is_too_narrow() -> None:
    over_groups, over_images = (
        simulate(160, 1.0, group_size=8, shared=0.6, resample_groups=resample) for resample in (True, False)
    )
    assert_covers(over_groups)
    assert over_images.auc < 0.85
    assert over_images.ap < 0.85
    assert over_images.width < 0.85 * over_groups.width


def test_interval_over_few_groups_covers() -> None:
    assert_covers(simulate(80, 1.0, group_size=10, shared=0.4))

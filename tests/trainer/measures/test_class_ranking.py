"""AUC and AP of single classes against plain loops, in the data and in every replicate."""

import numpy as np
import pytest

from ovocr.trainer.measures import class_ranking
from ovocr.trainer.measures.class_ranking import ClassCosines, SetFigures, rank_classes
from ovocr.trainer.measures.resampling import Resampling
from tests.trainer.measures.brute_force import weighted_ap, weighted_auc

IMAGES, REPLICATES = 40, 25


def random_class(seed: int, *, distinct: int | None = None, images: int = IMAGES) -> ClassCosines:
    """Returns a class with 60% of the images and three sets, with ``distinct`` different cosines if it is given."""
    random = np.random.default_rng(seed)
    cosines = random.normal(size=images) if distinct is None else random.integers(0, distinct, images)
    own = np.flatnonzero(random.random(images) < 0.6)
    sets = random.random((3, len(own))) < np.array([[0.8], [0.3], [0.15]])
    sets[:, 0] = True
    return ClassCosines(cosines.astype(np.float32), own, sets)


def assert_matches_loops(own: ClassCosines, found: list[SetFigures], resampling: Resampling) -> None:
    negatives = [n for n in range(len(own.cosines_N)) if n not in set(own.images_P.tolist())]
    for members, figures in zip(own.sets_SP, found, strict=True):
        positives = own.images_P[members].tolist()
        value = [[(float(own.cosines_N[n]), 1.0) for n in images] for images in (positives, negatives)]
        assert figures.auc == pytest.approx(weighted_auc(*value), rel=1e-12)
        assert figures.ap == pytest.approx(weighted_ap(*value), rel=1e-12)
        assert figures.chance == len(positives) / (len(positives) + len(negatives))
        for replicate in range(resampling.weights_GR.shape[1]):
            weight = resampling.weights_GR[resampling.blocks_N, replicate]
            drawn = [[(float(own.cosines_N[n]), float(weight[n])) for n in images] for images in (positives, negatives)]
            auc, ap = weighted_auc(*drawn), weighted_ap(*drawn)
            assert figures.is_defined_R[replicate] == (auc is not None)
            assert figures.replicate_auc_R[replicate] == pytest.approx(auc or 0.0, rel=1e-5)
            assert figures.replicate_ap_R[replicate] == pytest.approx(ap or 0.0, rel=1e-5)


@pytest.mark.parametrize("groups", [None, 3, 12])
@pytest.mark.parametrize("distinct", [None, 25, 6, 2])
def test_figures_match_loops(distinct: int | None, groups: int | None) -> None:
    of_image = None if groups is None else np.random.default_rng(9).integers(0, groups, IMAGES)
    resampling = Resampling.draw(IMAGES, of_image, REPLICATES, seed=1)
    classes = [random_class(seed, distinct=distinct) for seed in range(4)]
    found = list(rank_classes(classes, resampling))
    for own, figures in zip(classes, found, strict=True):
        assert_matches_loops(own, figures, resampling)
    if groups == 3:  # some replicates have no positive
        assert not all(figure.is_defined_R.all() for figures in found for figure in figures)


def test_batches_of_classes_do_not_change_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    resampling = Resampling.draw(IMAGES, None, REPLICATES, seed=1)
    classes = [random_class(seed, distinct=(9 if seed % 2 else None)) for seed in range(9)]
    every = list(rank_classes(classes, resampling))
    monkeypatch.setattr(class_ranking, "_ROWS", 1)
    for one, other in zip(every, rank_classes(classes, resampling), strict=True):
        for figure, same in zip(one, other, strict=True):
            assert figure[:3] == same[:3]
            for values, others in zip(figure[3:], same[3:], strict=True):
                assert values.tolist() == others.tolist()
    assert list(rank_classes([], resampling)) == []


def test_a_constant_is_chance_exactly() -> None:
    own = random_class(0, images=333)._replace(cosines_N=np.full(333, np.float32(0.1)))
    for figures in next(rank_classes([own], Resampling.draw(333, None, 200, seed=0))):
        assert figures.auc == 0.5
        assert figures.ap == figures.chance
        assert set(figures.replicate_auc_R[figures.is_defined_R].tolist()) == {0.5}


def test_a_perfect_answer_is_1_exactly() -> None:
    own = random_class(0, images=333)
    own.cosines_N[own.images_P] += 100
    for figures in next(rank_classes([own], Resampling.draw(333, None, 200, seed=0))):
        assert (figures.auc, figures.ap) == (1, 1)
        assert set(figures.replicate_auc_R[figures.is_defined_R].tolist()) == {1}
        assert set(figures.replicate_ap_R[figures.is_defined_R].tolist()) == {1}


@pytest.mark.parametrize("distinct", [None, 40, 3])
def test_merged_levels_are_close(distinct: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    own = random_class(3, images=2000, distinct=distinct)
    own.cosines_N[own.images_P] += 1
    resampling = Resampling.draw(2000, None, 50, seed=2)
    monkeypatch.setattr(class_ranking, "MAX_LEVELS", 10**6)
    exact = next(rank_classes([own], resampling))
    monkeypatch.setattr(class_ranking, "MAX_LEVELS", 100)
    merged = next(rank_classes([own], resampling))
    for one, other in zip(exact, merged, strict=True):
        assert one[:3] == other[:3]
        for exactly, nearly in zip(one[3:5], other[3:5], strict=True):
            assert abs(nearly - exactly).max() < 0.02  # moved
            assert (nearly - exactly).std() < 0.1 * exactly.std()  # but as wide
    if distinct == 3:  # ties stay one level
        assert exact[0].replicate_ap_R.tolist() == merged[0].replicate_ap_R.tolist()


def test_merged_levels_match_loops_with_their_cosines_tied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_ranking, "MAX_LEVELS", 4)
    own = random_class(5)._replace(sets_SP=np.ones((1, len(random_class(5).images_P)), np.bool_))
    resampling = Resampling.draw(IMAGES, None, REPLICATES, seed=1)
    (found,) = next(rank_classes([own], resampling))
    order = own.images_P[np.argsort(own.cosines_N[own.images_P])]
    tied = own.cosines_N.copy()
    for first, last in zip(
        *(
            np.searchsorted(np.arange(len(order)) * 4 // len(order), range(4), side) - shift
            for side, shift in (("left", 0), ("right", 1))
        ),
        strict=True,
    ):
        low, high = own.cosines_N[order[[first, last]]]
        tied[(own.cosines_N >= low) & (own.cosines_N <= high)] = low
    assert len(set(tied[own.images_P].tolist())) == 4
    ((expected,),) = rank_classes([own._replace(cosines_N=tied)], resampling)
    assert found.replicate_auc_R == pytest.approx(expected.replicate_auc_R, rel=1e-5)
    assert found.replicate_ap_R == pytest.approx(expected.replicate_ap_R, rel=1e-5)

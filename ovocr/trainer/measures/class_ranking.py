"""AUC and average precision of classes: how well a class's cosine separates the images that have it from the others.

    AUC of S = mean over p in S of (negatives with a lower cosine + half of those with the same one) / negatives
    AP of S  = mean over p in S of a / (a + b),  a, b = number of S, of negatives with a cosine of at least p's

S is a set of positives, such as those with a text height in a band. All sets of a class have the same negatives. The
figures are exact. In a replicate of the bootstrap, every image counts as often as its weight says. Both figures then
follow from the weights of the negatives below each level; a level is a distinct cosine of the positives. Neighbours of
more than 512 levels are merged for the replicates: the cosines of a merged level count as equal in the AUC, and as its
lowest one in the AP.

Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve" (Radiology, 1982) for the AUC as the
    share of ordered pairs.

Shapes: N images, P images with a class, S sets, T levels, L merged levels, G blocks, R replicates, M rows of counts.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ovocr.trainer.measures.full_precision import full_precision
from ovocr.trainer.measures.resampling import Resampling

MAX_LEVELS = 512
# Rows of counts that are multiplied by the weights at a time. Small products are slow on several cores.
_ROWS = 1024

_Floats = NDArray[np.float32]
_Integers = NDArray[np.int64]
_Booleans = NDArray[np.bool_]


class ClassCosines(NamedTuple):
    """The cosines of a class, and sets of its positives.

    cosines_N: float32, finite. images_P: int64, the images with the class; all others are negatives, at least one.
    sets_SP: bool, the positives of each set among these images, at least one.
    """

    cosines_N: _Floats
    images_P: _Integers
    sets_SP: _Booleans


class SetFigures(NamedTuple):
    """The figures of a set of positives.

    auc, ap: the values. chance: the AP of a constant cosine, which is the share of positives.
    replicate_auc_R, replicate_ap_R: the values in the replicates; 0 where they are undefined.
    is_defined_R: True in the replicates with a positive and a negative.
    """

    auc: float
    ap: float
    chance: float
    replicate_auc_R: NDArray[np.float64]
    replicate_ap_R: NDArray[np.float64]
    is_defined_R: _Booleans


def rank_classes(classes: Iterable[ClassCosines], resampling: Resampling) -> Iterator[list[SetFigures]]:
    """Yields the figures of each set of each class; holds a few classes at a time."""
    waiting: list[_RankedClass] = []
    for each in classes:
        waiting.append(_rank(each, resampling))
        if sum(len(ranked.rows_MG) for ranked in waiting) >= _ROWS:
            yield from _all_figures(waiting, resampling)
            waiting = []
    yield from _all_figures(waiting, resampling)


class _RankedClass(NamedTuple):
    """A class whose negatives were ranked among the levels of its positives.

    sets_SU, level_U, block_U: the sets, levels and blocks of the positives in any set. negatives: their number.
    below_T, tied_T: int64, number of negatives below each level, and at it.
    merged_T: int64, the merged level of each level, ascending.
    rows_MG: float32, numbers of negatives by block: in a row for each merged level those below it; if any negatives are
        between the lowest and the highest cosine of a merged level, half of them in another row for each; then all.
    """

    sets_SU: _Booleans
    level_U: _Integers
    block_U: _Integers
    negatives: int
    below_T: _Integers
    tied_T: _Integers
    merged_T: _Integers
    rows_MG: _Floats


def _rank(own: ClassCosines, resampling: Resampling) -> _RankedClass:
    is_used = own.sets_SP.any(axis=0)
    used_U = own.images_P[is_used]
    levels_T, level_U = np.unique(own.cosines_N[used_U], return_inverse=True)
    is_negative = np.ones(len(own.cosines_N), np.bool_)
    is_negative[own.images_P] = False
    cosines = own.cosines_N[is_negative]
    order = np.argsort(cosines)
    blocks, ascending = resampling.blocks_N[is_negative][order], cosines[order]
    below_T, at_most_T = (np.searchsorted(ascending, levels_T, side) for side in ("left", "right"))
    merged_T, first_L, last_L = _merge_levels(np.bincount(level_U))
    num_blocks = len(resampling.weights_GR)
    rows = [_count_parts(blocks, below_T[first_L], num_blocks)[:-1].cumsum(axis=0)]
    starts_L, ends_L = below_T[first_L], at_most_T[last_L]
    if (ends_L > starts_L).any():
        edges = np.stack([starts_L, ends_L], axis=1).ravel()
        rows.append(_count_parts(blocks, edges, num_blocks)[1::2] / 2)
    rows.append(np.bincount(blocks, minlength=num_blocks)[None])
    return _RankedClass(
        sets_SU=own.sets_SP[:, is_used],
        level_U=level_U,
        block_U=resampling.blocks_N[used_U],
        negatives=len(cosines),
        below_T=below_T,
        tied_T=at_most_T - below_T,
        merged_T=merged_T,
        rows_MG=np.concatenate(rows).astype(np.float32),
    )


def _merge_levels(counts_T: _Integers) -> tuple[_Integers, _Integers, _Integers]:
    """Returns the merged level of each level, and the first and the last level of each merged level.

    counts_T: number of positives at each level. Merged levels have about the same number of positives each.
    """
    merged_T = np.arange(len(counts_T))
    if len(counts_T) > MAX_LEVELS:
        positives_before_T = counts_T.cumsum() - counts_T
        _, merged_T = np.unique(positives_before_T * MAX_LEVELS // counts_T.sum(), return_inverse=True)
    levels = np.arange(merged_T[-1] + 1)
    return merged_T, np.searchsorted(merged_T, levels), np.searchsorted(merged_T, levels, side="right") - 1


def _count_parts(blocks: _Integers, edges: _Integers, num_blocks: int) -> _Integers:
    """Returns how often each block occurs before the first edge, between edges, and after the last: [edges + 1, G]."""
    sizes = np.diff(edges, prepend=0, append=len(blocks))
    parts = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.bincount(parts * num_blocks + blocks, minlength=len(sizes) * num_blocks)
    return counts.reshape(len(sizes), num_blocks)


def _all_figures(classes: list[_RankedClass], resampling: Resampling) -> Iterator[list[SetFigures]]:
    if not classes:
        return
    products_MR = _weigh(np.concatenate([ranked.rows_MG for ranked in classes]), resampling)
    ends = np.cumsum([len(ranked.rows_MG) for ranked in classes])
    for ranked, own_MR in zip(classes, np.split(products_MR, ends[:-1]), strict=True):
        yield [_figures(ranked, own_MR, is_member_U, resampling) for is_member_U in ranked.sets_SU]


def _weigh(counts_MG: _Floats, resampling: Resampling) -> _Floats:
    """Returns weighted counts in each replicate, [M, R]. Counts are integers or halves, so the products are exact."""
    with full_precision(torch.device("cpu")):
        products: _Floats = (torch.from_numpy(counts_MG) @ torch.from_numpy(resampling.weights_GR)).numpy()
    return products


def _figures(ranked: _RankedClass, own_MR: _Floats, is_member_U: _Booleans, resampling: Resampling) -> SetFigures:
    level, block = ranked.level_U[is_member_U], ranked.block_U[is_member_U]
    positives, negatives = len(level), ranked.negatives
    counts_T = np.bincount(level, minlength=len(ranked.below_T))
    pairs = int((counts_T * (2 * ranked.below_T + ranked.tied_T)).sum())  # twice the number of ordered pairs
    used_T = np.flatnonzero(counts_T)
    counts, at_least = counts_T[used_T], counts_T[used_T][::-1].cumsum()[::-1]
    precision = at_least / (at_least + negatives - ranked.below_T[used_T])
    # Recall rises at each level by its share of the positives. The AP of a single level is its precision, unrounded.
    ap = float(precision[0] if len(precision) == 1 else (counts * precision).sum() / positives)
    replicates = _replicates(ranked, own_MR, level, block, resampling)
    return SetFigures(pairs / (2 * positives * negatives), ap, positives / (positives + negatives), *replicates)


def _replicates(
    ranked: _RankedClass, own_MR: _Floats, level: _Integers, block: _Integers, resampling: Resampling
) -> tuple[NDArray[np.float64], NDArray[np.float64], _Booleans]:
    """Returns AUC, AP and whether they are defined, in all replicates, of positives at these levels and blocks."""
    used, row = np.unique(ranked.merged_T[level], return_inverse=True)
    if len(used) == len(row):
        weight = resampling.weights_GR[block[np.argsort(row)]]  # [used levels, R]
    else:
        num_blocks = len(resampling.weights_GR)
        counts = np.bincount(row * num_blocks + block, minlength=len(used) * num_blocks)
        weight = _weigh(counts.reshape(len(used), num_blocks).astype(np.float32), resampling)
    merged = int(ranked.merged_T[-1]) + 1
    below, negatives_R = own_MR[used], own_MR[-1]
    middle = below + own_MR[merged + used] if len(own_MR) > merged + 1 else below
    at_least = weight.copy()
    for number in range(len(used) - 1, 0, -1):  # faster than cumsum along the first axis
        at_least[number - 1] += at_least[number]
    positives_R = at_least[0].copy()
    is_defined_R = (positives_R > 0) & (negatives_R > 0)
    divisor_R = np.maximum(positives_R, 1).astype(np.float64)
    auc_R = (weight * middle).sum(axis=0, dtype=np.float64) / (divisor_R * np.maximum(negatives_R, 1))
    weight *= at_least
    at_least += negatives_R
    at_least -= below
    ap_R = (
        np.divide(weight, np.maximum(at_least, 1, out=at_least), out=weight).sum(axis=0, dtype=np.float64) / divisor_R
    )
    return np.where(is_defined_R, auc_R, 0), np.where(is_defined_R, ap_R, 0), is_defined_R

"""AUC and average precision by plain loops over images."""

from collections.abc import Sequence


def weighted_auc(positives: Sequence[tuple[float, float]], negatives: Sequence[tuple[float, float]]) -> float | None:
    """Returns the AUC; None without a positive or a negative of weight. Each image is a cosine and a weight."""
    total = won = 0.0
    for cosine, weight in positives:
        for other, other_weight in negatives:
            total += weight * other_weight
            won += weight * other_weight * (1.0 if other < cosine else 0.5 if other == cosine else 0.0)
    return won / total if total else None


def weighted_ap(positives: Sequence[tuple[float, float]], negatives: Sequence[tuple[float, float]]) -> float | None:
    """Returns the average precision, in which images with the same cosine have one threshold; None as above."""
    total = sum(weight for _, weight in positives)
    if not total or not sum(weight for _, weight in negatives):
        return None
    average = 0.0
    for threshold, weight in positives:
        right, wrong = (sum(own for cosine, own in images if cosine >= threshold) for images in (positives, negatives))
        if weight:
            average += weight / total * right / (right + wrong)
    return average

"""Word AUC and word mAP: how well the cosines of class centers separate images with a word from images without it.

    word AUC of a class = area under the ROC curve of its cosine over images
    word mAP of a class = average precision of its cosine over images

Positives are the images that have the class with text of at least a minimum height (or of unknown height), negatives
the images that do not have it at all. Images that have it only too small are neither, and so are crops that show it
only in part. A class is eligible with positives from at least 5 images and negatives from at least 5; a figure is the
mean over the eligible classes. Bands of text height have their own positives and the same negatives.

Crops of an image are ranked like images, but count as one image for the eligibility of a class.

Memory for N images, M tags and D-wide embeddings: the embeddings (4 N D bytes), about 60 M bytes for the tags by class,
256 MiB for cosines, and 24 R kB for products with the weights of the replicates.

Shapes: N images (or crops of images), M pairs of an image and a tag, D embedding size, K classes, P images with a
    class, S sets of positives, R replicates.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.evaluation import MIN_TEXT_HEIGHT, REPLICATES
from ovocr.trainer.measures.bands import FREQUENCY_BANDS, HEIGHT_BANDS, frequency_bands, height_bands
from ovocr.trainer.measures.class_ranking import ClassCosines, SetFigures, rank_classes
from ovocr.trainer.measures.cosines import ImageCosines
from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.measures.resampling import Resampling
from ovocr.trainer.measures.word_figures import ChanceFigure, ClassFigures, Figure, GroupFigures, WordMeasures
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.vocab.word_script import SCRIPTS

MIN_IMAGES = 5
"""Least numbers of images with positives and of images with negatives of an eligible class."""

# Sets of positives of a class: the headline, then the bands of text height.
_SETS = 1 + len(HEIGHT_BANDS)
# Groups of the sums: the sets, then the headline by script and by frequency.
_FIRST_SCRIPT = _SETS
_FIRST_FREQUENCY = _FIRST_SCRIPT + len(SCRIPTS)
_GROUPS = _FIRST_FREQUENCY + len(FREQUENCY_BANDS)


def why_no_word(min_text_height: float) -> str:
    """Returns why no class is eligible, to print."""
    with_it = f"{MIN_IMAGES} images with it in text of at least {min_text_height:g} pixels"
    return f"no word has {with_it} and {MIN_IMAGES} without"


class OwnCenters(NamedTuple):
    """This rank's class centers.

    weight_CD: rows of the classes first_class, first_class + 1, ... num_classes: number of classes of all ranks.
    """

    weight_CD: Tensor
    first_class: int
    num_classes: int


def measure_words(
    embeddings_ND: Tensor,
    tags: ImageTags,
    centers: OwnCenters,
    *,
    images_N: NDArray[np.int64] | None = None,
    groups_N: NDArray[np.int64] | None = None,
    class_counts: NDArray[np.int64] | None = None,
    script_of_class: Callable[[int], str] | None = None,
    min_text_height: float = MIN_TEXT_HEIGHT,
    replicates: int = REPLICATES,
    seed: int = 0,
    ranks: Ranks | None = None,
    progress: str | None = None,
) -> WordMeasures:
    """Returns the measures of reading of N images.

    Every rank calls this with the same arguments except its own centers, and gets the same result, except for
    ``classes``, which are its own. Each rank evaluates its own classes; sums over classes are added over the ranks, so
    figures differ only by the rounding of these sums from those of a single rank.

    embeddings_ND: [N, D], on any device. tags: of the N images.
    images_N: int64, the number of the image that each sample shows, if samples are crops; None if each is an image.
    groups_N: int64, the group of each image, for intervals over groups; None for intervals over images. Groups do not
        change which classes are eligible.
    class_counts: number of training images by class id, for figures by frequency; classes beyond its end have 0.
    script_of_class: maps a class id to one of SCRIPTS, for figures by script.
    min_text_height: least height of a positive of the headline, in pixels of the encoder's input, at least 0.
    replicates: number of bootstrap replicates, at least 2. seed: seed of the replicates.
    progress: label of a progress bar over classes; None shows none.

    Raises ValueError if shapes or class ids do not fit, and OvocrError on all ranks if embeddings or class centers
    are not finite.
    """
    sizes = {len(tags), *(len(numbers_N) for numbers_N in (images_N, groups_N) if numbers_N is not None)}
    if sizes != {len(embeddings_ND)}:
        raise ValueError(f"{len(embeddings_ND)} embeddings do not fit {len(tags)} images with tags, or their groups")
    if len(tags.ids) and not 0 <= int(tags.ids.min()) <= int(tags.ids.max()) < centers.num_classes:
        raise ValueError(f"class ids must be from 0 to {centers.num_classes - 1}")
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, not {replicates}")
    ranks = ranks or Ranks()
    _check_finite(embeddings_ND, centers, ranks)
    resampling = Resampling.draw(len(tags), groups_N, replicates, seed)
    bands = None if class_counts is None else frequency_bands(class_counts, centers.num_classes)
    classes = list(_eligible_classes(tags, centers, min_text_height, images_N))
    ranked = rank_classes(_with_cosines(classes, embeddings_ND, centers), resampling)
    sums = _Sums(replicates)
    class_figures: list[ClassFigures] = []
    for own, each in zip(
        tqdm(classes, progress, unit="class", leave=None, disable=None if progress else True), ranked, strict=True
    ):
        figures = dict(zip(own.sets.tolist(), each, strict=True))
        for number, of_set in figures.items():
            sums.add(number, of_set)
        if 0 in figures:
            positives = int(own.members_SP[own.sets == 0].sum())
            class_figures.append(ClassFigures(own.class_id, positives, figures[0].auc, figures[0].ap))
        if 0 in figures and script_of_class is not None:
            sums.add(_FIRST_SCRIPT + SCRIPTS.index(script_of_class(own.class_id)), figures[0])
        if 0 in figures and bands is not None:
            sums.add(_FIRST_FREQUENCY + int(bands[own.class_id]), figures[0])
    sums.add_ranks(ranks, centers.weight_CD.device)
    scripts = {} if script_of_class is None else sums.groups(_FIRST_SCRIPT, SCRIPTS, resampling)
    eligible = {name: group for name, group in scripts.items() if group.word_auc.classes}
    return WordMeasures(
        every=sums.group(0, resampling),
        by_text_height=sums.groups(1, HEIGHT_BANDS, resampling),
        by_script=dict(sorted(eligible.items(), key=lambda item: -item[1].word_auc.classes)),
        by_frequency={} if bands is None else sums.groups(_FIRST_FREQUENCY, FREQUENCY_BANDS, resampling),
        classes=tuple(class_figures),
        images=len(tags),
        groups=resampling.groups,
        min_text_height=min_text_height,
        replicates=replicates,
    )


class _Sums:
    """Sums over classes for each group: of both figures and chance, in the data and in each replicate."""

    def __init__(self, replicates: int) -> None:
        # classes, AUC, AP, chance
        self._values: NDArray[np.float64] = np.zeros((4, _GROUPS))
        # classes, AUC, AP
        self._replicates: NDArray[np.float64] = np.zeros((3, _GROUPS, replicates))

    def add(self, group: int, figures: SetFigures) -> None:
        """Adds the figures of a class to a group."""
        self._values[:, group] += (1, figures.auc, figures.ap, figures.chance)
        defined, auc, ap = self._replicates[:, group]
        defined += figures.is_defined_R
        auc += figures.replicate_auc_R
        ap += figures.replicate_ap_R

    def add_ranks(self, ranks: Ranks, device: torch.device) -> None:
        """Adds the sums of the other ranks. device: a device that the ranks can communicate on."""
        if ranks.world == 1:
            return
        both = np.concatenate([self._values.ravel(), self._replicates.ravel()])
        total = ranks.sum(torch.from_numpy(both).to(device)).cpu().numpy()
        self._values = total[: self._values.size].reshape(self._values.shape)
        self._replicates = total[self._values.size :].reshape(self._replicates.shape)

    def groups(self, first: int, names: tuple[str, ...], resampling: Resampling) -> dict[str, GroupFigures]:
        """Returns the figures of consecutive groups, by name."""
        return {name: self.group(first + number, resampling) for number, name in enumerate(names)}

    def group(self, group: int, resampling: Resampling) -> GroupFigures:
        """Returns the figures of a group."""
        classes, *sums = self._values[:, group].tolist()
        if not classes:
            return GroupFigures(Figure(None, None, None, 0), ChanceFigure(None, None, None, 0, None))
        auc, average_precision, chance = (value / classes for value in sums)
        defined_R, *replicates = self._replicates[:, group]
        in_any = defined_R > 0
        (auc_low, auc_high), (ap_low, ap_high) = (
            resampling.interval(value, sum_R[in_any] / defined_R[in_any]) or (None, None)
            for value, sum_R in zip((auc, average_precision), replicates, strict=True)
        )
        return GroupFigures(
            Figure(auc, auc_low, auc_high, int(classes)),
            ChanceFigure(average_precision, ap_low, ap_high, int(classes), chance),
        )


class _ClassImages(NamedTuple):
    """The images with one class, and its eligible sets of positives.

    images_P: int64, numbers of the images, ascending. sets: numbers of the sets. members_SP: bool, the images in each.
    """

    class_id: int
    images_P: NDArray[np.int64]
    sets: NDArray[np.int64]
    members_SP: NDArray[np.bool_]


def _check_finite(embeddings_ND: Tensor, centers: OwnCenters, ranks: Ranks) -> None:
    """Raises OvocrError on all ranks if an embedding, or a class center of any rank, is not finite."""
    lengths = (torch.linalg.vector_norm(rows.detach().float(), dim=1) for rows in (embeddings_ND, centers.weight_CD))
    wrong = torch.stack([(~length.isfinite()).sum().to(centers.weight_CD.device) for length in lengths])
    if int(ranks.sum(wrong).sum()):
        raise OvocrError("embeddings or class centers are NaN or infinite: the training run diverged")


def _with_cosines(classes: list[_ClassImages], embeddings_ND: Tensor, centers: OwnCenters) -> Iterator[ClassCosines]:
    if not classes:
        return
    rows = np.array([own.class_id - centers.first_class for own in classes])
    cosines = ImageCosines(embeddings_ND).of_classes(centers.weight_CD, rows)
    for own, cosines_N in zip(classes, cosines, strict=True):
        yield ClassCosines(cosines_N, own.images_P, own.members_SP)


def _eligible_classes(
    tags: ImageTags, centers: OwnCenters, min_text_height: float, images_N: NDArray[np.int64] | None
) -> Iterator[_ClassImages]:
    """Yields this rank's classes with at least one eligible set, in ascending order."""
    distinct = None if images_N is None else _DistinctImages(images_N)
    is_own = (tags.ids >= centers.first_class) & (tags.ids < centers.first_class + len(centers.weight_CD))
    images = np.repeat(np.arange(len(tags)), np.diff(tags.ends, prepend=0))[is_own]
    ids, heights = tags.ids[is_own], tags.heights[is_own]
    order = np.argsort(ids, kind="stable")
    ids, heights, images = ids[order], heights[order], images[order]
    bands = height_bands(heights)
    is_headline = np.isnan(heights) | (heights >= min_text_height)  # not the height -inf of a word that is cut
    class_ids, starts = np.unique(ids, return_index=True)
    for class_id, start, end in zip(class_ids.tolist(), starts, np.append(starts, len(ids))[1:], strict=True):
        if min(end - start, len(tags) - (end - start)) < MIN_IMAGES:
            continue
        members_SP = np.concatenate(
            [is_headline[None, start:end], bands[None, start:end] == np.arange(len(HEIGHT_BANDS))[:, None]]
        )
        sets = np.flatnonzero(members_SP.sum(axis=1) >= MIN_IMAGES)
        if distinct is not None:
            sets = distinct.eligible_sets(images[start:end], members_SP, sets)
        if len(sets):
            yield _ClassImages(class_id, images[start:end], sets, members_SP[sets])


class _DistinctImages:
    """Counts the images that crops show. images_N: int64, the number of each crop's image."""

    def __init__(self, images_N: NDArray[np.int64]) -> None:
        _, self._image_N, self._crops = np.unique(images_N, return_inverse=True, return_counts=True)

    def eligible_sets(
        self, crops_P: NDArray[np.int64], members_SP: NDArray[np.bool_], sets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Returns those of the sets whose positives, and whose negatives, are from enough images.

        crops_P: the crops with a class; all others are negatives. members_SP: bool, the positives of each set.
        """
        own, crops_with_it = np.unique(self._image_N[crops_P], return_counts=True)
        without_negative = int((crops_with_it == self._crops[own]).sum())
        if len(self._crops) - without_negative < MIN_IMAGES:
            return sets[:0]
        positives = [len(np.unique(self._image_N[crops_P[members_SP[number]]])) for number in sets]
        return sets[np.array(positives, np.int64) >= MIN_IMAGES]

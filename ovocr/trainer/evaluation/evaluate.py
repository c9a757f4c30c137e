"""Evaluates a checkpoint of a run: tag recall over all class centers, and the measures of reading."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ovocr.base.errors import UsageError
from ovocr.base.escape import as_text
from ovocr.dataset.access.opening import DataLocation, data_location, same_place
from ovocr.dataset.holdout.group_table import GroupTable
from ovocr.trainer.config.evaluation import MAX_REPLICATES, MIN_TEXT_HEIGHT, REPLICATES
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig
from ovocr.trainer.data.damaged_samples import DamageReport
from ovocr.trainer.data.evaluation_data import EvaluationCrops, HeadClasses, choose_heads, open_evaluation_data
from ovocr.trainer.data.stored.store_reading import open_reading
from ovocr.trainer.data.thumbnails import THUMBNAIL_SIZE
from ovocr.trainer.evaluation.embedded_samples import embed_samples
from ovocr.trainer.evaluation.head_reading import HeadReading, ReadingOptions, measure_reading
from ovocr.trainer.evaluation.head_recall import HeadRecall, measure_recall
from ovocr.trainer.evaluation.sampling_correction import SamplingCorrection, sampling_correction
from ovocr.trainer.evaluation.training_prior import TrainedOn, load_prior
from ovocr.trainer.measures.class_names import ClassNames
from ovocr.trainer.measures.word_measures import OwnCenters
from ovocr.trainer.ranks.distributed import choose_device
from ovocr.trainer.runs.checkpoint import checkpoint_hash
from ovocr.trainer.training.model import TrainedRun
from ovocr.views.text_crops import ALL_CONTEXT, Heights, Range

DEFAULT_KS = (1, 10, 100)


@dataclass(frozen=True)
class HeadEvaluation:
    """The figures of one head. image_size: side of the encoder's input, pixels. trained_on: which images it knows."""

    image_size: int
    recall: HeadRecall
    reading: HeadReading
    trained_on: TrainedOn

    def to_json(self) -> dict[str, Any]:
        """Returns the figures of recall, then those of reading, and how many images were trained on."""
        figures = {**self.recall.to_json(), **self.reading.to_json(), "trained_on": self.trained_on.to_json()}
        for own, overlap in zip(figures.get("data_sets", {}).values(), self.trained_on.data_sets, strict=False):
            own["trained_on"] = overlap.to_json()
        return figures


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of the heads of a run at one of its checkpoints.

    checkpoint: its hash, see checkpoint_hash.
    top_k: every k, ascending.
    crops: crops per image; 0 if images are whole. Otherwise ``images`` counts crops.
    crop_text_height: text heights of crops chosen by their text; None if crops were drawn by the settings of the head.
    crop_context: with text heights, the shares of the surroundings of the drawn words.
    groups: table of the groups that were resampled; None if images were.
    min_text_height, replicates, seed: see measure_words.
    """

    run: Path
    data: tuple[DataLocation, ...]
    step: int
    checkpoint: str
    top_k: tuple[int, ...]
    crops: int
    crop_text_height: Heights | None = None
    crop_context: Range = ALL_CONTEXT.end
    groups: Path | None
    min_text_height: float
    replicates: int
    seed: int
    heads: dict[str, HeadEvaluation]

    @property
    def headline_k(self) -> int:
        """The k of the first line of recall: 10 if it is in top_k, else the smallest."""
        return 10 if 10 in self.top_k else self.top_k[0]

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dictionary: data, checkpoint, options of the measures, and heads by name."""
        return {
            "data": [as_text(str(root)) for root in self.data],
            "step": self.step,
            "checkpoint": self.checkpoint,
            "top_k": list(self.top_k),
            "crops": self.crops,
            "crop_text_height": None if self.crop_text_height is None else list(self.crop_text_height),
            "crop_context": None if self.crop_text_height is None else list(self.crop_context),
            "min_text_height": self.min_text_height,
            "replicates": self.replicates,
            "seed": self.seed,
            "heads": {name: head.to_json() for name, head in self.heads.items()},
        }


def evaluate(
    run: Path,
    data: Sequence[DataLocation],
    *,
    head: str | None = None,
    top_k: Sequence[int] = DEFAULT_KS,
    examples: int = 0,
    device: str = "auto",
    workers: int = 0,
    step: int | Literal["best"] | None = None,
    crops: int = 0,
    crop_text_height: Heights | None = None,
    crop_context: Range | None = None,
    groups: Path | None = None,
    min_text_height: float = MIN_TEXT_HEIGHT,
    replicates: int = REPLICATES,
    seed: int = 0,
    correct_sampling: bool = False,
) -> Evaluation:
    """Evaluates a checkpoint of a run on labelled data, next to the prior of its training data.

    head: name of a head; None selects every head that matches the data.
    step: number of steps of the checkpoint, or "best"; None selects the newest.
    crops: crops per image, drawn as in training, with the tags that they keep; 0 uses whole images.
    crop_text_height: smallest and largest text height of crops chosen by their text, instead of the crops of training.
    crop_context: with crop_text_height, smallest and largest share of the surroundings of the drawn words; None for
        all that the input has room for.
    top_k: numbers of answers to evaluate.
    examples: number of example images per head.
    workers: processes that decode images; 0 uses this process.
    groups: table of the groups of images for the intervals; None makes each image a group.
    min_text_height, replicates, seed: see measure_words.
    correct_sampling: whether recall and examples rank the answers by corrected scores, see ``sampling_correction``.

    Damaged images are skipped, counted, and named on stderr.

    The prior is the one that the run has kept. Without one, it is counted and kept, and the training data must be at
    the configured path. Images that the head was trained on are counted, and a line on stderr says so.

    Memory use: the model, and the embeddings and tags of all samples.

    Raises OvocrError if data are missing, do not match or are all damaged, or the checkpoint does not exist or has no
    counts for the correction, and UsageError if an option is wrong, data are given twice, crops are requested for a
    head that was trained on whole images, or crop_text_height for a head that is not of kind ocr.
    """
    cropping = _evaluation_crops(crops, crop_text_height, crop_context)
    if not (math.isfinite(min_text_height) and min_text_height >= 0):
        raise UsageError(f"--min-text-height {min_text_height:g}: must be a number of pixels, at least 0")
    if replicates > MAX_REPLICATES:
        raise UsageError(f"--replicates {replicates}: must be at most {MAX_REPLICATES}")
    roots = tuple(data_location(root) for root in data)
    places = [same_place(root) for root in roots]
    for number, root in enumerate(roots):
        if places.index(places[number]) < number:
            raise UsageError(f"--data {root}: given twice")
    ks = tuple(sorted(set(top_k)))
    options = ReadingOptions(
        groups=None if groups is None else GroupTable(groups),
        min_text_height=min_text_height,
        replicates=replicates,
        seed=seed,
    )
    trained = TrainedRun.load(run, choose_device(device), step)
    classes = {
        name: HeadClasses(settings.kind, trained.model.heads[name].num_classes, _sha256(trained, name))
        for name, settings in trained.config.heads.items()
    }
    chosen = choose_heads(run, classes, roots, head)
    for name in chosen:
        _check_crops(cropping, name, trained.config.heads[name])
    corrections = {name: sampling_correction(trained, name) if correct_sampling else None for name in chosen}
    damage = DamageReport("--data")
    return Evaluation(
        run=Path(run),
        data=roots,
        step=trained.step,
        checkpoint=checkpoint_hash(trained.folder.checkpoint(trained.step)),
        top_k=ks,
        crops=cropping.count,
        crop_text_height=cropping.text_height,
        crop_context=cropping.context,
        groups=groups,
        min_text_height=min_text_height,
        replicates=replicates,
        seed=seed,
        heads={
            name: _evaluate_head(
                trained, name, roots, ks, examples, workers, cropping, options, damage, corrections[name]
            )
            for name in chosen
        },
    )


def _evaluation_crops(
    count: int, text_height: Sequence[float] | None, context: Sequence[float] | None
) -> EvaluationCrops:
    """Returns the crops of the options. Raises UsageError if a range is wrong, or an option lacks another one."""
    if text_height is None:
        if context is not None:
            raise UsageError("--crop-context: needs --crop-text-height, the text heights of the crops")
        return EvaluationCrops(count)
    low, high = text_height
    if not 0 < low <= high < math.inf:
        raise UsageError(
            f"--crop-text-height {low:g} {high:g}: must be two numbers of pixels greater than 0, the smaller one first"
        )
    if not count:
        raise UsageError("--crop-text-height: needs --crops, the number of crops of each image")
    least, most = context or ALL_CONTEXT.end
    if not 0 <= least <= most <= 1:
        raise UsageError(f"--crop-context {least:g} {most:g}: must be two shares from 0 to 1, the smaller one first")
    return EvaluationCrops(count, (low, high), (least, most))


def _check_crops(crops: EvaluationCrops, name: str, head: HeadConfig) -> None:
    if crops.text_height is not None and not isinstance(head, OcrHeadConfig):
        raise UsageError(
            f"--crop-text-height: head {name} is of kind {head.kind}; only heads of kind ocr have crops chosen by "
            "their text; leave it out, or choose such a head with --head"
        )
    crops.check(name, head, option="--crops", text_height_option="--crop-text-height LOW HIGH")


def _evaluate_head(
    trained: TrainedRun,
    name: str,
    roots: Sequence[DataLocation],
    ks: tuple[int, ...],
    examples: int,
    workers: int,
    crops: EvaluationCrops,
    options: ReadingOptions,
    damage: DamageReport,
    correction: SamplingCorrection | None,
) -> HeadEvaluation:
    settings, centers = trained.config.heads[name], trained.model.heads[name]
    image_size = settings.image_size or trained.config.backbone.image_size
    prior = load_prior(trained, name, image_size)
    samples, shown = (
        open_evaluation_data(
            settings,
            roots,
            num_classes=centers.num_classes,
            image_size=image_size,
            pixel_size=size,
            crops=crops,
            reading=open_reading(trained.config.loader, roots),
        )
        for size in (image_size, THUMBNAIL_SIZE)
    )
    trained_on = TrainedOn.measure(prior, samples, crops.samples_per_image)
    trained_on.say(name, roots)
    names = ClassNames(trained.vocabularies.get(name))
    embedded = embed_samples(trained, name, samples, workers, damage.add)
    recall = measure_recall(
        embedded,
        centers.weight,
        names,
        training_images=prior.images,
        class_counts=prior.class_counts,
        ks=ks,
        shown=shown,
        examples=examples,
        progress=f"rank {name}",
        correction=correction,
    )
    reading = measure_reading(
        embedded,
        OwnCenters(centers.weight, centers.first_class, centers.num_classes),
        names,
        samples,
        roots,
        class_counts=prior.class_counts,
        crops=crops.count,
        options=options,
        progress=f"words {name}",
    )
    return HeadEvaluation(image_size, recall, reading, trained_on)


def _sha256(trained: TrainedRun, name: str) -> str:
    vocabulary = trained.vocabularies.get(name)
    return "" if vocabulary is None else vocabulary.sha256

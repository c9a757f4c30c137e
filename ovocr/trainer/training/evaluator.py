"""Evaluation of a run on held-out data during training, on all ranks together."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ovocr.dataset.access.opening import same_place
from ovocr.dataset.holdout.group_table import GroupTable
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.damaged_samples import DamageReport
from ovocr.trainer.data.evaluation_data import HELD_OUT_LABEL, HeadClasses, HeldOut, open_held_out
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.measures.class_names import ClassNames
from ovocr.trainer.measures.full_precision import full_precision
from ovocr.trainer.measures.word_measures import OwnCenters, measure_words
from ovocr.trainer.prior.image_sketch import Overlap
from ovocr.trainer.prior.prior import Prior, keep_prior, say_trained_on
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.best_checkpoint import best_checkpoint, read_evaluation
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.evaluation_result import DataSetResult, EvaluationResult
from ovocr.trainer.training.model import Model
from ovocr.trainer.training.rank_embeddings import RankEmbedder


class Evaluator:
    """Evaluates the heads of a run on its held-out data. Every rank has one, and all call it together.

    data: the training data of each head.

    Raises UsageError or OvocrError naming evaluation.data, evaluation.crops or evaluation.groups if held-out data match
    no head, the images of a head cannot be cropped, or data or the table of groups cannot be read.
    """

    def __init__(self, config: RunConfig, data: Mapping[str, HeadData], ranks: Ranks, device: torch.device) -> None:
        self._config, self._data, self._ranks, self._device = config, data, ranks, device
        self._folder = RunFolder(config.run.output)
        self._held_out = self._open() if config.evaluation.every else []
        self._groups = self._open_groups()
        self._names = {name: ClassNames(own.vocabulary) for name, own in data.items()}
        self._priors: dict[str, Prior] = {}
        self._overlaps: dict[tuple[str, str], Overlap] = {}
        self._damage = DamageReport(HELD_OUT_LABEL)
        if ranks.rank == 0:
            self._warn_about_training_data()

    def is_due(self, done: int) -> bool:
        """Whether to evaluate after ``done`` steps."""
        every, steps = self._config.evaluation.every, self._config.run.steps
        return every > 0 and (done % every == 0 or done == steps)

    def is_missing(self, done: int) -> bool:
        """Whether the evaluation of the checkpoint after ``done`` steps is due, but is not in its state.

        An evaluation with another smallest text height, with other crops, of other data sets or of other numbers of
        images is none.
        """
        if not self.is_due(done):
            return False
        is_evaluated = False
        if self._ranks.rank == 0:
            images: dict[str, dict[str, int]] = {}
            for held_out in self._held_out:
                images.setdefault(held_out.head, {})[held_out.name] = len(held_out.images)
            found = read_evaluation(self._folder.checkpoint(done))
            is_evaluated = found is not None and found.is_of(images, self._config.evaluation)
        return not self._ranks.from_first_rank(int(is_evaluated), self._device)

    def evaluate(self, model: Model, should_stop: Callable[[], bool]) -> EvaluationResult | None:
        """Returns the measures of all heads and data sets, the same on every rank; None if a rank was asked to stop.

        should_stop: whether this rank was asked to stop.

        Changes neither the model, nor the random draws, nor the mode of training.
        """
        began = time.monotonic()
        embedder = RankEmbedder(self._ranks, self._device, self._config.loader, should_stop, self._damage.add)
        heads: dict[str, dict[str, DataSetResult]] = {}
        with model.evaluation_mode(), full_precision(self._device):
            for held_out, group_of_image in zip(self._held_out, self._groups, strict=True):
                result = self._measure(model, held_out, group_of_image, embedder)
                if result is None:
                    return None
                heads.setdefault(held_out.head, {})[held_out.name] = result
        measured = EvaluationResult(heads, self._config.evaluation, time.monotonic() - began)
        return replace(measured, is_best=self._is_best(measured))

    def _is_best(self, result: EvaluationResult) -> bool:
        if self._ranks.rank == 0:
            best = best_checkpoint(self._folder.checkpoints)
            before = None if best is None else read_evaluation(best)
            is_best = result.mean_word_auc is not None and (before is None or result.to_saved().is_better(before))
        else:
            is_best = False
        return bool(self._ranks.from_first_rank(int(is_best), self._device))

    def _measure(
        self, model: Model, held_out: HeldOut, group_of_image: NDArray[np.int64] | None, embedder: RankEmbedder
    ) -> DataSetResult | None:
        head, names = model.heads[held_out.head], self._names[held_out.head]
        label = f"{held_out.head} {held_out.name}"
        embedded = embedder.embed(model, held_out.head, held_out.samples, held_out.numbers, f"eval {label}")
        if embedded is None:
            return None
        images_N = embedded.rows_N // held_out.crops.samples_per_image
        is_cropped = held_out.crops.count > 0
        measures = measure_words(
            embedded.embeddings_ND,
            embedded.tags,
            OwnCenters(head.weight, head.first_class, head.num_classes),
            images_N=images_N if is_cropped else None,
            groups_N=images_N if group_of_image is None else group_of_image[images_N],
            class_counts=self._prior(held_out.head).class_counts,
            script_of_class=names.script if names.are_words else None,
            min_text_height=self._config.evaluation.min_text_height,
            replicates=self._config.evaluation.replicates,
            ranks=self._ranks,
            progress=None if self._ranks.rank else f"words {label}",
        )
        rows = np.arange(len(held_out.numbers))
        damaged = np.setdiff1d(rows, embedded.rows_N) // held_out.crops.samples_per_image
        return DataSetResult(
            measures,
            len(held_out.images),
            skipped=len(np.unique(damaged)),
            whole_crops=int(embedded.is_whole_N.sum()) if is_cropped else None,
            trained_on=self._overlap(held_out),
        )

    def keep_priors(self) -> None:
        """Counts the training data of each head, unless the run's folder has it, and stores it there."""
        for head in self._data:
            self._prior(head)

    def _prior(self, head: str) -> Prior:
        """Returns the prior of a head from the run's folder, or counts and stores it. The ranks share the counting."""
        if head not in self._priors:
            data, path = self._data[head], self._folder.prior_path(head)
            same = (other for other in self._priors if self._have_same_data(head, other))
            known = self._priors.get(next(same, ""))
            self._priors[head] = keep_prior(path, data.samples, data.num_classes, self._ranks, self._device, known)
        return self._priors[head]

    def _have_same_data(self, head: str, other: str) -> bool:
        """Returns whether two heads have the same images and classes, so that one need not be counted again."""
        heads, data = self._config.heads, self._data
        if "video" in (heads[head].kind, heads[other].kind):
            return False
        return heads[head].data == heads[other].data and data[head].num_classes == data[other].num_classes

    def _overlap(self, held_out: HeldOut) -> Overlap:
        """Returns how many of the evaluated images are training images; tells the user at the first evaluation."""
        where = held_out.head, held_out.name
        if where not in self._overlaps:
            found = self._prior(held_out.head).sketch.overlap(held_out.image_hashes())
            self._overlaps[where] = found
            if self._ranks.rank == 0 and found.found and not self._is_training_folder(held_out):
                say_trained_on(f"{HELD_OUT_LABEL}: {held_out.root}", held_out.head, found)
        return self._overlaps[where]

    def _open(self) -> list[HeldOut]:
        settings = self._config.evaluation
        classes = {name: HeadClasses.of_training(self._config.heads[name], data) for name, data in self._data.items()}
        return [
            held_out
            for name, root in zip(settings.names(), settings.data, strict=True)
            for held_out in open_held_out(self._config, classes, root, name)
        ]

    def _open_groups(self) -> list[NDArray[np.int64] | None]:
        """Returns the groups of the images of each data set that is evaluated; None if there is no table of groups."""
        path = self._config.evaluation.groups
        if path is None or not self._held_out:
            return [None] * len(self._held_out)
        keys: list[str] = []
        for held_out in self._held_out:
            keys += held_out.image_keys()
        ends = np.cumsum([len(held_out.images) for held_out in self._held_out])
        return list(np.split(GroupTable(path, "evaluation.groups").of_images(keys), ends[:-1]))

    def _warn_about_training_data(self) -> None:
        """Tells the user at the start about folders that are also training data; copies are found later."""
        for held_out in self._held_out:
            if self._is_training_folder(held_out):
                print(
                    f"ovocr: {HELD_OUT_LABEL}: {held_out.root}: head {held_out.head} is trained on it too, so its "
                    "figures do not show how well the head reads new images",
                    file=sys.stderr,
                    flush=True,
                )

    def _is_training_folder(self, held_out: HeldOut) -> bool:
        trained_on = self._config.heads[held_out.head].data
        return same_place(held_out.root) in map(same_place, trained_on)

"""Tag recall over all class centers: how many of an image's tags stand among the centers nearest to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ovocr.base.errors import OvocrError, UsageError
from ovocr.trainer.backbone.rotary import clip_positions
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.data.thumbnails import THUMBNAIL_SIZE, spread_evenly
from ovocr.trainer.evaluation.data import HeadClasses, choose_heads, open_evaluated
from ovocr.trainer.evaluation.effective_rank import EffectiveRank
from ovocr.trainer.evaluation.examples import Example, make_example
from ovocr.trainer.evaluation.recall import (
    BANDS,
    GroupRecall,
    RecallTally,
    frequency_bands,
    most_frequent_tags,
    ranks_of,
)
from ovocr.trainer.heads.ranking import nearest_centers
from ovocr.trainer.ranks.distributed import choose_device
from ovocr.trainer.training.model import TrainedRun
from ovocr.vocab.word_script import SCRIPTS, script_of

DEFAULT_KS = (1, 10, 100)
_BATCH = 32  # samples that the backbone takes at once
# Samples whose embeddings are ranked together: reading and normalising all centers costs as much as ranking a few
# hundred samples, so it is not done for every batch.
_RANKED_TOGETHER = 512


@dataclass(frozen=True)
class HeadRecall:
    """Recall of one head.

    images: of the data. classes: class centers, all of which are ranked. training_images: that the prior and the bands
    are counted on. image_size: pixels, of what the encoder sees. embedding_dim, effective_rank: of the embeddings, in
    how many directions they differ (effective_rank.py; None of one image). every: all tags. scripts, bands: those that
    occur; no scripts where the head's classes are mere numbers. examples: evenly spread over the data.
    """

    images: int
    classes: int
    training_images: int
    image_size: int
    embedding_dim: int
    effective_rank: float | None
    every: GroupRecall
    scripts: dict[str, GroupRecall]
    bands: dict[str, GroupRecall]
    examples: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        """Counts, effective rank, recall@k and prior_recall@k for each k; scripts and bands with the like and pairs."""
        return {
            "images": self.images,
            "classes": self.classes,
            "training_images": self.training_images,
            "embedding_dim": self.embedding_dim,
            "effective_rank": self.effective_rank,
            **_recalls(self.every),
            "scripts": {name: _group_to_json(group) for name, group in self.scripts.items()},
            "bands": {name: _group_to_json(group) for name, group in self.bands.items()},
        }


@dataclass(frozen=True)
class Evaluation:
    """Recall of the heads of a run at one of its checkpoints.

    top_k: every k, ascending. crops: of each picture; where it is 0, pictures are whole, else ``images`` are crops.
    """

    run: Path
    data: tuple[Path, ...]
    step: int
    top_k: tuple[int, ...]
    heads: dict[str, HeadRecall]
    crops: int = 0

    @property
    def headline_k(self) -> int:
        """The k of the first line: 10, or the smallest."""
        return 10 if 10 in self.top_k else self.top_k[0]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary: step, top_k (a list), crops, and heads by name."""
        heads = {name: head.to_json() for name, head in self.heads.items()}
        return {"step": self.step, "top_k": list(self.top_k), "crops": self.crops, "heads": heads}

    def format(self) -> str:
        """For a terminal: a line a head, then its table."""
        return "\n".join(line for name, head in self.heads.items() for line in self._head_lines(name, head))

    def _head_lines(self, name: str, head: HeadRecall) -> Iterator[str]:
        k, what = self.headline_k, "crops" if self.crops else "images"
        yield (
            f"{name}: tag recall@{k} {head.every.recall[k]:.3f} over all {head.classes:,} centers, "
            f"on {head.images:,} {what} (always the {k} most frequent training tags: {head.every.prior[k]:.3f})"
        )
        if head.effective_rank is not None:
            yield f"  embeddings: effective rank {head.effective_rank:.1f} of {head.embedding_dim:,}"
        columns = "".join(f"{f'recall@{k} (prior)':>20}" for k in self.top_k)
        yield f"  {'tags':<28}{'images':>9}{'pairs':>11}{columns}"
        yield _row("all", head.every)
        yield from (_row(f"script: {script}", group) for script, group in head.scripts.items())
        yield from (_row(f"training images: {band}", group) for band, group in head.bands.items())


def evaluate(
    run: Path,
    data: Sequence[Path],
    *,
    head: str | None = None,
    top_k: Sequence[int] = DEFAULT_KS,
    examples: int = 0,
    device: str = "auto",
    workers: int = 0,
    step: int | None = None,
    crops: int = 0,
) -> Evaluation:
    """Evaluate a checkpoint of a run on labelled data, beside the prior of its training data.

    head: one of the run's; None: every one whose vocabulary is that of the data.
    step: after which the checkpoint was saved; None: the newest.
    crops: parts of each picture, drawn as the head's crop_scale says, with the tags in them; 0: it is shown whole.
    top_k: how many answers count, several at once.
    examples: pictures of each head to keep with their answers.
    workers: processes that decode pictures; 0: this one does.

    The prior is counted here, so the data that the run was trained on must be where the configuration says. Memory:
    the model, and of the data a fixed number of batches. Raises OvocrError where data are missing or do not fit, or
    there is no such checkpoint, UsageError where a head's pictures are not cropped.
    """
    ks = tuple(sorted(set(top_k)))
    trained = TrainedRun.load(run, choose_device(device), step)
    classes = {
        name: HeadClasses(settings.kind, trained.model.heads[name].num_classes, _sha256(trained, name))
        for name, settings in trained.config.heads.items()
    }
    roots = tuple(Path(root) for root in data)
    names = choose_heads(run, classes, roots, head)
    for name in names:
        if crops and trained.config.heads[name].crop_scale is None:
            raise UsageError(f"--crops: head {name} was trained on whole pictures, without crop_scale")
    heads = {name: _evaluate_head(trained, name, roots, ks, examples, workers, crops) for name in names}
    return Evaluation(Path(run), roots, trained.step, ks, heads, crops)


class _Ranked(NamedTuple):
    """What became of one sample: its number, distinct tags [n], the answers [K] and their cosines, nearest first."""

    number: int
    tags: NDArray[np.int64]
    answers: NDArray[np.int64]
    cosines: NDArray[np.float32]


def _evaluate_head(
    trained: TrainedRun, name: str, roots: Sequence[Path], ks: tuple[int, ...], examples: int, workers: int, crops: int
) -> HeadRecall:
    settings, num_classes = trained.config.heads[name], trained.model.heads[name].num_classes
    prior_label = f"heads.{name}.data (the prior)"
    if not all(path.is_absolute() for path in settings.data):
        prior_label += f", looked for from {Path.cwd()}"
    image_size = settings.image_size or trained.config.backbone.image_size
    training = open_evaluated(
        settings, settings.data, num_classes=num_classes, image_size=image_size, label=prior_label
    )
    counts = training.class_counts()
    samples = open_evaluated(settings, roots, num_classes=num_classes, image_size=image_size, crops=crops)
    shown = open_evaluated(settings, roots, num_classes=num_classes, image_size=THUMBNAIL_SIZE, crops=crops)
    prior, bands = most_frequent_tags(counts, ks[-1]), frequency_bands(counts, num_classes)
    word_of, script_number = _words(trained, name)
    every, by_script, by_band = (RecallTally(names, ks) for names in (("all",), SCRIPTS, BANDS))
    chosen = set(spread_evenly(len(samples), examples)) if examples else set()
    embedding_dim = trained.model.heads[name].weight.shape[1]
    effective_rank = EffectiveRank(embedding_dim)
    kept = []
    for ranked in _rank(trained, name, samples, ks[-1], workers, effective_rank):
        ranks, prior_ranks = ranks_of(ranked.tags, ranked.answers), ranks_of(ranked.tags, prior)
        every.add(np.zeros_like(ranked.tags), ranks, prior_ranks)
        by_band.add(bands[ranked.tags], ranks, prior_ranks)
        if script_number is not None:
            by_script.add(np.array([script_number(int(tag)) for tag in ranked.tags], np.int64), ranks, prior_ranks)
        if ranked.number in chosen:
            kept.append((ranked, ranks))
    scripts = sorted(by_script.result().items(), key=lambda item: -item[1].pairs)
    return HeadRecall(
        images=len(samples),
        classes=num_classes,
        training_images=len(training),
        image_size=image_size,
        embedding_dim=embedding_dim,
        effective_rank=effective_rank.result(),
        every=every.result()["all"],
        scripts=dict(scripts),
        bands=by_band.result(),
        examples=tuple(
            make_example(
                shown,
                ranked.number,
                word_of,
                tags=ranked.tags,
                ranks=ranks,
                answers=ranked.answers,
                cosines=ranked.cosines,
            )
            for ranked, ranks in kept
        ),
    )


def _words(trained: TrainedRun, name: str) -> tuple[Callable[[int], str], Callable[[int], int] | None]:
    """The word of a class and the number of its script; a mere number, and None, where the head has no vocabulary."""
    vocabulary = trained.vocabularies.get(name)
    if vocabulary is None:
        return lambda class_id: f"#{class_id}", None
    numbers = {script: number for number, script in enumerate(SCRIPTS)}
    known: dict[int, int] = {}  # most tags come again and again

    def script_number(class_id: int) -> int:
        if class_id not in known:
            known[class_id] = numbers[script_of(vocabulary.word(class_id))]
        return known[class_id]

    return vocabulary.word, script_number


def _rank(
    trained: TrainedRun, name: str, samples: Samples, k: int, workers: int, effective_rank: EffectiveRank
) -> Iterator[_Ranked]:
    """Every sample in order, with the k nearest centers of a head; a bar shows how far it is.

    effective_rank: all embeddings are added to it.
    """
    weight = trained.model.heads[name].weight
    first, waiting = 0, _Waiting()
    with tqdm(total=len(samples), desc=f"eval {name}", unit="image", disable=None) as bar:
        for batch in _load_batches(samples, workers):
            embeddings_BD = _embed(trained, name, batch)
            effective_rank.add(embeddings_BD)
            waiting.embeddings.append(embeddings_BD)
            waiting.tags += [np.unique(labels) for labels in batch.labels.numpy()]
            bar.update(len(batch.labels))
            if len(waiting.tags) >= _RANKED_TOGETHER:
                yield from waiting.rank(weight, k, first)
                first, waiting = first + len(waiting.tags), _Waiting()
        if waiting.tags:
            yield from waiting.rank(weight, k, first)


class _Waiting:
    """Samples that the backbone has seen and that are not ranked yet."""

    def __init__(self) -> None:
        self.embeddings: list[Tensor] = []
        self.tags: list[NDArray[np.int64]] = []

    def rank(self, weight_CD: Tensor, k: int, first: int) -> Iterator[_Ranked]:
        """The samples, numbered from first."""
        cosines, classes = nearest_centers(torch.cat(self.embeddings), weight_CD, k)
        for row, (tags, answers, values) in enumerate(
            zip(self.tags, classes.cpu().numpy(), cosines.cpu().numpy(), strict=True)
        ):
            yield _Ranked(first + row, tags, answers, values)


def _embed(trained: TrainedRun, name: str, batch: Batch) -> Tensor:
    """Embeddings as a head's class centers see them, [B, D]."""
    positions = None
    if batch.times is not None:
        side = batch.pixels.shape[-1] // trained.config.backbone.patch_size
        positions = clip_positions(batch.times.to(trained.device), side, side)
    return trained.embed(name, batch.pixels, positions)


class _Batches(Dataset[Batch | OvocrError]):
    """Map-style: number of a batch -> its samples in file order, or the error that reading one of them met.

    An error is returned, not raised: raised in a worker process, it would lose its one-line message.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return -(-len(self._samples) // _BATCH)

    def __getitem__(self, number: int) -> Batch | OvocrError:
        ids = range(number * _BATCH, min((number + 1) * _BATCH, len(self._samples)))
        try:
            loaded = [self._samples.load(index) for index in ids]
        except OvocrError as error:
            return error
        times = [sample.times for sample in loaded if sample.times is not None]
        return Batch(
            torch.from_numpy(np.stack([sample.pixels for sample in loaded])),
            torch.from_numpy(np.stack([sample.labels for sample in loaded])),
            torch.tensor(ids),
            torch.from_numpy(np.stack(times)) if times else None,
        )


def _load_batches(samples: Samples, workers: int) -> Iterator[Batch]:
    for batch in DataLoader(_Batches(samples), batch_size=None, num_workers=workers, worker_init_fn=_start_worker):
        if isinstance(batch, OvocrError):
            raise batch
        yield batch


def _start_worker(worker: int) -> None:
    """A worker is one of several processes: OpenCV must not add threads of its own."""
    cv2.setNumThreads(0)


def _sha256(trained: TrainedRun, name: str) -> str:
    vocabulary = trained.vocabularies.get(name)
    return "" if vocabulary is None else vocabulary.sha256


def _recalls(group: GroupRecall) -> dict[str, float]:
    return {
        key: value
        for k in group.recall
        for key, value in ((f"recall@{k}", group.recall[k]), (f"prior_recall@{k}", group.prior[k]))
    }


def _group_to_json(group: GroupRecall) -> dict[str, Any]:
    return {"images": group.images, "pairs": group.pairs, **_recalls(group)}


def _row(name: str, group: GroupRecall) -> str:
    cells = "".join(f"{f'{group.recall[k]:.3f} ({group.prior[k]:.3f})':>20}" for k in group.recall)
    return f"  {name:<28}{group.images:>9,}{group.pairs:>11,}{cells}"

"""Tag recall over all class centers: how many of an image's tags are among the centers nearest to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.plural import counted
from ovocr.trainer.data.evaluation_data import HeadClasses, choose_heads, open_evaluation_data
from ovocr.trainer.data.head_data import crops_of
from ovocr.trainer.data.loader import Batch
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.data.thumbnails import THUMBNAIL_SIZE, spread_evenly
from ovocr.trainer.evaluation.effective_rank import EffectiveRank
from ovocr.trainer.evaluation.examples import Example, make_example
from ovocr.trainer.evaluation.recall import GroupRecall, RecallTally, most_frequent_tags, ranks_of
from ovocr.trainer.heads.ranking import nearest_centers
from ovocr.trainer.measures.bands import FREQUENCY_BANDS, frequency_bands
from ovocr.trainer.ranks.distributed import choose_device
from ovocr.trainer.training.model import TrainedRun
from ovocr.vocab.word_script import SCRIPTS, script_of

DEFAULT_KS = (1, 10, 100)
_BATCH = 32  # samples per batch of the backbone
# Samples whose embeddings are ranked together. Reading and normalising all centers costs as much as ranking a few
# hundred samples, so it is not done for every batch.
_RANKING_BATCH = 512


@dataclass(frozen=True)
class HeadRecall:
    """Recall of one head.

    images: number of samples of the data.
    classes: number of class centers, all of which are ranked.
    training_images: number of samples from which prior and bands are counted.
    image_size: side of the encoder's input, pixels.
    embedding_dim: width of the embeddings.
    effective_rank: number of directions in which the embeddings differ; None for a single image.
    every: recall of all tags.
    scripts: recall by script, for scripts that occur; empty if the head has no vocabulary.
    bands: recall by number of training images, for bands that occur.
    examples: samples spread evenly over the data.
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
        """Returns counts, effective rank, and recall@k and prior_recall@k for each k, in total and by script and
        band."""
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

    top_k: every k, ascending.
    crops: crops per image; 0 if images are whole. Otherwise ``images`` counts crops.
    """

    run: Path
    data: tuple[Path, ...]
    step: int
    top_k: tuple[int, ...]
    heads: dict[str, HeadRecall]
    crops: int = 0

    @property
    def headline_k(self) -> int:
        """The k of the first line: 10 if it is in top_k, else the smallest."""
        return 10 if 10 in self.top_k else self.top_k[0]

    def to_json(self) -> dict[str, Any]:
        """Returns a plain dictionary: step, top_k (a list), crops, and heads by name."""
        heads = {name: head.to_json() for name, head in self.heads.items()}
        return {"step": self.step, "top_k": list(self.top_k), "crops": self.crops, "heads": heads}

    def format(self) -> str:
        """Returns text for a terminal: a line per head, followed by its table."""
        return "\n".join(line for name, head in self.heads.items() for line in self._head_lines(name, head))

    def _head_lines(self, name: str, head: HeadRecall) -> Iterator[str]:
        k, noun = self.headline_k, "crop" if self.crops else "image"
        yield (
            f"{name}: tag recall@{k} {head.every.recall[k]:.3f} over all {head.classes:,} centers, "
            f"on {counted(head.images, noun)} (always the {k} most frequent training tags: {head.every.prior[k]:.3f})"
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
    step: int | Literal["best"] | None = None,
    crops: int = 0,
) -> Evaluation:
    """Evaluates a checkpoint of a run on labelled data, next to the prior of its training data.

    head: name of a head; None selects every head that matches the data.
    step: number of steps of the checkpoint, or "best"; None selects the newest.
    crops: crops per image, drawn by the head's crop_scale, with the tags that they keep; 0 uses whole images.
    top_k: numbers of answers to evaluate.
    examples: number of example images per head.
    workers: processes that decode images; 0 uses this process.

    The prior is counted here, so the training data must be at the configured path. Memory use: the model and a fixed
    number of batches.

    Raises OvocrError if data are missing or do not match or the checkpoint does not exist, and UsageError if crops are
    requested for a head that was trained on whole images.
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
        if crops and crops_of(trained.config.heads[name], 0) is None:
            raise UsageError(
                f"--crops: head {name} was trained on whole images, without crop_scale or crop_text_height"
            )
    heads = {name: _evaluate_head(trained, name, roots, ks, examples, workers, crops) for name in names}
    return Evaluation(Path(run), roots, trained.step, ks, heads, crops)


class _Ranked(NamedTuple):
    """Result of one sample: number, distinct tags [n], answers [K] and their cosines, nearest first."""

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
        prior_label += f", relative to {Path.cwd()}"
    image_size = settings.image_size or trained.config.backbone.image_size
    training = open_evaluation_data(
        settings, settings.data, num_classes=num_classes, image_size=image_size, label=prior_label
    )
    counts = training.class_counts()
    samples = open_evaluation_data(settings, roots, num_classes=num_classes, image_size=image_size, crops=crops)
    shown = open_evaluation_data(settings, roots, num_classes=num_classes, image_size=THUMBNAIL_SIZE, crops=crops)
    prior, bands = most_frequent_tags(counts, ks[-1]), frequency_bands(counts, num_classes)
    word_of, script_number = _words(trained, name)
    every, by_script, by_band = (RecallTally(names, ks) for names in (("all",), SCRIPTS, FREQUENCY_BANDS))
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
    """Returns functions that map a class id to its word and its script's number (#id and None without a vocabulary)."""
    vocabulary = trained.vocabularies.get(name)
    if vocabulary is None:
        return lambda class_id: f"#{class_id}", None
    numbers = {script: number for number, script in enumerate(SCRIPTS)}
    known: dict[int, int] = {}  # a cache: most tags repeat

    def script_number(class_id: int) -> int:
        if class_id not in known:
            known[class_id] = numbers[script_of(vocabulary.word(class_id))]
        return known[class_id]

    return vocabulary.word, script_number


def _rank(
    trained: TrainedRun, name: str, samples: Samples, k: int, workers: int, effective_rank: EffectiveRank
) -> Iterator[_Ranked]:
    """Yields every sample in order with the k nearest centers of a head; shows a progress bar.

    effective_rank: collects all embeddings.
    """
    weight = trained.model.heads[name].weight
    first, unranked = 0, _UnrankedSamples()
    with tqdm(total=len(samples), desc=f"eval {name}", unit="image", disable=None) as bar:
        for batch in _load_batches(samples, workers):
            embeddings_BD = trained.embed(name, batch.pixels, batch.times)
            effective_rank.add(embeddings_BD)
            unranked.embeddings.append(embeddings_BD)
            unranked.tags += [np.unique(labels) for labels in batch.labels.numpy()]
            bar.update(len(batch.labels))
            if len(unranked.tags) >= _RANKING_BATCH:
                yield from unranked.rank(weight, k, first)
                first, unranked = first + len(unranked.tags), _UnrankedSamples()
        if unranked.tags:
            yield from unranked.rank(weight, k, first)


class _UnrankedSamples:
    """Embedded samples that are not ranked yet."""

    def __init__(self) -> None:
        self.embeddings: list[Tensor] = []
        self.tags: list[NDArray[np.int64]] = []

    def rank(self, weight_CD: Tensor, k: int, first: int) -> Iterator[_Ranked]:
        """Yields the ranked samples, numbered from first."""
        cosines, classes = nearest_centers(torch.cat(self.embeddings), weight_CD, k)
        for row, (tags, answers, values) in enumerate(
            zip(self.tags, classes.cpu().numpy(), cosines.cpu().numpy(), strict=True)
        ):
            yield _Ranked(first + row, tags, answers, values)


class _Batches(Dataset[Batch | OvocrError]):
    """Map-style data set: maps a batch number to its samples in file order, or to the error of reading one.

    Errors are returned, because an error raised in a worker process would lose its one-line message.
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
    """Turns off OpenCV's threads, because there are several workers."""
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

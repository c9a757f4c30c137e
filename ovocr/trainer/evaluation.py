"""Tag recall over all class centers: how many of an image's words stand among the nearest centers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ovocr.dataset import LabelledDataSet
from ovocr.errors import OvocrError
from ovocr.trainer.config import HeadConfig
from ovocr.trainer.data.pictures import normalise
from ovocr.trainer.data.records import RecordSamples, vocabulary_sha256
from ovocr.trainer.distributed import choose_device
from ovocr.trainer.model import TrainedRun
from ovocr.trainer.ranking import nearest_centers

_BATCH = 32


@dataclass(frozen=True)
class HeadRecall:
    """Recall of one head: mean over images of |top-k of all centers and distinct tags| / min(k, distinct tags).

    prior: the same for always answering the k tags that most training images have.
    """

    images: int
    classes: int
    recall: float
    prior: float


@dataclass(frozen=True)
class Evaluation:
    """Recall of every head of a run at its newest checkpoint."""

    step: int
    top_k: int
    heads: dict[str, HeadRecall]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary: step, top_k, and per head images, classes, recall@k and prior_recall@k."""
        heads = {
            name: {
                "images": head.images,
                "classes": head.classes,
                f"recall@{self.top_k}": head.recall,
                f"prior_recall@{self.top_k}": head.prior,
            }
            for name, head in self.heads.items()
        }
        return {"step": self.step, "top_k": self.top_k, "heads": heads}

    def format(self) -> str:
        """A line a head."""
        return "\n".join(
            f"{name}: tag recall@{self.top_k} {head.recall:.3f} over all {head.classes:,} centers, "
            f"on {head.images:,} images (always the {self.top_k} most frequent training tags: {head.prior:.3f})"
            for name, head in self.heads.items()
        )


def evaluate(run: Path, data: list[Path], *, top_k: int = 10, device: str = "auto") -> Evaluation:
    """Evaluate the newest checkpoint of a run on labelled data sets, beside the prior of its training data.

    The prior is counted here, so the data sets that the run was trained on must be where the configuration says.
    Raises OvocrError where data sets are missing or do not fit the run.
    """
    trained = TrainedRun.load(run, choose_device(device))
    heads = {}
    for name, settings in trained.config.heads.items():
        roots = [Path(root) for root in data]
        _same_vocabulary(roots, trained.vocabularies[name].sha256)
        heads[name] = _evaluate_head(trained, name, settings, roots, top_k)
    return Evaluation(trained.step, top_k, heads)


def _evaluate_head(trained: TrainedRun, name: str, settings: HeadConfig, roots: list[Path], top_k: int) -> HeadRecall:
    head = trained.model.heads[name]
    samples = RecordSamples(
        roots,
        label_select=settings.label_select,
        labels_stored=settings.stored,
        num_classes=head.num_classes,
        image_size=trained.config.backbone.image_size,
    )
    prior = most_frequent_tags(settings.data, top_k)
    loader = DataLoader(_Pictures(samples, trained.config.backbone.image_size), batch_size=_BATCH, collate_fn=_collate)
    recall = prior_recall = 0.0
    for pixels, tags in tqdm(loader, desc=f"eval {name}", unit="batch", disable=None):
        with torch.no_grad():
            _, pooled = trained.model.backbone(normalise(pixels.to(trained.device), torch.float32))
        _, classes = nearest_centers(pooled, head.weight, top_k)
        recall += sum(recall_at_k(top, own, top_k) for top, own in zip(classes.tolist(), tags, strict=True))
        prior_recall += sum(recall_at_k(prior, own, top_k) for own in tags)
    return HeadRecall(len(samples), head.num_classes, recall / len(samples), prior_recall / len(samples))


def recall_at_k(answered: Iterable[int], tags: Iterable[int], k: int) -> float:
    """|answered and distinct tags| / min(k, distinct tags), of one image."""
    distinct = set(tags)
    return len(distinct & set(answered)) / min(k, len(distinct))


def most_frequent_tags(roots: Sequence[Path], k: int) -> list[int]:
    """The k class ids that most images of labelled data sets have, most frequent first; a tie: the lower id."""
    counts = np.zeros(0, dtype=np.int64)
    for root in roots:
        data_set = LabelledDataSet.open(root)
        for shard in data_set.finished_shards():
            path = data_set.records_path(shard)
            try:
                tags = pq.read_table(path, columns=["tags"])["tags"].combine_chunks()
            except (OSError, pa.ArrowException) as error:
                raise OvocrError(f"{path}: the training tags cannot be counted: {error}") from error
            ids = tags.flatten().field("id").to_numpy(zero_copy_only=False)
            found = np.bincount(ids.astype(np.int64), minlength=counts.shape[0])
            found[: counts.shape[0]] += counts
            counts = found
    order = np.lexsort((np.arange(counts.shape[0]), -counts))
    return [int(class_id) for class_id in order[:k]]


class _Pictures(Dataset[tuple[torch.Tensor, list[int]]]):
    """Letterboxed pictures with their tags, in file order."""

    def __init__(self, samples: RecordSamples, image_size: int) -> None:
        self.samples, self.image_size = samples, image_size

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, list[int]]:
        pixels, labels, _ = self.samples.load(index)
        return torch.from_numpy(pixels), [int(label) for label in labels]


def _collate(items: list[tuple[torch.Tensor, list[int]]]) -> tuple[torch.Tensor, list[list[int]]]:
    return torch.stack([pixels for pixels, _ in items]), [tags for _, tags in items]


def _same_vocabulary(roots: Iterable[Path], sha256: str) -> None:
    for root in roots:
        found = vocabulary_sha256(LabelledDataSet.open(root))
        if found != sha256:
            raise OvocrError(f"{root}: its tags are of another vocabulary ({found}) than the run's ({sha256})")

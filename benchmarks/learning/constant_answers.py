"""Recall of an answer that is the same for every image: the score that an encoder must beat to show that it reads."""

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from mean_recall import mean_recall
from numpy.typing import NDArray

from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.evaluation.recall import most_frequent_tags


def constant_recall(folder: Path, name: str, ks: Sequence[int]) -> dict[str, dict[str, float]]:
    """Returns recall@k on the blocks of ``name`` for two constant answers: the k most frequent tags of

    - "of the trained receipts": the real receipts that encoders are trained on,
    - "of the evaluated blocks": the blocks of ``name`` themselves, which an encoder cannot know.
    """
    evaluated = _tags(folder / "blocks" / name)
    return {
        "of the trained receipts": _recalls(_tags(folder / "blocks" / "receipts"), evaluated, ks),
        "of the evaluated blocks": _recalls(evaluated, evaluated, ks),
    }


def _recalls(
    counted: list[NDArray[np.int64]], evaluated: list[NDArray[np.int64]], ks: Sequence[int]
) -> dict[str, float]:
    answers = most_frequent_tags(np.bincount(np.concatenate(counted)), max(ks))
    recall = mean_recall(evaluated, repeat(answers, len(evaluated)), ks)
    return {f"recall@{k}": value for k, value in recall.items()}


def _tags(root: Path) -> list[NDArray[np.int64]]:
    """Returns the distinct tags of each block."""
    data_set = LabelledDataSet.open(root)
    rows = [
        row["tags"]
        for shard in data_set.finished_shards()
        for row in pq.read_table(data_set.records_path(shard), columns=["tags"]).to_pylist()
    ]
    return [np.unique([tag["id"] for tag in tags]) for tags in rows]

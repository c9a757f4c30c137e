"""How good an answer can be that is the same for every picture: what an encoder that does not read cannot pass."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ovocr.dataset import LabelledDataSet


def constant_recall(folder: Path, name: str, ks: Sequence[int]) -> dict[str, dict[str, float]]:
    """recall@k on the blocks of ``name`` of always answering the k tags that most blocks have

    - "of the trained receipts": of the real receipts that encoders are trained on,
    - "of the evaluated blocks": of these blocks themselves, which nobody can know who has not seen their tags.
    """
    evaluated = _tags(folder / "blocks" / name)
    return {
        "of the trained receipts": _recalls(_tags(folder / "blocks" / "receipts"), evaluated, ks),
        "of the evaluated blocks": _recalls(evaluated, evaluated, ks),
    }


def _recalls(counted: list[set[int]], evaluated: list[set[int]], ks: Sequence[int]) -> dict[str, float]:
    """As `ovocr eval`: mean over blocks of |answers and tags| / min(k, tags)."""
    counts = Counter(tag for tags in counted for tag in tags)
    ranked = [tag for tag, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return {
        f"recall@{k}": sum(len(tags & set(ranked[:k])) / min(k, len(tags)) for tags in evaluated) / len(evaluated)
        for k in ks
    }


def _tags(root: Path) -> list[set[int]]:
    data_set = LabelledDataSet.open(root)
    rows = [
        row["tags"]
        for shard in data_set.finished_shards()
        for row in pq.read_table(data_set.records_path(shard), columns=["tags"]).to_pylist()
    ]
    return [{tag["id"] for tag in tags} for tags in rows]

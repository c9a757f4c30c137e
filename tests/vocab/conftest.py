"""The built-in vocabulary, made once for all tests of this folder, and data sets of stored text."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab import Vocabulary
from ovocr.vocab.lexicon import build_lexicon
from tests.manifests import make_manifest

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        (
            "lines",
            pa.list_(pa.struct([("text", pa.string()), ("score", pa.float32()), ("box", pa.list_(pa.float32(), 8))])),
        ),
    ]
)


def _write_shard(root: Path, shard: int, images: list[list[str]], *, finished: bool = True) -> None:
    data_set = LabelledDataSet(root)
    for path in (data_set.ocr_path(shard), data_set.stats_path(shard)):
        path.parent.mkdir(parents=True, exist_ok=True)
    make_manifest([], vocabulary=Vocabulary(["word"])).write(data_set.manifest_path)
    rows = [
        {
            "key": f"{number}.jpg",
            "width": 10,
            "height": 10,
            "lines": [{"text": text, "score": 0.9, "box": [0.0] * 8} for text in lines],
        }
        for number, lines in enumerate(images)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), data_set.ocr_path(shard))
    if finished:
        data_set.stats_path(shard).write_text("{}", encoding="utf-8")


@pytest.fixture
def write_shard() -> Callable[..., None]:
    """write_shard(root, number, images, *, finished=True): a shard of stored text, the lines of each image."""
    return _write_shard


@pytest.fixture(scope="session")
def lexicon() -> Vocabulary:
    return build_lexicon()

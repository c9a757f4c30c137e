"""The built-in vocabulary and data sets of stored text."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.schemas import OCR
from ovocr.dataset.text import ImageText
from ovocr.vocab import Segmentation, Vocabulary
from ovocr.vocab.counting import WordCounts
from ovocr.vocab.lexicon import LEXICON, build_lexicon, lexicon_settings
from tests.manifests import make_manifest


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
            "lines": [{"text": text, "score": 0.9, "box": [0.0] * 8, "edges": []} for text in lines],
        }
        for number, lines in enumerate(images)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=OCR), data_set.ocr_path(shard))
    if finished:
        data_set.stats_path(shard).write_text("{}", encoding="utf-8")


@pytest.fixture
def write_shard() -> Callable[..., None]:
    """write_shard(root, number, images, *, finished=True) writes a shard of stored text. images: lines per image."""
    return _write_shard


def _count_words(images: Iterable[ImageText], segmentation: Segmentation) -> WordCounts:
    counts = WordCounts()
    for image in images:
        counts.add(image, segmentation)
    return counts


@pytest.fixture
def count_words() -> Callable[[Iterable[ImageText], Segmentation], WordCounts]:
    """Returns count_words(images, segmentation), which counts the words of images."""
    return _count_words


@pytest.fixture(scope="session")
def lexicon() -> Vocabulary:
    return Vocabulary(build_lexicon(), lexicon_settings(), name=LEXICON)

"""Reads and writes the stored text of a data set's images."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.opening import open_data_set, shard_on_disk
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import BOX_DECIMALS, EDGE_DECIMALS, SCORE_DECIMALS, Line
from ovocr.dataset.manifest import FORMAT
from ovocr.dataset.outcome import Outcome
from ovocr.dataset.schemas import OCR, OCR_FORMAT_2
from ovocr.dataset.tables import read_batches, read_rows


@dataclass(frozen=True)
class TextShard:
    """A finished shard. root: folder of its data set. number: number of the shard. format: format of the data set.

    url: URL of the data set if it is in an object store; the folder has a part of it, as in ``LabelledDataSet``.
    """

    root: Path
    number: int
    format: int = FORMAT
    url: str | None = None

    @property
    def data_set(self) -> LabelledDataSet:
        """The data set, whose ``str`` is its name in messages."""
        return LabelledDataSet(self.root, self.url)

    @property
    def path(self) -> Path:
        """Path of the table with its text. It exists if the shard is on a disk."""
        return self.data_set.ocr_path(self.number)

    @contextmanager
    def on_disk(self, *names: str) -> Iterator["TextShard"]:
        """Yields the shard with files on a disk, see ``shard_on_disk``. names: their names in the statistics."""
        with shard_on_disk(self.data_set, self.number, names) as data_set:
            yield replace(self, root=data_set.root)

    def __str__(self) -> str:
        return self.data_set.name_of(self.path)


@dataclass(frozen=True)
class ImageText:
    """The text of one image. key: the image's key. lines: lines in reading order.

    scores: recognition score of each line, 0 to 1; empty if they were not read.
    """

    key: str
    lines: list[str]
    scores: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class StoredText:
    """The text of one image with boxes. width, height: size of the stored image in pixels."""

    width: int
    height: int
    lines: list[Line]


def find_shards(roots: Iterable[Path | str | LabelledDataSet], *, old: bool = False) -> list[TextShard]:
    """Returns the finished shards of labelled data sets, in order.

    roots: folders, URLs or opened data sets. old: as in ``LabelledDataSet.open``.

    Raises OvocrError if a root is not a data set, is packed, has no finished shard, or is given twice.
    """
    shards: list[TextShard] = []
    seen: set[Path] = set()
    for root in roots:
        data_set = root if isinstance(root, LabelledDataSet) else open_data_set(root, old=old)
        folder = data_set.root.resolve()
        if folder in seen:
            raise OvocrError(f"{data_set}: given twice; its words would be counted twice")
        seen.add(folder)
        manifest = data_set.manifest()
        if not manifest.has_text:
            raise OvocrError(f"{data_set}: a packed data set has no text; use `ovocr build-labels`")
        finished = data_set.finished_shards()
        if not finished:
            raise OvocrError(f"{data_set}: no finished shard yet; finish one with `ovocr build-labels`")
        shards += [TextShard(data_set.root, number, manifest.format, data_set.url) for number in finished]
    return shards


def text_to_row(key: str, outcome: Outcome) -> dict[str, Any]:
    """Returns the row of an image that was read."""
    return {
        "key": key,
        "width": outcome.width,
        "height": outcome.height,
        "lines": [vars(line) for line in outcome.lines],
    }


def read_images(shard: TextShard, *, scores: bool = False) -> Iterator[ImageText]:
    """Yields the text of each image of a shard, in order; keeps a few in memory. Raises TableError.

    scores: read the scores of the lines, too.
    """
    fields = ["text", *(["score"] if scores else [])]
    columns = ["key", *(f"lines.list.element.{name}" for name in fields)]
    for batch in read_batches(shard.path, _schema(shard.format), columns):
        lines = batch.column("lines")
        flat = lines.flatten()
        texts = iter(flat.field("text").to_pylist())
        values = iter(_round(flat.field("score"), SCORE_DECIMALS).tolist() if scores else ())
        lengths = lines.value_lengths().to_pylist()
        for key, length in zip(batch.column("key").to_pylist(), lengths, strict=True):
            yield ImageText(key, list(islice(texts, length)), tuple(islice(values, length)))


def read_texts(path: Path, format: int = FORMAT) -> Iterator[tuple[str, StoredText]]:
    """Yields key and text of each image that was read, in order; keeps a few in memory. Raises TableError.

    format: format of the data set. Lines of format 2 have no edges.
    """
    for batch in read_batches(path, _schema(format)):
        yield from parse_texts(batch)


def read_texts_at(path: Path, positions: Sequence[int]) -> list[tuple[str, StoredText]]:
    """Returns key and text of the rows at the ascending ``positions``. Raises TableError."""
    return [text for batch in read_rows(path, OCR, positions).to_batches() for text in parse_texts(batch)]


def parse_texts(batch: pa.RecordBatch) -> Iterator[tuple[str, StoredText]]:
    """Yields key and text of the rows, whose nulls have been checked."""
    keys, widths, heights = (batch.column(name).to_pylist() for name in ("key", "width", "height"))
    lines = batch.column("lines")
    all_lines = _parse_lines(lines.flatten())
    start = 0
    for key, width, height, count in zip(keys, widths, heights, lines.value_lengths().to_pylist(), strict=True):
        yield key, StoredText(width=width, height=height, lines=all_lines[start : start + count])
        start += count


def _schema(format: int) -> pa.Schema:
    """Returns the schema of the text of a data set of this format."""
    return OCR if format == FORMAT else OCR_FORMAT_2


def count_lines(batch: pa.RecordBatch) -> int:
    """Returns the number of lines in a batch of texts."""
    return len(batch.column("lines").flatten())


def _parse_lines(column: pa.StructArray) -> list[Line]:
    texts, scores, boxes = (column.field(name) for name in ("text", "score", "box"))
    return [
        Line(text, score, tuple(box), edges)
        for text, score, box, edges in zip(
            texts.to_pylist(),
            _round(scores, SCORE_DECIMALS).tolist(),
            _round(boxes.flatten(), BOX_DECIMALS).reshape(-1, 8).tolist(),
            _parse_edges(column),
            strict=True,
        )
    ]


def _parse_edges(column: pa.StructArray) -> Iterator[tuple[float, ...]]:
    if column.type.get_field_index("edges") < 0:  # format 2
        yield from repeat((), len(column))
        return
    edges = column.field("edges")
    all_edges = iter(_round(edges.flatten(), EDGE_DECIMALS).tolist())
    for count in edges.value_lengths().to_pylist():
        yield tuple(islice(all_edges, count))


def _round(column: pa.Array, decimals: int) -> npt.NDArray[np.float64]:
    """Restores numbers that had fewer decimals than float32 stores."""
    return np.round(column.to_numpy().astype(np.float64), decimals)

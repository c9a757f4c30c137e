"""Turns data sets into data sets of format 2, which older versions wrote."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription

_BOX = pa.list_(pa.float32(), 8)
_LINES = pa.list_(pa.struct([("text", pa.string()), ("score", pa.float32()), ("box", _BOX)]))


def make_old(root: Path, *, rows: bool = True, records: bool = True) -> LabelledDataSet:
    """Rewrites a finished data set in format 2: a tag has its first place only, and a line has no edges.

    rows: False changes only the manifest. records: whether the data set has records and hashes of its files.
    """
    data_set = LabelledDataSet(root)
    with_text = data_set.manifest().has_text
    data_set.manifest_path.write_text(json.dumps({**read_object(data_set.manifest_path), "format": 2}, indent=2) + "\n")
    for number in data_set.finished_shards() if with_text and rows else ():
        _rewrite(data_set.ocr_path(number), "lines", _LINES, _without_edges)
        if not records:
            continue
        _rewrite(data_set.records_path(number), "tags", None, _first_places)
        files = data_set.data_files(number, with_text=True)
        hashes = {name: vars(FileDescription.of(path)) for name, path in files.items()}
        data_set.stats_path(number).write_text(
            json.dumps({**read_object(data_set.stats_path(number)), "files": hashes})
        )
    return data_set


def _rewrite(path: Path, name: str, kind: pa.DataType | None, change: Any) -> None:
    table = pq.read_table(path)
    column = table.schema.get_field_index(name)
    schema = table.schema if kind is None else table.schema.set(column, pa.field(name, kind))
    rows = [{**row, name: change(row[name])} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def _without_edges(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "edges"} for line in lines]


def _first_places(places: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[int, dict[str, Any]] = {}
    for place in places:
        first.setdefault(place["id"], place)
    return list(first.values())

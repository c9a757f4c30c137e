"""Runs of ``ovocr split``, and the rows of data sets."""

from pathlib import Path
from typing import Any

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.options import SplitOptions
from ovocr.labelgen.split.split import split
from ovocr.labelgen.split.totals import SplitTotals
from tests.labelgen.data_sets import rows


def divide(source: Path, out: Path, **options: Any) -> SplitTotals:
    return split(SplitOptions(source=source, out=out, **{"share": 0.3, "workers": 1, **options}), progress=False)


def all_rows(root: Path) -> list[dict[str, Any]]:
    data_set = LabelledDataSet.open(root)
    return [row for shard in data_set.all_shards() for row in rows(data_set.records_path(shard))]

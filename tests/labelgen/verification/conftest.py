"""Data sets to damage. New hashes for damaged files test the other checks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription
from ovocr.labelgen.options import PackOptions, RelabelOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.relabel.relabel import relabel
from ovocr.labelgen.shards.totals import Totals
from ovocr.labelgen.verification.report import VerificationReport
from ovocr.labelgen.verification.verify import VerifyOptions, verify

Built = tuple[LabelledDataSet, Totals]


def verify_folder(root: Path, **options: Any) -> VerificationReport:
    return verify(VerifyOptions(root=root, **options), progress=False)


def rehash_shards(data_set: LabelledDataSet) -> None:
    """Writes the current hashes of the files into the statistics, if both can be read."""
    with_text = "labels" not in read_object(data_set.manifest_path)
    for number in data_set.finished_shards():
        try:
            stats = json.loads(data_set.stats_path(number).read_text())
        except ValueError:
            continue
        paths = data_set.data_files(number, with_text=with_text)
        if "files" in stats and all(path.is_file() for path in paths.values()):
            stats["files"] = {name: vars(FileDescription.of(path)) for name, path in paths.items()}
            data_set.stats_path(number).write_text(json.dumps(stats))


def edit_rows(path: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edits the rows of a Parquet file in place. The columns stay."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


@pytest.fixture(scope="session")
def check() -> Callable[..., VerificationReport]:
    return verify_folder


@pytest.fixture(scope="session")
def rehash() -> Callable[[LabelledDataSet], None]:
    return rehash_shards


@pytest.fixture(scope="session")
def edited() -> Callable[..., None]:
    return edit_rows


@pytest.fixture
def copy(built: Built, tmp_path: Path) -> LabelledDataSet:
    """Returns a copy of the labelled data set, to be damaged."""
    return LabelledDataSet(Path(shutil.copytree(built[0].root, tmp_path / "copy")))


@pytest.fixture(scope="session")
def relabelled(built: Built, tmp_path_factory: pytest.TempPathFactory) -> LabelledDataSet:
    """Makes a relabelled data set: policy idf, repeats, and fewer slots than words."""
    out = tmp_path_factory.mktemp("relabelled") / "out"
    options = RelabelOptions(source=built[0].root, out=out, policy="idf", repeats=True, tags=3, seed=4)
    relabel(options, progress=False)
    return LabelledDataSet(out)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]], tar: Any) -> LabelledDataSet:
    """Makes a packed data set."""
    folder = tmp_path_factory.mktemp("packed")
    table = pa.table({"key": ["a/fox.jpg", "b/many.PNG", "b/cut.jpg"], "labels": [[5, 3], [9, 8, 7, 6, 5], [1]]})
    pq.write_table(table, folder / "t.parquet")
    source = tar(folder / "first.tar", members)
    options = PackOptions(
        sources=(str(source),), out=folder / "out", labels=str(folder / "t.parquet"), workers=1, tags=4
    )
    pack_labels(options, progress=False)
    return LabelledDataSet(folder / "out")

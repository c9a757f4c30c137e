"""Splits that are refused write nothing; interrupted ones resume and give the same bytes."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.holdout.rule import is_held_out
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, SplitOptions
from tests.labelgen.data_sets import digests
from tests.labelgen.split.dividing import all_rows, divide


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "--share 0: must be above 0 and below 1, such as 0.1 for a tenth of the images"),
        ({"share": 1.0}, "--share 1: must be above 0 and below 1"),
        ({"share": float("nan")}, "--share nan: must be above 0 and below 1"),
        ({"seed": -1}, "--seed -1: must be from 0 to"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
        (
            {"by": "shop"},
            "--by shop: images have key and source; name a table that has the columns key and shop with --groups",
        ),
        ({"by": "key", "groups": Path("t.csv")}, "--by key: is the column of the images' keys; choose another column"),
        ({"out": Path("data/labels")}, "--out data/labels: is in the data set to divide; choose another folder"),
        ({"out": Path("data/labels/rec")}, "--out data/labels/rec: is in the data set to divide"),
        ({"out": Path("data")}, "--out data: contains the data set to divide; choose another one"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        SplitOptions(**{"source": Path("data/labels"), "out": Path("data/split"), **options})


def refused(source: Path, out: Path, **options: Any) -> str:
    before = digests(out) if out.exists() else None
    with pytest.raises(OvocrError) as error:
        divide(source, out, **options)
    assert (digests(out) if out.exists() else None) == before
    return str(error.value)


def test_nothing_or_everything_held_out(whole: LabelledDataSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    message = "--share 1e-06: holds out none of 94 images; choose another --share or --seed"
    assert refused(whole.root, out, share=1e-6) == message
    assert refused(whole.root, out, share=1e-6, by="source").startswith("--share 1e-06: holds out none of 4 sources;")
    message = "--share 0.999999: holds out all of 94 images; choose another --share or --seed"
    assert refused(whole.root, out, share=1 - 1e-6) == message
    (tmp_path / "one.csv").write_text("key,group\n" + "".join(f"{n:02d}.png,a\n" for n in range(23)))
    assert "of 72 groups;" in refused(whole.root, out, share=1e-6, groups=tmp_path / "one.csv")


def test_single_source(options: BuildOptions, tmp_path: Path) -> None:
    build_labels(dataclasses.replace(options, sources=options.sources[2:3], out=tmp_path / "labels"), progress=False)
    found = refused(tmp_path / "labels", tmp_path / "out", by="source")
    assert re.fullmatch(r"--share 0.3: holds out (none|all) of 1 source; .*, or divide by key", found)


def test_part_without_tags(whole: LabelledDataSet, tmp_path: Path) -> None:
    rows = all_rows(whole.root)
    ok = {row["key"]: False for row in rows} | {row["key"]: True for row in rows if row["status"] == "ok"}
    held_out = ([is_ok for key, is_ok in ok.items() if is_held_out(key, 0.02, seed)] for seed in range(1000))
    seed, count = next((seed, len(own)) for seed, own in enumerate(held_out) if own and not any(own))
    assert refused(whole.root, tmp_path / "out", share=0.02, seed=seed) == (
        f"--share 0.02: holds out {count} of 94 images, but no image of the held-out part has tags; "
        "choose another --share or --seed"
    )


def test_tables_of_groups(whole: LabelledDataSet, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("key,shop\nnowhere.png,1\n")
    found = refused(whole.root, tmp_path / "out", groups=table, by="document")
    assert found == (
        f"--groups {table}: has no column 'document'; needed are the columns 'key' and 'document', it has 'key', 'shop'"
    )
    found = refused(whole.root, tmp_path / "out", groups=table, by="shop")
    assert found.startswith(f"--groups {table}: no image has a row: an image's key is 'a0/0.png', the table's first is")


def test_unfinished_data_set(whole: LabelledDataSet, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "labels")
    LabelledDataSet(tmp_path / "labels").stats_path(2).unlink()
    found = refused(tmp_path / "labels", tmp_path / "out")
    assert found == f"{tmp_path}/labels: only 5 of 6 shards are finished; finish it with `ovocr build-labels`"


def test_other_settings_name_the_difference(whole: LabelledDataSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    divide(whole.root, out)
    start, end = f"--out {out}: split with other settings: ", "; repeat those, or choose another --out"
    assert refused(whole.root, out, share=0.4) == f"{start}share is 0.3 there, 0.4 in this run{end}"
    assert refused(whole.root, out, seed=4) == f"{start}seed is 0 there, 4 in this run{end}"
    table = tmp_path / "t.csv"
    table.write_text("key,group\n" + "".join(f"{n:02d}.png,{n % 3}\n" for n in range(23)))
    found = refused(whole.root, out, groups=table)
    assert found == f"{start}by is 'key' there, 'group' in this run{end}"
    divide(whole.root, tmp_path / "grouped", groups=table)
    table.write_text(table.read_text() + "x,9\n")
    assert "groups_sha256 is '" in refused(whole.root, tmp_path / "grouped", groups=table)


def test_folder_of_another_data_set(whole: LabelledDataSet, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "out" / "train")
    found = refused(whole.root, tmp_path / "out")
    assert found == f"--out {tmp_path}/out: {tmp_path}/out/train is another data set; choose another --out"


def test_repaired_data_set_has_changed(whole: LabelledDataSet, tmp_path: Path) -> None:
    """The manifest of a data set says nothing about shards that were made again."""
    shutil.copytree(whole.root, tmp_path / "labels")
    divide(tmp_path / "labels", tmp_path / "out")
    path = LabelledDataSet(tmp_path / "labels").stats_path(0)
    statistics = json.loads(path.read_text())
    path.write_text(json.dumps({**statistics, "seconds": 99.0}))
    divide(tmp_path / "labels", tmp_path / "out")
    statistics["files"]["rec"]["sha256"] = "0" * 64
    path.write_text(json.dumps(statistics))
    assert "labels: has changed since it was split" in refused(tmp_path / "labels", tmp_path / "out")


def test_moved_data_set_is_the_same(whole: LabelledDataSet, tmp_path: Path) -> None:
    divide(whole.root, tmp_path / "out")
    shutil.copytree(whole.root, tmp_path / "moved")
    totals = divide(tmp_path / "moved", tmp_path / "out")
    assert (totals.linked, totals.copied, totals.divided) == (0, 0, 0)


def test_killed_run_resumes_and_gives_the_same_bytes(whole: LabelledDataSet, tmp_path: Path) -> None:
    divide(whole.root, tmp_path / "wanted")
    out = tmp_path / "out"
    script = f"""
import os, signal
from pathlib import Path
from ovocr.dataset.holdout import shard_parts
from ovocr.labelgen.options import SplitOptions
from ovocr.labelgen.split.split import split

copy = shard_parts.WholeShard._copy_records

def die_in_the_third_shard(self, rec, record_ids):
    copy(self, rec, record_ids)
    if self.number == 2:
        rec._flush()
        os.kill(os.getpid(), signal.SIGKILL)

shard_parts.WholeShard._copy_records = die_in_the_third_shard
options = SplitOptions(source=Path({str(whole.root)!r}), out=Path({str(out)!r}), share=0.3, workers=1)
split(options, progress=False)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    train = LabelledDataSet(out / "train")
    assert train.finished_shards() == [0, 1]
    assert list(train.root.rglob("00002.*.partial"))
    with pytest.raises(OvocrError, match="finish it with `ovocr split`"):
        train.all_shards()
    first = train.stats_path(0).stat().st_mtime_ns
    totals = divide(whole.root, out)
    assert totals.divided == 4
    assert train.stats_path(0).stat().st_mtime_ns == first
    assert digests(out) == digests(tmp_path / "wanted")
    assert not list(out.rglob("*.partial"))


def test_several_processes_give_the_same_bytes(
    whole: LabelledDataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GROUPED_AT_LEAST", "DIVIDED_AT_LEAST"):
        monkeypatch.setattr(f"ovocr.labelgen.split.split.{name}", 1)
    monkeypatch.setattr("ovocr.labelgen.shards.worker_count.available_cores", lambda: 2)
    several = divide(whole.root, tmp_path / "several", workers=2)
    alone = divide(whole.root, tmp_path / "alone", workers=1)
    assert digests(tmp_path / "several") == digests(tmp_path / "alone")
    assert dataclasses.replace(several, seconds=0) == dataclasses.replace(alone, seconds=0)


def test_labels_are_not_appended_to_a_part(
    whole: LabelledDataSet, options: BuildOptions, tar: Callable[..., Path], tmp_path: Path
) -> None:
    divide(whole.root, tmp_path / "out")
    before = digests(tmp_path / "out")
    for append in (False, True):
        with pytest.raises(OvocrError) as error:
            build_labels(dataclasses.replace(options, out=tmp_path / "out" / "train", append=append), progress=False)
        assert str(error.value) == (
            f"--out {tmp_path}/out/train: is a part of a data set that `ovocr split` divided; add the images to the "
            "whole data set and split it again into another --out, where the held-out images stay held out"
        )
    assert digests(tmp_path / "out") == before


def test_a_part_is_not_divided_by_the_hashes_that_made_it(whole: LabelledDataSet, tmp_path: Path) -> None:
    divide(whole.root, tmp_path / "parts")
    train = tmp_path / "parts" / "train"
    assert refused(train, tmp_path / "out", share=0.5) == (
        f"--seed 0: {train} is the train part of a split with this seed, so its shares would be wrong; choose another "
        "--seed"
    )
    divide(train, tmp_path / "out", share=0.5, seed=1)
    assert refused(tmp_path / "out" / "held-out", tmp_path / "again", seed=1).startswith("--seed 1: ")

"""Runs that are interrupted, killed, repeated or concurrent keep, redo or refuse shards."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.errors import OvocrError
from ovocr.base.files import locked
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen import build
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions
from ovocr.vocab import Vocabulary
from tests.labelgen.data_sets import FILES, Built, again, digests, rows, wait_for, wait_for_writer


def test_a_rerun_leaves_a_finished_data_set_unchanged(built: Built, options: BuildOptions):
    before = {path: path.stat().st_mtime_ns for path in built[0].root.rglob("*") if path.is_file()}
    totals = build_labels(options, progress=False)
    assert totals.built == 0
    assert totals.format().endswith("nothing to do: all shards are finished")
    assert totals.counts == built[1].counts
    assert before == {path: path.stat().st_mtime_ns for path in built[0].root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 8}, "options.seed is 7 there, 8 in this run"),
        ({"tags": 6}, "options.tags is 5 there, 6 in this run"),
        ({"max_pixels": 9}, "options.max_pixels is 50000000 there, 9"),
        ({"vocab": "other"}, "vocabulary.size is 12 there, 1 in this run"),
    ],
)
def test_a_different_configuration_is_refused(
    built: Built, options: BuildOptions, tmp_path: Path, change: dict[str, Any], difference: str
):
    if change.get("vocab"):
        Vocabulary(["fox"]).save(tmp_path / "other.txt")
        change = {"vocab": str(tmp_path / "other.txt")}
    with pytest.raises(OvocrError, match=f"made with another configuration: {difference}"):
        build_labels(again(options, **change), progress=False)


def test_a_killed_run_resumes_with_the_same_bytes(built: Built, options: BuildOptions, tmp_path: Path):
    out = tmp_path / "killed"
    process = start(again(options, out=out))
    wait_for(out / "stats" / "00000.json", process)
    process.kill()
    process.communicate()
    first = (out / "stats" / "00000.json").stat().st_mtime_ns
    # Leftovers of a kill in the middle of a shard.
    for kind, end in FILES:
        (out / kind / f"00001.{end}.partial").write_bytes(b"half")  # of an earlier version
    (out / ".starting-killed").mkdir()
    for number in (0, 1):
        (out / f".making-0000{number}-killed" / "rec").mkdir(parents=True)
        (out / f".making-0000{number}-killed" / "rec" / f"0000{number}.rec.partial").write_bytes(b"half")
    (out / "stats" / "00001.json").unlink(missing_ok=True)
    totals = build_labels(again(options, out=out), progress=False)
    assert totals.built == 1
    assert (out / "stats" / "00000.json").stat().st_mtime_ns == first
    assert digests(out) == digests(built[0].root)
    assert not list(out.rglob("*.partial")) + list(out.glob(".starting-*")) + list(out.glob(".making-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_leaves_no_partial_files(options: BuildOptions, tmp_path: Path, number: signal.Signals):
    out = tmp_path / "stopped"
    process = start(again(options, out=out))
    wait_for_writer(out, 0, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stderr == f"interrupted; finished shards are kept in {out}: run the same command again to resume\n"
    assert not list(out.rglob("*.partial")) + list(out.glob(".making-*"))
    assert LabelledDataSet(out).finished_shards() in ([], [0])


def start(options: BuildOptions) -> subprocess.Popen[str]:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ovocr.base.errors import OvocrError\n"
        "from ovocr.labelgen.build import build_labels\n"
        "from ovocr.labelgen.options import BuildOptions\n"
        f"options = BuildOptions(sources={options.sources!r}, out=Path({str(options.out)!r}),\n"
        f"    vocab={options.vocab!r},\n"
        f"    workers={options.workers}, tags={options.tags}, seed={options.seed}, shard_slice={options.shard_slice})\n"
        "try:\n"
        "    build_labels(options, progress=False)\n"
        "except OvocrError as error:\n"
        "    sys.exit(str(error))\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def test_an_image_that_times_out_is_quarantined_and_can_be_retried(built: Built, options: BuildOptions, tmp_path: Path):
    # The source has one image, which cannot be read in this time.
    only = again(options, sources=options.sources[1:], out=tmp_path / "slow")
    hasty = build_labels(again(only, image_timeout_s=0.001), progress=False)
    assert (hasty.counts["quarantined"], hasty.counts["reasons"]) == (1, {"timeout": 1})
    data_set = LabelledDataSet.open(only.out)
    assert data_set.rec_prefix(0).with_suffix(".rec").read_bytes() == b""
    assert data_set.rec_prefix(0).with_suffix(".idx").read_bytes() == b""
    assert rows(data_set.ocr_path(0)) == []

    assert build_labels(only, progress=False).built == 0
    retried = build_labels(again(only, retry_quarantined=True), progress=False)
    assert (retried.built, retried.counts["ok"], retried.counts["quarantined"]) == (1, 1, 0)
    for end in (".rec", ".idx"):
        whole = built[0].rec_prefix(1).with_suffix(end)
        assert data_set.rec_prefix(0).with_suffix(end).read_bytes() == whole.read_bytes()
    assert build_labels(again(only, retry_quarantined=True), progress=False).built == 0


def test_a_locked_shard_is_refused(built: Built, options: BuildOptions, tmp_path: Path):
    data_set = LabelledDataSet(tmp_path / "labels")
    with (
        locked(data_set.lock_path(0), "held"),
        pytest.raises(OvocrError, match="shard 0 is being written by another process; wait for it, or divide"),
    ):
        build_labels(again(options, out=data_set.root), progress=False)
    build_labels(again(options, out=data_set.root), progress=False)
    assert digests(data_set.root) == digests(built[0].root)
    assert not list(data_set.root.rglob("*.lock"))


def test_several_processes_may_create_a_data_set_together(built: Built, options: BuildOptions, tmp_path: Path):
    out = tmp_path / "together"
    processes = [start(again(options, out=out, shard_slice=(number, 2))) for number in range(2)]
    assert [process.communicate(timeout=60)[1] for process in processes] == ["", ""]
    assert digests(out) == digests(built[0].root)
    assert not list(out.glob(".starting-*"))


def test_a_shard_that_another_run_finishes_meanwhile_is_skipped(
    built: Built, options: BuildOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """Both runs start without a finished shard. One makes the first shard before the other reaches it."""
    out = tmp_path / "out"
    settle = build.Destination.settle

    def late(self: Any, *arguments: Any) -> None:
        settle(self, *arguments)
        # The other run finishes the shard after this one has looked for unfinished shards.
        for kind, end in FILES:
            (out / kind).mkdir(exist_ok=True)
            shutil.copy(built[0].root / kind / f"00000.{end}", out / kind)
        (out / "stats").mkdir(exist_ok=True)
        shutil.copy(built[0].root / "stats" / "00000.json", out / "stats")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.Destination, "settle", late)
        totals = build_labels(again(options, out=out), progress=False)
    assert (totals.built, totals.shards) == (1, 2)
    assert "ovocr: shard 0 was made by another process meanwhile\n" in capfd.readouterr().err
    assert digests(out) == digests(built[0].root)

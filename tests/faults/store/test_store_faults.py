"""Labelling to and from an object store whose requests fail, with real commands behind a proxy."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.slow_store import SlowStore
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from tests.faults.conftest import MakeRow

pytestmark = pytest.mark.faults

DEADLINE_S = 400
RESUMES = "finished shards are kept: run the same command again to resume"


def noise(side: int, seed: int) -> bytes:
    """Returns an image of about 3 * side * side bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG", compress_level=0)
    return buffer.getvalue()


def write_tar(path: Path, images: int, side: int) -> Path:
    with tarfile.open(path, "w") as archive:
        for number in range(images):
            info = tarfile.TarInfo(f"{path.stem}-{number}.png")
            info.size = len(data := noise(side, number))
            archive.addfile(info, io.BytesIO(data))
    return path


@dataclass(kw_only=True)
class Packing:
    """A command that packs images to a bucket, and the bytes that it must write there."""

    bucket: Any
    sources: list[str]
    table: Path
    expected: dict[str, str]

    def to_bucket(self, **environment: str) -> subprocess.Popen[str]:
        """Starts the command."""
        command = ["pack-labels", *self.sources, "--labels", str(self.table)]
        command += ["--out", f"{self.bucket.url}/out", "--workers", "1"]
        return subprocess.Popen(
            [sys.executable, "-m", "ovocr", *command, "--json", "-"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> tuple[int, dict[str, Any], list[str]]:
        """Returns exit code, totals and the lines on stderr that are no progress."""
        return outcome(self.to_bucket())

    def stored(self) -> dict[str, str]:
        names = [name for name in self.bucket.names("out/") if "/stats/" not in name]
        return {name[len("out/") :]: hashlib.sha256(self.bucket.get(name)).hexdigest() for name in names}

    def check_whole(self) -> None:
        """The bytes are those of a run to a disk, `verify` finds no error, and no upload is unfinished."""
        assert self.stored() == self.expected
        assert self.bucket.unfinished_uploads() == []
        report = verify(VerifyOptions(root=f"{self.bucket.url}/out", workers=1), progress=False)
        assert (report.findings, report.unfinished) == ([], [])


def outcome(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], list[str]]:
    text, errors = process.communicate(timeout=DEADLINE_S)
    lines = [line for line in errors.splitlines() if " images/s" not in line]
    return process.returncode, json.loads(text or "{}"), lines


def pack_to_disk(folder: Path, tars: list[Path], sources: list[str]) -> tuple[Path, dict[str, str]]:
    """Packs to a folder. Returns the table of labels and the files' hashes, except statistics, which contain times."""
    keys = []
    for tar in tars:
        with tarfile.open(tar) as archive:
            keys += archive.getnames()
    table = folder / "labels.csv"
    table.write_text("key,label\n" + "".join(f"{key},{number % 9}\n" for number, key in enumerate(keys)))
    out = folder / "out"
    pack_labels(PackOptions(sources=tuple(sources), labels=str(table), out=out, workers=1), progress=False)
    paths = (path for path in out.rglob("*") if path.is_file() and path.parent.name != "stats")
    return table, {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture
def small(bucket: Any, tmp_path: Path) -> Packing:
    """Four shards of 0.7 MB, from archives in the store."""
    tars = [write_tar(tmp_path / f"{number}.tar", 10, 150) for number in range(4)]
    sources = [bucket.put(f"in/{tar.name}", tar.read_bytes()) for tar in tars]
    table, expected = pack_to_disk(tmp_path, tars, sources)
    return Packing(bucket=bucket, sources=sources, table=table, expected=expected)


@pytest.fixture(scope="module")
def large_on_disk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("large")
    tar = write_tar(folder / "large.tar", 30, 1100)
    return tar, *pack_to_disk(folder, [tar], [str(tar)])


@pytest.fixture
def large(bucket: Any, large_on_disk: tuple[Path, Path, dict[str, str]]) -> Packing:
    """One shard of more than 32 MiB, which is uploaded in parts, from an archive on a disk."""
    tar, table, expected = large_on_disk
    return Packing(bucket=bucket, sources=[str(tar)], table=table, expected=expected)


def wait_until(happened: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def asked(proxy: SlowStore, part: str) -> bool:
    return any(method == "PUT" and part in path for method, path in list(proxy.begun))


def told(proxy: SlowStore, totals: dict[str, Any]) -> str:
    return f"{len(proxy.failed())} of {len(proxy.requests)} requests failed, {totals['store_requests_repeated']} told"


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_share_of_failing_requests(share: float, small: Packing, proxy: SlowStore, fault_row: MakeRow):
    row = fault_row(
        "object store",
        f"{share:.0%} of the requests fail (500, 503, cut in the body)",
        "the same bytes; repeated requests are told",
    )
    proxy.failures = share
    code, totals, errors = small.run()
    proxy.failures = 0.0
    assert code == 0, errors
    assert totals["store_requests_repeated"] <= len(proxy.failed())
    assert totals["store_requests_repeated"] > 0 or share < 0.1
    row.happened = f"the same bytes, verify sound; {told(proxy, totals)}"
    small.check_whole()


def test_slow_first_bytes(small: Packing, proxy: SlowStore, fault_row: MakeRow):
    row = fault_row(
        "object store", "each answer begins after 0.5 s, some after 8 s", "the same bytes, nothing repeated"
    )
    proxy.first_byte = 0.5
    seen: list[str] = []

    def rule(method: str, path: str) -> str:
        proxy.first_byte = 8.0 if method == "PUT" and path.endswith("0.rec") else 0.5
        seen.append(path)
        return ""

    proxy.rule = rule
    code, totals, errors = small.run()
    proxy.first_byte, proxy.rule = 0.0, lambda method, path: ""
    assert (code, totals["store_requests_repeated"]) == (0, 0), errors
    row.happened = f"the same bytes, verify sound; {told(proxy, totals)}"
    small.check_whole()


def test_connections_cut_in_mid_upload(large: Packing, proxy: SlowStore, fault_row: MakeRow):
    row = fault_row(
        "object store",
        "12 connections cut in the middle of a part of an upload, in a row",
        "the same bytes, no unfinished upload",
    )
    left = [12]

    def rule(method: str, path: str) -> str:
        if method != "PUT" or "/rec/" not in path or not left[0]:
            return ""
        left[0] -= 1
        return "cut-upload"

    proxy.rule = rule
    code, totals, errors = large.run()
    assert code == 0, errors
    assert left == [0]
    row.happened = f"the same bytes, verify sound, no unfinished upload; {told(proxy, totals)}"
    large.check_whole()


def test_store_that_is_down_for_a_while(small: Packing, proxy: SlowStore, fault_row: MakeRow):
    row = fault_row("object store", "closes every connection for 20 s", "one line on stderr, the same bytes")
    process = small.to_bucket()
    wait_until(lambda: asked(proxy, "/rec/00001.rec"), process)
    proxy.down = True
    back = threading.Timer(20, setattr, (proxy, "down", False))
    back.start()
    code, totals, errors = outcome(process)
    back.join()
    assert code == 0, errors
    assert len(errors) <= 1, errors
    assert totals["store_requests_repeated"] > 0
    repeated = f"{totals['store_requests_repeated']} requests repeated and told"
    row.happened = f"the same bytes, verify sound; {len(errors)} line(s) on stderr; {repeated}"
    small.check_whole()


@pytest.mark.parametrize(
    ("fault", "bound_s"),
    [("down", 120), ("403", 30), ("silent", 180)],
)
def test_store_that_stays_away(fault: str, bound_s: float, small: Packing, proxy: SlowStore, fault_row: MakeRow):
    what = {"down": "is gone for good", "403": "refuses the credentials", "silent": "accepts and never answers"}[fault]
    row = fault_row("object store", f"{what}, from the second shard on", "one clear line; the same command resumes")
    process = small.to_bucket()
    wait_until(lambda: asked(proxy, "/rec/00001.rec"), process)
    start = time.monotonic()
    proxy.down, proxy.rule = fault == "down", lambda method, path: "" if fault == "down" else fault
    code, _, errors = outcome(process)
    seconds = time.monotonic() - start
    assert code == 1
    assert seconds < bound_s * 2  # machines are busy
    (line,) = (line for line in errors if not line.endswith("; trying again"))
    assert line.startswith(f"ovocr: {small.bucket.url}/"), line
    assert line.endswith(f"; {RESUMES}"), line
    assert len(errors) <= 3, errors
    assert small.stored().items() <= small.expected.items()  # nothing half-written
    proxy.down, proxy.rule = False, lambda method, path: ""
    proxy.release()
    code, totals, errors = small.run()
    assert (code, errors) == (0, [])
    assert totals["shards_built"] < totals["shards"] or fault == "down"
    reason = line.removesuffix(f"; {RESUMES}").split(": ", 2)[2].replace(proxy.url, "")
    row.happened = (
        f'ended after {seconds:.0f} s ("{reason}"); '
        f"the same command made the other {totals['shards_built']} shards, the same bytes, verify sound"
    )
    small.check_whole()


def test_kill_in_mid_upload(large: Packing, proxy: SlowStore, fault_row: MakeRow):
    row = fault_row("object store", "SIGKILL in the middle of an upload in parts", "no half object; a rerun finishes")
    proxy.upload_rate = 4e6
    process = large.to_bucket()
    wait_until(lambda: asked(proxy, "partNumber="), process)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    assert "rec/00000.rec" not in large.stored()
    left = large.bucket.unfinished_uploads()
    assert left == ["out/rec/00000.rec"]
    proxy.upload_rate = 0.0
    code, _, errors = large.run()
    assert (code, errors) == (0, [])
    row.happened = "no object, 1 unfinished upload; the rerun wrote the same bytes and removed it, verify sound"
    large.check_whole()


@pytest.mark.parametrize("moment", ["partNumber=", "/records/00000.parquet", "/stats/00000.json"])
def test_suspended_run_does_no_harm(moment: str, large: Packing, proxy: SlowStore, fault_row: MakeRow):
    """One run is stopped while it uploads an object; another makes the same shard; the first goes on.

    The suspended run's upload of a small object is on its way and reaches the store after the other run has finished.
    """
    row = fault_row(
        "object store",
        f"SIGSTOP during the upload of {moment.strip('=/')}, another run makes the shard, SIGCONT",
        "the other run's shard stays whole",
    )
    if moment == "partNumber=":
        proxy.upload_rate = 8e6  # two seconds for a part
    else:
        proxy.rule = lambda method, path: "late" if method == "PUT" and moment in path else ""
    process = large.to_bucket()
    wait_until(lambda: asked(proxy, moment), process)
    process.send_signal(signal.SIGSTOP)
    code, totals, errors = outcome(large.to_bucket(AWS_ENDPOINT_URL=large.bucket.endpoint))
    assert (code, errors) == (0, [])
    assert totals["shards_built"] == 1
    versions = {name: large.bucket.version(name) for name in large.bucket.names("out/")}
    statistics = large.bucket.get("out/stats/00000.json")
    time.sleep(1.1)  # versions are seconds
    proxy.upload_rate, proxy.rule = 0.0, lambda method, path: ""
    proxy.release()
    process.send_signal(signal.SIGCONT)
    code, _, errors = outcome(process)
    assert code == 0, errors
    assert "ovocr: shard 0 was made by another process meanwhile" in errors
    assert large.bucket.get("out/stats/00000.json") == statistics
    replaced = [name for name, version in versions.items() if large.bucket.version(name) != version]
    assert replaced == (["out" + moment] if moment.startswith("/records") else [])
    row.happened = (
        f"the first run said that another one made the shard; {len(replaced)} objects written again, as they were; "
        "verify sound, no unfinished upload"
    )
    large.check_whole()

"""Uploads and sources while requests fail: the bytes are the same, repeated requests are told, nothing is left over."""

import dataclasses
import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.slow_store import SlowStore
from ovocr.base import attempts, s3_client
from ovocr.base.errors import StoreError
from ovocr.base.object_store import connect
from ovocr.labelgen.options import PackOptions
from ovocr.labelgen.pack import PackTotals, pack_labels
from ovocr.labelgen.sources import plan_shards, read_shard

Rule = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Makes pauses short. The client repeats a request once, so some failures come through to the attempts."""
    monkeypatch.setattr(attempts, "_PAUSES_S", (0.01, 0.01, 0.01))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture
def packing(tmp_path: Path, members: list[tuple[str, bytes]], tar: Callable[..., Path]) -> PackOptions:
    """Returns the options of a packing run with two shards, to a folder."""
    table = tmp_path / "labels.csv"
    table.write_text("key,label\na/fox.jpg,3\nb/many.PNG,5\nc.jpg,1\n")
    sources = tar(tmp_path / "a.tar", members), tar(tmp_path / "b.tar", [("c.jpg", members[0][1])])
    return PackOptions(sources=tuple(map(str, sources)), labels=str(table), out=tmp_path / "out", workers=1)


def pack(options: PackOptions, bucket: Any) -> PackTotals:
    return pack_labels(dataclasses.replace(options, out=f"{bucket.url}/out"), progress=False)


def expected(options: PackOptions) -> dict[str, str]:
    """Returns the hashes of the files of a run to a folder, except statistics, which contain times."""
    totals = pack_labels(options, progress=False)
    assert totals.repeated is None
    assert "store_requests_repeated" not in totals.to_json()
    paths = (path for path in Path(options.out).rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(options.out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def stored(bucket: Any) -> dict[str, str]:
    names = [name for name in bucket.names("out/") if "/stats/" not in name]
    return {name.removeprefix("out/"): hashlib.sha256(bucket.get(name)).hexdigest() for name in names}


def first_times(kind: str, times: int, method: str, part: str) -> Rule:
    """Returns a rule: the first requests of this method for each path that contains ``part`` fail."""
    seen: Counter[str] = Counter()

    def rule(asked: str, path: str) -> str:
        if asked != method or part not in path:
            return ""
        seen[path] += 1
        return kind if seen[path] <= times else ""

    return rule


@pytest.mark.parametrize(
    ("kind", "times", "part"),
    [
        ("503", 1, "/out/"),
        ("500", 3, "/rec/"),
        ("cut-upload", 5, "/rec/"),
        ("lost", 4, "/stats/"),
    ],
)
def test_failed_uploads_are_repeated_and_told(
    kind: str, times: int, part: str, packing: PackOptions, bucket: Any, proxy: SlowStore, capfd: Any
):
    proxy.rule = first_times(kind, times, "PUT", part)
    totals = pack(packing, bucket)
    failed = len(proxy.failed())
    assert failed >= 2
    assert totals.repeated == totals.to_json()["store_requests_repeated"]
    # aiohttp itself repeats a request whose connection was kept open and is closed.
    assert 0 < totals.repeated <= failed
    assert totals.repeated == failed or kind in ("cut-upload", "lost")
    assert re.search(rf"^{totals.repeated} requests? to the store w\w+ repeated$", totals.format(), re.MULTILINE)
    assert stored(bucket) == expected(packing)
    assert bucket.unfinished_uploads() == []
    errors = capfd.readouterr().err.splitlines()
    assert all(line.endswith("; trying again") for line in errors), errors  # no line about another process
    assert len(errors) == (times > 1)  # the client repeats a single failure silently


def test_nothing_is_told_without_failures(packing: PackOptions, bucket: Any):
    totals = pack(packing, bucket)
    assert totals.repeated == 0
    assert "repeated" not in totals.format()


@pytest.mark.parametrize("kind", ["403", "500", "silent"])
def test_run_that_ends_leaves_no_half_shard_and_resumes(
    kind: str, packing: PackOptions, bucket: Any, proxy: SlowStore, monkeypatch: pytest.MonkeyPatch
):
    """From the second file of the second shard on, every request fails."""
    ends: list[str] = []

    def rule(method: str, path: str) -> str:
        ends.extend(["now"] if method == "PUT" and "00001.idx" in path else [])
        return kind if ends else ""

    proxy.rule = rule
    reason = {
        "403": "access denied",
        "500": "(an internal error|Internal Server Error)",
        "silent": r"no answer within [\d.]+ s",
    }[kind]
    if kind == "silent":
        monkeypatch.setattr(attempts, "_ATTEMPT_S", 1.0)
        monkeypatch.setattr(attempts, "_PATIENCE_S", 0.5)
    tried = {"403": "", "500": r" \(4 attempts in \d+ s\)", "silent": r" \(2 attempts in \d+ s\)"}[kind]
    expected_line = (
        rf"^{bucket.url}/out: {reason}{tried}; finished shards are kept: run the same command again to resume$"
    )
    with pytest.raises(StoreError, match=expected_line):
        pack(packing, bucket)
    proxy.release()
    assert "out/stats/00001.json" not in bucket.names()
    whole = expected(packing)
    assert stored(bucket).items() <= whole.items()
    proxy.rule = lambda method, path: ""
    assert pack(packing, bucket).built == 1
    assert stored(bucket) == whole


def test_shard_that_another_run_finishes_meanwhile_is_left_alone(
    packing: PackOptions, bucket: Any, proxy: SlowStore, capfd: Any
):
    """The other run finishes while the first upload of this one fails."""
    whole = expected(packing)
    other = Path(packing.out)

    def rule(method: str, path: str) -> str:
        if method != "PUT" or not path.endswith("/rec/00000.rec"):
            return ""
        for name in ("rec/00000.rec", "rec/00000.idx", "records/00000.parquet", "stats/00000.json"):
            bucket.put(f"out/{name}", (other / name).read_bytes())
        return "cut-upload"

    proxy.rule = rule
    assert pack(packing, bucket).counts["ok"] > 0
    assert "ovocr: shard 0 was made by another process meanwhile" in capfd.readouterr().err.splitlines()
    uploads = [each for each in proxy.requests if each.method == "PUT" and "/00000." in each.path]
    assert {(each.path, each.failure) for each in uploads} == {(f"/{bucket.name}/out/rec/00000.rec", "cut-upload")}
    assert stored(bucket) == whole
    assert bucket.get("out/stats/00000.json") == (other / "stats/00000.json").read_bytes()


def test_statistics_of_another_run_are_not_replaced(packing: PackOptions, bucket: Any, proxy: SlowStore, capfd: Any):
    """The other run finishes after this one has uploaded its data."""
    expected(packing)
    other = (Path(packing.out) / "stats/00000.json").read_bytes()

    def rule(method: str, path: str) -> str:
        if method == "PUT" and path.endswith("/stats/00000.json"):
            bucket.put("out/stats/00000.json", other)
        return ""

    proxy.rule = rule
    pack(packing, bucket)
    assert bucket.get("out/stats/00000.json") == other
    assert "ovocr: shard 0 was made by another process meanwhile" in capfd.readouterr().err.splitlines()


def test_rewritten_shard_replaces_objects(packing: PackOptions, bucket: Any):
    whole = (damaged := Path(packing.sources[0])).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2] + b"x" * (len(whole) - len(whole) // 2))
    pack(packing, bucket)
    damaged.write_bytes(whole)
    totals = pack(dataclasses.replace(packing, retry_quarantined=True), bucket)
    assert totals.built == 1
    assert stored(bucket) == expected(packing)
    assert "out/stats/00000.json" in bucket.names()


def test_parts_that_a_killed_run_left_are_removed(packing: PackOptions, bucket: Any):
    bucket.begin_upload("out/rec/00001.rec")
    bucket.begin_upload("elsewhere/rec/00001.rec")
    pack(packing, bucket)
    assert bucket.unfinished_uploads() == ["elsewhere/rec/00001.rec"]


def test_large_files_are_uploaded_in_parts_which_are_repeated(
    bucket: Any, proxy: SlowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(s3_client, "_PART_BYTES", 5 * 2**20)
    (tmp_path / "file").write_bytes(bytes(range(256)) * 2**10 * 44)
    store = connect(f"{bucket.url}/file")
    proxy.rule = first_times("cut-upload", 1, "PUT", "partNumber=")
    attempts.ask(store, "put_file", str(tmp_path / "file"), store.path, **s3_client.upload_options(store.system))
    assert bucket.get("file") == (tmp_path / "file").read_bytes()
    assert [each.failure for each in proxy.requests if each.method == "PUT"].count("cut-upload") == 3
    proxy.rule = lambda method, path: "500" if "partNumber=2" in path else ""
    with pytest.raises(OSError, match="(?i)internal"):
        attempts.ask(store, "put_file", str(tmp_path / "file"), store.path, **s3_client.upload_options(store.system))
    assert bucket.unfinished_uploads() == []


def test_upload_to_a_store_that_stops_receiving_ends(
    bucket: Any, proxy: SlowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(s3_client, "_STALLED_MS", 1000)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "file").write_bytes(bytes(30 * 2**20))
    store = connect(f"{bucket.url}/file")
    proxy.rule = lambda method, path: "stalled" if method == "PUT" else ""
    with pytest.raises(StoreError, match=r"^s3://.*/file: "), store.errors():
        store.system.put_file(str(tmp_path / "file"), store.path)
    assert bucket.names() == []


@pytest.mark.parametrize("name", ["in.tar", "in.zip", "in.parquet"])
def test_cut_reads_of_a_source_are_no_damage(
    name: str, bucket: Any, proxy: SlowStore, tmp_path: Path, tar: Callable[..., Path], capfd: Any
):
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [(f"{number}.jpg", bytes([number]) * 90_000) for number in range(20)]
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for key, data in images:
                archive.writestr(key, data)
    elif name.endswith("tar"):
        tar(tmp_path / name, images)
    else:
        keys, data = zip(*images, strict=True)
        pq.write_table(pa.table({"key": keys, "image": data}), tmp_path / name)
    url = bucket.put(name, (tmp_path / name).read_bytes())
    whole = [list(read_shard(shard)) for shard in plan_shards([str(tmp_path / name)], 100)]
    proxy.rule = first_times("cut", 2, "GET", f"/{name}")
    assert [list(read_shard(shard)) for shard in plan_shards([url], 100)] == whole
    assert len(proxy.failed()) >= 2
    shards = plan_shards([url], 100)
    proxy.rule = lambda method, path: "cut" if method == "GET" and path.endswith(name) else ""
    with pytest.raises(StoreError, match=rf"^{url}: .*payload.* \(4 attempts in \d+ s\)$"):
        [list(read_shard(shard)) for shard in shards]

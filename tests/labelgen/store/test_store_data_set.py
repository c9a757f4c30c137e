"""Data sets in an object store have the same bytes as on disk, even after kills and resumes."""

import dataclasses
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovocr.base.errors import OvocrError
from ovocr.base.object_store import connect
from ovocr.dataset.json_objects import read_object
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions, PackOptions
from ovocr.labelgen.pack import pack_labels
from ovocr.labelgen.shards.totals import Totals

Built = tuple[LabelledDataSet, Totals]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Yields the folder for temporary files of this process and its child processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    monkeypatch.setattr(tempfile, "tempdir", None)


def on_disk(root: Path) -> dict[str, str]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.parent.name != "stats")
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def in_store(bucket: Any, prefix: str = "out/") -> dict[str, str]:
    keys = [key for key in bucket.names(prefix) if "/stats/" not in key]
    return {key.removeprefix(prefix): hashlib.sha256(bucket.get(key)).hexdigest() for key in keys}


def in_bucket(options: BuildOptions, bucket: Any, **changes: Any) -> BuildOptions:
    return dataclasses.replace(options, out=f"{bucket.url}/out", **changes)


def start(options: BuildOptions) -> subprocess.Popen[str]:
    """Starts the command as a user does."""
    names = {"vocab": "--vocab", "tags": "--tags", "seed": "--seed", "workers": "--workers", "out": "--out"}
    arguments = [text for name, option in names.items() for text in (option, str(getattr(options, name)))]
    return subprocess.Popen(
        [sys.executable, "-m", "ovocr", "build-labels", *options.sources, *arguments], stderr=subprocess.PIPE, text=True
    )


def wait_for(happened: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_objects_are_the_files_of_a_local_run(built: Built, options: BuildOptions, bucket: Any, temporary: Path):
    totals = build_labels(in_bucket(options, bucket), progress=False)
    assert in_store(bucket) == on_disk(built[0].root)
    assert totals.counts == built[1].counts
    for number in (0, 1):
        stats = json.loads(bucket.get(f"out/stats/{number:05d}.json"))
        local = read_object(built[0].stats_path(number))
        assert {**stats, "seconds": 0} == {**local, "seconds": 0}
        # Written last: it marks the shard as finished.
        assert bucket.version(f"out/stats/{number:05d}.json") >= max(
            bucket.version(key) for key in bucket.names("out/") if f"{number:05d}" in key
        )
    assert list(temporary.iterdir()) == []


def test_a_rerun_leaves_a_finished_data_set_unchanged(options: BuildOptions, bucket: Any):
    build_labels(in_bucket(options, bucket), progress=False)
    before = {key: bucket.version(key) for key in bucket.names()}
    time.sleep(1.1)  # versions are seconds
    totals = build_labels(in_bucket(options, bucket), progress=False)
    assert (totals.built, totals.shards) == (0, 2)
    assert {key: bucket.version(key) for key in bucket.names()} == before


def test_a_killed_run_resumes_with_the_same_bytes(built: Built, options: BuildOptions, bucket: Any, temporary: Path):
    process = start(in_bucket(options, bucket))
    wait_for(lambda: "out/stats/00000.json" in bucket.names(), process)
    process.kill()
    process.communicate()
    bucket.remove("out/stats/00001.json")  # in case the run wrote it before the kill
    (left,) = temporary.iterdir()
    os.utime(left, (0, 0))
    first = bucket.version("out/stats/00000.json")
    totals = build_labels(in_bucket(options, bucket), progress=False)
    assert totals.built == 1
    assert bucket.version("out/stats/00000.json") == first
    assert in_store(bucket) == on_disk(built[0].root)
    assert list(temporary.iterdir()) == []


def test_concurrent_slices_make_one_data_set(built: Built, options: BuildOptions, bucket: Any):
    commands = [in_bucket(options, bucket, workers=1, shard_slice=(number, 2)) for number in (0, 1)]
    code = (
        "import pickle, sys; from ovocr.labelgen.build import build_labels; "
        "build_labels(pickle.load(sys.stdin.buffer), progress=False)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in commands]
    for process, command in zip(processes, commands, strict=True):
        process.stdin.write(pickle.dumps(command))
        process.stdin.close()
    assert [process.wait(120) for process in processes] == [0, 0]
    assert in_store(bucket) == on_disk(built[0].root)


def test_a_shard_with_quarantined_images_can_be_redone(options: BuildOptions, bucket: Any):
    build_labels(in_bucket(options, bucket), progress=False)
    before = in_store(bucket)
    totals = build_labels(in_bucket(options, bucket, retry_quarantined=True), progress=False)
    assert totals.built == 1
    assert in_store(bucket) == before


def test_a_different_configuration_is_refused(options: BuildOptions, bucket: Any):
    build_labels(in_bucket(options, bucket), progress=False)
    message = f"^{bucket.url}/out: made with another configuration: options.seed is 7 there, 8 in this run"
    with pytest.raises(OvocrError, match=message):
        build_labels(in_bucket(options, bucket, seed=8), progress=False)


def test_a_data_set_grows_as_on_disk(options: BuildOptions, bucket: Any, tmp_path: Path, members: Any):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "b.jpg").write_bytes(members[0][1])
    for out in (f"{bucket.url}/out", tmp_path / "out"):
        build_labels(dataclasses.replace(options, sources=(str(folder),), out=out), progress=False)
    (folder / "a.jpg").write_bytes(members[0][1])
    for out in (f"{bucket.url}/out", tmp_path / "out"):
        totals = build_labels(dataclasses.replace(options, sources=(str(folder),), out=out), progress=False)
        assert (totals.built, totals.counts["ok"]) == (1, 2)
    assert in_store(bucket) == on_disk(tmp_path / "out")
    assert "generations" in json.loads(bucket.get("out/manifest.json"))


def test_first_configuration_of_two_concurrent_starts_wins(options: BuildOptions, bucket: Any):
    """The other run uploads its manifest after this run found no manifest and before it uploads its own."""
    from ovocr.labelgen.shards.store_destination import StoreDestination

    with StoreDestination(f"{bucket.url}/out") as late:
        build_labels(in_bucket(options, bucket), progress=False)
        manifest, _ = Manifest.parse(json.loads(bucket.get("out/manifest.json")))
        late.settle(manifest, None)  # the same configuration is accepted
    for name in bucket.names("out/"):
        bucket.remove(name)
    with StoreDestination(f"{bucket.url}/out") as late:
        build_labels(in_bucket(options, bucket), progress=False)
        manifest = dataclasses.replace(manifest, policy=dataclasses.replace(manifest.policy, seed=8))
        with pytest.raises(OvocrError, match="made with another configuration: options.seed is 7 there, 8"):
            late.settle(manifest, None)
    assert json.loads(bucket.get("out/manifest.json"))["options"]["seed"] == 7


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("out/rec/00003.rec", "/out: contains rec/00003.rec but no manifest.json; restore manifest.json or"),
        ("out/vocab.txt", "/out: contains a different vocab.txt but no manifest.json"),
    ],
)
def test_foreign_objects_are_not_replaced(options: BuildOptions, bucket: Any, key: str, message: str):
    bucket.put(key, b"foreign")
    with pytest.raises(OvocrError, match=message):
        build_labels(in_bucket(options, bucket), progress=False)
    assert bucket.get(key) == b"foreign"
    assert "out/manifest.json" not in bucket.names()


def test_a_missing_bucket_is_a_one_line_error(options: BuildOptions, bucket: Any, temporary: Path):
    process = start(dataclasses.replace(options, out="s3://no-such-bucket/out"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "ovocr: s3://no-such-bucket/out: The specified bucket does not exist\n"
    assert list(temporary.iterdir()) == []


def test_a_source_in_the_output_folder_is_refused(options: BuildOptions, bucket: Any):
    source = bucket.put("out/rec/a.tar", Path(options.sources[1]).read_bytes())
    with pytest.raises(
        OvocrError, match="a.tar is in a folder where shards are written|contains rec/a.tar but no manifest"
    ):
        build_labels(in_bucket(options, bucket, sources=(source,)), progress=False)


def test_a_store_that_goes_away_ends_the_run_with_one_line(
    built: Built, options: BuildOptions, temporary: Path, monkeypatch: pytest.MonkeyPatch, bucket: Any
):
    """The test has its own endpoint, in a process that it kills."""
    code = (
        "import sys, time; from moto.server import ThreadedMotoServer as S; "
        "s = S('127.0.0.1', 0, verbose=False); s.start(); print(s.get_host_and_port()[1], flush=True); time.sleep(600)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        own = type(bucket)(endpoint, "own")
        process = start(dataclasses.replace(options, out="s3://own/out"))
        wait_for(lambda: "out/manifest.json" in own.names(), process)
    finally:
        server.kill()
        server.communicate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    *before, line = errors.splitlines()
    assert all(each.endswith("; trying again") for each in before), errors
    assert re.fullmatch(r"ovocr: s3://own/out: .* \(4 attempts in \d+ s\); finished shards are kept: .*", line), line
    assert list(temporary.iterdir()) == []


def test_pack_labels_writes_to_a_store(
    members: list[tuple[str, bytes]], tmp_path: Path, bucket: Any, tar: Callable[..., Path]
):
    source = bucket.put("in/a.tar", tar(tmp_path / "a.tar", members).read_bytes())
    table = tmp_path / "labels.csv"
    table.write_text("key,label\na/fox.jpg,3\nb/many.PNG,5\n")
    local = PackOptions(sources=(source,), labels=str(table), out=tmp_path / "out", workers=1)
    pack_labels(local, progress=False)
    totals = pack_labels(dataclasses.replace(local, out=f"{bucket.url}/out"), progress=False)
    assert in_store(bucket) == on_disk(tmp_path / "out")
    assert (totals.keys, totals.keys_without_image) == (2, None)


def test_given_text_is_written_to_a_store(options: BuildOptions, tmp_path: Path, bucket: Any):
    source = bucket.put("in/first.tar", Path(options.sources[0]).read_bytes())
    table = tmp_path / "lines.csv"
    table.write_text("key,text\na/fox.jpg,the quick fox\nb/many.PNG,river\nx.jpg,stone\n")
    local = dataclasses.replace(options, sources=(source,), lines=str(table), out=tmp_path / "out")
    build_labels(local, progress=False)
    totals = build_labels(in_bucket(local, bucket), progress=False).to_json()
    assert in_store(bucket) == on_disk(tmp_path / "out")
    assert (totals["ok"], totals["keys"], totals["keys_without_image"]) == (3, 3, None)


def test_listings_are_not_cached(bucket: Any):
    """A listing shows what other processes write."""
    store = connect(f"{bucket.url}/x")
    bucket.put("x/1", b"")
    assert len(store.system.find(store.path)) == 1
    bucket.put("x/2", b"")
    assert len(store.system.find(store.path)) == 2


def test_a_ray_cluster_writes_to_a_store(built: Built, options: BuildOptions, bucket: Any, temporary: Path):
    """The actors do not share a folder: each uploads its shards, and the command fetches the counts."""
    pytest.importorskip("ray", reason="Ray is not installed")
    sources = tuple(bucket.put(f"in/{Path(source).name}", Path(source).read_bytes()) for source in options.sources)
    code = (
        "import pickle, sys; from ovocr.labelgen.build import build_labels\n"
        "totals = build_labels(pickle.load(sys.stdin.buffer), progress=False)\n"
        "print(totals.counts['input'], totals.built)"
    )
    command = in_bucket(options, bucket, sources=sources, executor="ray")
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # Ray's sockets have paths of at most 107 bytes
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(command),
            env={**os.environ, "RAY_TMPDIR": short},
            capture_output=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == [str(built[1].counts["input"]), "2"]
    names = [name for name in on_disk(built[0].root) if name.startswith(("rec/", "ocr/"))]
    store = in_store(bucket)
    assert {name: store[name] for name in names} == {name: on_disk(built[0].root)[name] for name in names}
    assert list(temporary.glob("ovocr-upload-*")) == []

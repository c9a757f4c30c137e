"""Commands read data sets in an object store as on a disk, without leaving temporary files."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.slow_store import SlowStore
from ovocr.base import attempts
from ovocr.base.store_folder import StoreFolder
from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.shards.totals import Totals
from tests.labelgen.data_sets import digests

# What commands that write a data set add.
RESUMES = "; finished shards are kept: run the same command again to resume"

Built = tuple[LabelledDataSet, Totals]
Output = tuple[int, str, str]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Yields the folder for temporary files. Nothing may stay in it. Caches are of the test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert list(folder.iterdir()) == []


@pytest.fixture
def stored(built: Built, bucket: Any) -> str:
    """Returns the URL of a copy of the data set."""
    return bucket.upload(built[0].root, "out")


def run(*arguments: object) -> Output:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def without_times(text: str, root: object) -> str:
    """Returns the output without durations, with one name for the data set."""
    text = re.sub(r"^ovocr: shard .* images/s.*\n", "", text, flags=re.M)  # progress, which only slow runs tell
    # Files of a store are copied, those of a disk are linked.
    text = re.sub(r"(\d) shards? linked, (\d) copied", lambda match: f"{int(match[1]) + int(match[2])} placed", text)
    text = re.sub(
        r'"shards_linked": (\d),\s*"shards_copied": (\d)', lambda match: f"{int(match[1]) + int(match[2])}", text
    )
    text = re.sub(r'"(seconds|mb_per_s|images_per_s)": [0-9.]+', r'"\1": 0', text.replace(str(root), "DATA"))
    return re.sub(r"in [0-9.]+ s(: [0-9.]+ MB/s|, [0-9.]+ images/s)?", "in 0 s", text)


# Each command's arguments for a data set and a folder for its output, and the files of a shard that it fetches whole.
COMMANDS: dict[str, tuple[Callable[[object, Path], list[object]], set[str]]] = {
    "verify": (lambda data, out: ["verify", data, "--json", "-"], {"rec", "idx", "ocr", "records"}),
    "verify --quick": (lambda data, out: ["verify", data, "--quick"], {"rec", "idx", "ocr", "records"}),
    "inspect": (
        lambda data, out: ["inspect", data, "--html", out / "page.html", "--json", "-", "--word", "fox"],
        {"idx", "ocr", "records"},
    ),
    "why": (lambda data, out: ["why", data, "b/many.PNG", "--json", "-"], {"idx", "ocr", "records"}),
    "why of no image": (lambda data, out: ["why", data, "many.PNG"], {"records"}),
    "coverage": (
        lambda data, out: ["vocab", "coverage", data, "--workers", 1, "--html", out / "page.html", "--json", "-"],
        {"ocr", "records"},
    ),
    "vocab build": (lambda data, out: ["vocab", "build", data, "--out", out / "words.txt", "--workers", 1], {"ocr"}),
    "relabel": (
        lambda data, out: ["relabel", data, "--out", out / "new", "--policy", "idf", "--tags", 3, "--json", "-"],
        {"rec", "idx", "ocr", "records"},
    ),
    "split": (
        lambda data, out: ["split", data, "--out", out / "parts", "--share", 0.4, "--seed", 3, "--json", "-"],
        {"rec", "idx", "ocr", "records"},
    ),
}


def outcome(name: str, data: object, out: Path) -> tuple[Output, dict[str, str]]:
    """Runs a command; returns its output and the files that it wrote."""
    out.mkdir()
    code, text, errors = run(*COMMANDS[name][0](data, out))
    written = {}
    for path in out.rglob("*"):
        if path.is_file() and path.suffix in (".html", ".txt"):
            written[path.relative_to(out).as_posix()] = without_times(path.read_text(), data)
    written |= {
        name: hash for name, hash in digests(out).items() if name.endswith((".rec", ".parquet", "manifest.json"))
    }
    return (code, *(without_times(each, data).replace(str(out), "OUT") for each in (text, errors))), written


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the names of the files of shards that this process fetches as a whole."""
    found: list[str] = []
    download = StoreFolder.download

    def record(self: StoreFolder, name: str, path: Path) -> None:
        found.append(name)
        download(self, name, path)

    monkeypatch.setattr(StoreFolder, "download", record)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_result_is_that_of_the_disk(name: str, built: Built, stored: str, tmp_path: Path, fetched: list[str]):
    from_store = outcome(name, stored, tmp_path / "b")
    parts = (file.partition("/") for file in fetched)
    assert {file.rpartition(".")[2] if folder == "rec" else folder for folder, _, file in parts} == COMMANDS[name][1]
    if name.startswith(("verify", "coverage", "vocab build")):
        assert len(fetched) == len(set(fetched))  # no file twice
    from_disk = outcome(name, built[0].root, tmp_path / "a")
    assert from_disk[0][0] in (0, 1)
    assert from_store == from_disk


def test_whole_shards_of_a_split_are_copied(built: Built, stored: str, tmp_path: Path):
    def split(data: object, out: str, seed: int) -> Output:
        return run("split", data, "--out", tmp_path / out, "--by", "source", "--share", 0.5, "--seed", seed)

    seed = next(seed for seed in range(50) if split(built[0].root, "disk", seed)[0] == 0)
    code, text, errors = split(stored, "store", seed)
    assert (code, errors) == (0, "")
    assert "0 shards linked, 2 copied, 0 divided" in text
    for part in ("train", "held-out"):
        assert digests(tmp_path / "store" / part) == digests(tmp_path / "disk" / part)
        assert run("verify", tmp_path / "store" / part)[0] == 0


def test_worker_processes_fetch_the_shards(built: Built, stored: str):
    code, text, errors = run("vocab", "coverage", stored, built[0].root, "--workers", 2, "--json", "-")
    assert (code, errors) == (0, "")
    one, other = json.loads(text)["data_sets"]
    assert (one["name"], other["name"]) == (stored, str(built[0].root))
    assert {**one, "name": ""} == {**other, "name": ""}


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_damage_is_found_and_named(built: Built, bucket: Any, tmp_path: Path, quick: list[str]):
    copy = Path(shutil.copytree(built[0].root, tmp_path / "copy"))
    rec = bytearray((copy / "rec/00000.rec").read_bytes())
    rec[len(rec) // 2] ^= 1
    (copy / "rec/00000.rec").write_bytes(rec)
    (copy / "ocr/00001.parquet").unlink()
    (copy / "records/00007.parquet").write_bytes(b"x")
    (copy / "rec/folder").mkdir()
    (copy / "rec/folder/file").write_bytes(b"x")
    (copy / "rec/00000.idx.partial").write_bytes(b"x")
    stored = bucket.upload(copy, "out")
    code, text, errors = run("verify", stored, *quick)
    assert without_times(text, stored) == without_times(run("verify", copy, *quick)[1], copy)
    assert (code, errors) == (1, "")
    assert re.search(r"^rec/00000.rec: sha256: expected .* found ", text, re.MULTILINE)
    assert "ocr/00001.parquet: " in text
    assert f"to fix: move {stored}/records/00007.parquet out of the folder" in text
    assert f"to fix: move {stored}/rec/folder out of the folder" in text
    assert f"to fix: remove {stored}/rec/00000.idx.partial" in text
    damaged = f"{stored}/ocr/00001.parquet: no such file; restore the file"
    assert run("vocab", "coverage", stored, "--workers", 1) == (1, "", f"ovocr: {damaged}\n")
    code, text, errors = run("why", stored, "fox.jpg")
    assert (code, text, errors) == (1, "", f"ovocr: {damaged}\n")


def test_truncated_records_are_named(stored: str, bucket: Any, tmp_path: Path):
    size = len(bucket.get("out/rec/00001.rec"))
    bucket.put("out/rec/00001.rec", bucket.get("out/rec/00001.rec")[:-4])
    why = f"{stored}/rec/00001.rec: does not match the shard's statistics ({size - 4:,} bytes of {size:,})"
    assert run("why", stored, "fox.jpg") == (1, "", f"ovocr: {why}\n")
    code, text, _ = run("inspect", stored, "--html", tmp_path / "p.html", "--key", "fox.jpg", "--json", "-")
    assert code == 0
    assert json.loads(text)["images"][0]["picture"] == {"missing": f"The record cannot be read: {why}"}
    code, text, _ = run("verify", stored)
    assert code == 1
    assert f"{stored}/rec/00001.rec: truncated at byte {size - 4}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_missing_manifest_is_named(name: str, stored: str, bucket: Any, tmp_path: Path):
    assert run(*COMMANDS["why"][0](stored, tmp_path))[0] == 0  # there is a copy
    bucket.remove("out/manifest.json")
    expected = f"ovocr: {stored}: not a labelled data set (no manifest.json); restore the file\n"
    assert run(*COMMANDS[name][0](stored, tmp_path)) == (1, "", expected)
    expected = "not a labelled data set (no manifest.json); create one with `ovocr build-labels`\n"
    nothing = f"{bucket.url}/nothing"
    assert run(*COMMANDS[name][0](nothing, tmp_path)) == (1, "", f"ovocr: {nothing}: {expected}")


def test_verify_reads_the_configuration_afresh(stored: str, bucket: Any, tmp_path: Path):
    assert run("verify", stored, "--quick")[0] == 0
    (copy,) = (tmp_path / "cache" / "ovocr" / "stores").iterdir()
    (copy / "stats" / "00000.json").write_text("{}")
    assert run("verify", stored, "--quick")[0] == 0
    bucket.put("out/manifest.json", bucket.get("out/manifest.json").replace(b'"seed": 7', b'"seed": "x"'))
    code, text, _ = run("verify", stored, "--quick")
    assert (code, text.splitlines()[0].split(":")[0]) == (1, "manifest.json")
    message = run("why", stored, "fox.jpg")[2]
    assert message.startswith(f"ovocr: {stored}/manifest.json: "), message


@pytest.mark.parametrize("name", COMMANDS)
def test_refused_connections_end_with_one_line(
    name: str, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_off: Callable[[], None]
):
    arguments = COMMANDS[name][0](stored, tmp_path)
    cut_off()
    code, text, errors = run(*arguments)
    assert (code, text) == (1, "")
    *_, line = errors.splitlines()
    assert re.fullmatch(rf"ovocr: {stored}: .*connect.* \(4 attempts in \d s\)({RESUMES})?", line, re.IGNORECASE), (
        errors
    )
    assert all(line.endswith("trying again") for line in errors.splitlines()[:-1])


def test_store_that_fails_later_ends_the_command(stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: StoreFolder, name: str, path: Path) -> None:
        self._try(name, raise_error)

    def raise_error(_: object) -> None:
        raise OSError("out of order")

    monkeypatch.setattr(attempts, "_PAUSES_S", (0.0,))
    monkeypatch.setattr(StoreFolder, "download", fail)
    for name in COMMANDS:
        code, text, errors = run(*COMMANDS[name][0](stored, tmp_path))
        assert (code, text) == (1, ""), name
        assert re.search(
            rf"^ovocr: {stored}/\w+/0000\d\.\w+: out of order \(2 attempts in 0 s\)({RESUMES})?$", errors, re.M
        ), errors


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Returns a function after whose call the store refuses connections. Pauses are short."""
    import fsspec

    def cut() -> None:
        monkeypatch.setattr(attempts, "_PAUSES_S", (0.0, 0.0, 0.0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3 = fsspec.get_filesystem_class("s3")
        monkeypatch.setattr(s3, "retries", 1)
        s3.clear_instance_cache()

    yield cut
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.parametrize("name", ["verify", "inspect", "why", "coverage", "relabel", "split"])
def test_failing_requests_change_nothing(name: str, built: Built, stored: str, proxy: SlowStore, tmp_path: Path):
    proxy.failures = 0.1
    from_store = outcome(name, stored, tmp_path / "b")
    assert any(request.failure for request in proxy.requests)
    assert from_store == outcome(name, built[0].root, tmp_path / "a")


@pytest.mark.parametrize("name", COMMANDS)
def test_missing_packages_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    code, text, errors = run(*COMMANDS[name][0]("s3://bucket/labels", tmp_path))
    assert (code, text) == (2, "")
    assert errors.startswith(
        "ovocr: s3://bucket/labels: s3:// needs packages that are not installed; install the extra"
    )


def test_new_data_sets_are_written_to_a_disk(tmp_path: Path):
    for arguments in (["relabel", tmp_path], ["split", tmp_path]):
        code, _, errors = run(*arguments, "--out", "s3://bucket/new")
        assert (code, errors.split(";")[0]) == (2, "ovocr: --out s3://bucket/new: must be on a disk")
    code, _, errors = run("split", "s3://bucket/labels")
    assert (code, errors) == (
        2,
        "ovocr: --out: s3://bucket/labels is in an object store; name a folder for the parts\n",
    )


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["verify", "coverage", "inspect", "why"])
def test_interrupted_command_leaves_no_files(
    name: str, stop: int, stored: str, proxy: SlowStore, tmp_path: Path, temporary: Path
):
    proxy.latency = 0.3
    arguments = [str(each) for each in COMMANDS[name][0](stored, tmp_path)]
    if name == "coverage":
        arguments[arguments.index("1")] = "2"
    process = subprocess.Popen(
        [sys.executable, "-m", "ovocr", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240  # machines are busy
    while not list(temporary.glob("ovocr-shard-*/.lock")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(stop)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert "Traceback" not in errors, errors


def test_folders_of_killed_commands_are_removed(stored: str, temporary: Path):
    left = temporary / "ovocr-shard-1-abc"
    shutil.copytree(temporary, left)
    (left / "rec").mkdir()
    hour_ago = time.time() - 3600
    os.utime(left, (hour_ago, hour_ago))
    assert run("why", stored, "fox.jpg")[0] == 0
    assert not left.exists()

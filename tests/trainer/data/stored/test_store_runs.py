"""Whole commands on data in an object store: train, eval, kills, a store that is gone, and mistakes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.slow_store import SlowStore
from ovocr.base.errors import MissingExtraError, UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.data.evaluation_batches import load_batches
from ovocr.trainer.data.evaluation_data import HeadClasses, open_held_out
from ovocr.trainer.data.stored.store_reading import HeadDemand, check_cache_room
from ovocr.trainer.data.stored.vocabularies import vocabulary_sha256
from ovocr.trainer.runs.configuration_difference import find_differences
from tests.trainer.conftest import Runs, write_data_set

BLOCKS = ("heads.ocr.order=blocks", "heads.ocr.block_records=4", "heads.ocr.window_blocks=3")
# Commands under test wait for a lost store for seconds instead of minutes.
QUICK = """
import sys
import ovocr.base.attempts as attempts
attempts._PAUSES_S = (0.1, 0.2)
attempts._ATTEMPT_S = 3.0
from ovocr.cli import main
main()
"""


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "held-out", [9, 4], first_colour=1, patterned=True)


def start(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", QUICK, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "AWS_MAX_ATTEMPTS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(config: Path, *settings: str) -> "subprocess.Popen[str]":
    return start("train", config, *(part for setting in settings for part in ("--set", setting)))


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def at(url: str) -> str:
    return f'heads.ocr.data=["{url}"]'


def test_a_run_on_a_store_that_fails_is_that_on_a_disk(
    config_file: Path, held_out: Path, bucket: Any, proxy: SlowStore, tmp_path: Path, runs: type[Runs]
):
    url = bucket.upload(tmp_path / "labels", "labels")
    held_out_url = bucket.upload(held_out, "held-out")
    common = (*BLOCKS, "evaluation.every=6", "evaluation.replicates=10")
    on_disk, in_store = tmp_path / "run", tmp_path / "in-store"
    runs.finish(config_file, *common, f'evaluation.data=["{held_out}"]')
    proxy.failures = 0.1
    settings = (*common, at(url), f'evaluation.data=["{held_out_url}"]', f"run.output={in_store}", "loader.workers=2")
    code, output, errors = finish(train(config_file, *settings))
    assert code == 0, errors
    found = re.search(
        r"^store: (\S+) GB fetched in (\d+) requests, (\d+) failed attempts?; waited \d+ s for data$", errors, re.M
    )
    assert found is not None, errors
    runs.assert_same_metrics(in_store, on_disk, 1e-6)
    lines, others = runs.metrics(in_store), runs.metrics(on_disk)
    assert sum(line["store"]["requests"] for line in lines) == int(found[2])
    assert all("store" not in line for line in others)
    for done in (5, 11):
        own, other = lines[done]["evaluation"]["ocr"], others[done]["evaluation"]["ocr"]
        assert own["held-out"]["word_auc"] == other["held-out"]["word_auc"]
        assert own["held-out"]["trained_on"] == other["held-out"]["trained_on"]
    config = load_config(in_store / "config.toml")
    assert config.heads["ocr"].data == (url,)
    assert config.evaluation.data == (held_out_url,)
    assert f'data = ["{url}"]' in dump_config(config)
    assert not find_differences(load_config(on_disk / "config.toml"), config)

    measures = []
    for data in (held_out_url, held_out):
        process = start("eval", in_store, "--data", data, "--json", "-", "--replicates", "10", "--workers", "2")
        code, output, errors = finish(process)
        assert code == 0, errors
        measures.append(json.loads(output))
    assert [own.pop("data") for own in measures] == [[held_out_url], [str(held_out)]]
    assert measures[0] == measures[1]

    code, output, errors = finish(start("export", in_store, tmp_path / "export"))
    assert code == 0, errors
    assert url in (tmp_path / "export" / "README.md").read_text()


def test_two_ranks_share_the_blocks(config_file: Path, bucket: Any, proxy: SlowStore, tmp_path: Path, runs: type[Runs]):
    url = bucket.upload(tmp_path / "labels", "labels")
    runs.finish(config_file, *BLOCKS)
    proxy.latency = 0.02
    output = f"run.output={tmp_path / 'two'}"
    runs.finish(config_file, *BLOCKS, at(url), output, "loader.workers=2", ranks=2)
    runs.assert_same_metrics(tmp_path / "two", tmp_path / "run", 1e-3)
    ranges = [request for request in proxy.reads() if span(request) > 1400]  # longer than a record
    assert len(ranges) == len(set(ranges)) >= 6


def span(request: tuple[str, str]) -> int:
    first, last = map(int, request[1].split("-"))
    return last - first


@pytest.mark.parametrize("workers", [0, 2])
def test_store_that_goes_ends_the_run_which_then_goes_on(
    config_file: Path, bucket: Any, proxy: SlowStore, tmp_path: Path, runs: type[Runs], workers: int
):
    url = bucket.upload(tmp_path / "labels", "labels")
    settings = (*BLOCKS, at(url), f"loader.workers={workers}", "loader.read_ahead=1", "run.checkpoint_every=1")
    runs.finish(config_file, *BLOCKS, f"run.output={tmp_path / 'whole'}")

    def close_store() -> None:
        while len(proxy.reads()) < 5:
            time.sleep(0.005)
        proxy.down = True

    closing = threading.Thread(target=close_store)
    closing.start()
    code, _, errors = finish(train(config_file, *settings))
    closing.join()
    assert code == 1, errors
    *progress, last = errors.splitlines()
    assert last.startswith(f"ovocr: {url}/"), errors
    assert re.search(r"\(3 attempts in \d+ s\)$", last), errors
    assert all(line.startswith("step ") or line.endswith("; trying again") for line in progress), errors

    proxy.down = False
    code, _, errors = finish(train(config_file, *settings))
    assert code == 0, errors
    runs.assert_same_metrics(tmp_path / "run", tmp_path / "whole", 1e-6)


def processes_of(config: Path) -> list[int]:
    """Returns the processes of a run, of which the loader's have the same command line."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if has_argument(path, str(config))]


def has_argument(command_line: Path, argument: str) -> bool:
    try:
        return argument.encode() in command_line.read_bytes().split(b"\0")
    except OSError:
        return False


def test_killed_run_leaves_nothing_that_blocks(
    config_file: Path, bucket: Any, proxy: SlowStore, tmp_path: Path, own_cache: Path, runs: type[Runs]
):
    url = bucket.upload(tmp_path / "labels", "labels")
    settings = (*BLOCKS, at(url), "loader.workers=2")
    proxy.latency = 1.0  # the kill comes while blocks are fetched
    process = train(config_file, *settings)
    deadline = time.monotonic() + 200
    while not (partial := list((own_cache / "blocks").glob("*/*.partial"))):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed = processes_of(config_file)
    assert len(killed) >= 3  # with the loader's
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert all(path.exists() for path in partial)
    assert list((own_cache / "blocks").glob("*/*.lock"))
    proxy.latency = 0.0
    code, _, errors = finish(train(config_file, *settings))
    assert code == 0, errors
    runs.finish(config_file, *BLOCKS, f"run.output={tmp_path / 'whole'}")
    runs.assert_same_metrics(tmp_path / "run", tmp_path / "whole", 1e-6)


MISTAKES = {
    ('heads.ocr.order="random"',): 'heads.ocr.order: "random" would fetch each record of URL/labels with a request of '
    'its own; use "blocks", which fetches consecutive records together, or copy the data set to a disk',
    ("heads.ocr.order=blocks", "loader.kind=dali"): 'heads.ocr.data: loader.kind = "dali" cannot read from an object '
    'store; use loader.kind = "torch"',
    ("heads.ocr.order=blocks", 'heads.ocr.data=["URL/nothing"]'): "heads.ocr.data: URL/nothing: not a labelled data "
    "set (no manifest.json); create one with `ovocr build-labels`",
    (
        "heads.ocr.order=blocks",
        "evaluation.every=2",
        'evaluation.data=["URL/nothing"]',
    ): "evaluation.data: URL/nothing: not a labelled data set (no manifest.json); create one with `ovocr build-labels`",
    (
        "heads.ocr.order=blocks",
        "evaluation.every=2",
        'evaluation.data=["URL/labels", "URL/labels/"]',
    ): "evaluation.data: URL/labels: given twice",
}


@pytest.mark.parametrize("settings", MISTAKES)
def test_mistake_is_one_line(config_file: Path, bucket: Any, tmp_path: Path, settings: tuple[str, ...]):
    url = bucket.upload(tmp_path / "labels", "labels")
    with pytest.raises(UsageError) as caught:
        load_config(config_file, [at(url), *(setting.replace("URL", bucket.url) for setting in settings)])
    assert str(caught.value) == f"--set: {MISTAKES[settings]}".replace("URL", bucket.url)


def test_list_of_videos_in_a_store_is_an_error(config_file: Path, bucket: Any):
    text = config_file.read_text().replace("[heads.ocr]", '[heads.clips]\nkind = "video"\nnum_classes = 5')
    config_file.write_text(text)
    with pytest.raises(UsageError, match=rf"heads.clips.data: {bucket.url}/a.txt: a list of videos must be on a disk"):
        load_config(config_file, [f'heads.clips.data=["{bucket.url}/a.txt"]'])


def test_missing_extra(config_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"^s3://b/labels: s3:// needs packages .* install the extra \"s3\""):
        load_config(config_file, [at("s3://b/labels"), "heads.ocr.order=blocks"])


@pytest.mark.parametrize(
    ("demand", "ranks", "problem"),
    [
        (HeadDemand(10 * 10**9, 1000, 300, 100), 1, "needs"),
        (HeadDemand(10 * 10**9, 1000, 300, 100), 4, ""),
        (HeadDemand(10 * 10**9, 1000, 150, 100), 1, "warns"),
        (HeadDemand(10 * 10**9, 1000, 100, 100), 1, ""),
        (HeadDemand(3 * 10**9, 1000, 2000, 100), 4, "needs"),  # every machine reads all of it
        (HeadDemand(2 * 10**9, 1000, 2000, 100), 1, ""),
    ],
)
def test_room_in_the_cache(
    config_file: Path, capsys: pytest.CaptureFixture[str], demand: HeadDemand, ranks: int, problem: str
):
    loader = load_config(config_file, ["loader.cache_gb=2"]).loader
    if problem == "needs":
        with pytest.raises(
            UsageError, match=r"^loader.cache_gb: 2 is too small: the .* take 3 GB .*\(heads.ocr 3 GB\)"
        ):
            check_cache_room(loader, {"ocr": demand}, ranks)
    else:
        check_cache_room(loader, {"ocr": demand}, ranks)
        assert ("loader.cache_gb: 2 is less than the 2.5 GB" in capsys.readouterr().err) == (problem == "warns")


def test_few_images_of_an_evaluation_are_fetched_alone(
    config_file: Path, held_out: Path, bucket: Any, proxy: SlowStore
):
    url = bucket.upload(held_out, "held-out")
    settings = ["evaluation.every=1", f'evaluation.data=["{url}"]']
    heads = {"ocr": HeadClasses("ocr", 50, vocabulary_sha256(LabelledDataSet(held_out)))}
    requests = []
    for images in ("", "evaluation.images=1"):
        config = load_config(config_file, [*settings, *([images] if images else [])])
        (found,) = open_held_out(config, heads, url, "held-out")
        proxy.requests.clear()
        wanted = load_batches(found.samples, found.numbers, workers=0)
        assert sum(len(batch.shown) for batch in wanted) == len(found.numbers)
        requests.append(proxy.reads())
    assert len(requests[0]) == 2  # of both shards
    assert [span(request) < 1400 for request in requests[1]] == [True]

"""Power cuts at every moment of single steps: a shard that is written anew, logs, checkpoints and caches."""

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.base.files import fsync_tree, write_text
from ovocr.dataset.access.opening import _update
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.runs.checkpoint import STATE_FILE, complete_checkpoints, prune_checkpoints
from ovocr.trainer.tracking.trackers import Trackers
from ovocr.trainer.training.metrics import MetricsLog, keep_lines_before
from ovocr.trainer.training.skipped_samples import SkippedSamples
from ovocr.vocab import Vocabulary
from ovocr.vocab.text_cache import read_or_make
from tests.faults.power_cut.cuts import Recording, record, whole_shards
from tests.faults.power_cut.replay import Everything, Mixed, NamesOnly, Rule, SizesOnly
from tests.trainer.conftest import write_data_set

SEEDS = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns an empty folder to record."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def cuts(recording: Recording, every: int = 1) -> Iterator[str]:
    """Cuts the power after every entry, under every rule and several seeds; yields a description of each.

    every: 7 for every seventh entry, which meets all steps of a program that repeats itself.
    """
    for moment in range(recording.begin, len(recording.log) + 1, every):
        for rule in (Rule(), NamesOnly(), SizesOnly(), Everything(), *map(Mixed, range(SEEDS))):
            recording.cut(moment, rule)
            yield f"cut after entry {moment} of {len(recording.log)}, {type(rule).__name__}"


def test_a_shard_that_is_written_anew(folder: Path):
    write_data_set(folder / "labels", [3, 2])
    recording = record(folder, lambda: write_data_set(folder / "labels", [3, 2], first_colour=90))
    data_set = LabelledDataSet(folder / "labels")
    numbers = {whole_shards(data_set) for _ in cuts(recording, every=7)}
    assert numbers == {1, 2}


def test_no_line_of_a_saved_step_is_lost(folder: Path):
    """Step 2 is evaluated after it is saved; the evaluation replaces its line."""

    def program() -> None:
        with MetricsLog(folder / "metrics.jsonl", start=0, steps=9, log_every=1, trackers=Trackers([])) as log:
            skipped = SkippedSamples(folder / "skipped.jsonl")
            for step in range(4):
                log.write({"step": step, "loss": 2.5, "sample_ids": "ab" * 700}, 4, 0.5)
                skipped.add(step, "ocr", ["a.jpg: damaged"])
                if step % 2:
                    log.flush()
                    skipped.flush()
                    write_text(folder / "saved", str(step + 1))
                    log.write_evaluation(step + 1, {"evaluation": {"word_auc": [0.5] * 300}}, {}, "text")

    recording = record(folder, program)
    found = set()
    for place in cuts(recording):
        saved = int((folder / "saved").read_text()) if (folder / "saved").exists() else 0
        for name in ("metrics.jsonl", "skipped.jsonl"):
            path = folder / name
            keep_lines_before(path, saved)
            lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
            assert [line["step"] for line in lines] == [*range(saved)], f"{place}: {name}"
            found.add((saved, sum("evaluation" in line for line in lines), name))
    assert {(2, 0, "metrics.jsonl"), (2, 1, "metrics.jsonl"), (4, 2, "metrics.jsonl")} <= found


def test_a_checkpoint_is_removed_completely_or_not(folder: Path):
    checkpoints = folder / "checkpoints"
    for step in range(1, 4):
        own = checkpoints / f"{step:08d}"
        own.mkdir(parents=True)
        (own / "__0_0.distcp").write_bytes(bytes(10_000))
        (own / STATE_FILE).write_text("{}")
    recording = record(folder, lambda: prune_checkpoints(checkpoints, 1))
    counts = set()
    for place in cuts(recording):
        complete = complete_checkpoints(checkpoints)
        counts.add(len(complete))
        for path in complete:
            assert sorted(file.name for file in path.iterdir()) == ["__0_0.distcp", STATE_FILE], place
    assert counts == {1, 2, 3}


def test_a_vocabulary_is_loaded_whole_or_refused(folder: Path):
    old, new = ["old", "words"], [f"word{number}" for number in range(3000)]
    Vocabulary(old).save(folder / "words.txt")
    recording = record(folder, lambda: Vocabulary(new).save(folder / "words.txt"))
    sizes = set()
    for _ in cuts(recording):
        try:
            sizes.add(len(Vocabulary.load(folder / "words.txt")))
        except OvocrError:
            sizes.add(0)
    assert sizes == {0, len(old), len(new)}
    recording.cut_at_end()
    assert len(Vocabulary.load(folder / "words.txt")) == len(new)


def test_a_cached_text_is_checked(folder: Path, monkeypatch: pytest.MonkeyPatch):
    text = "word\n" * 5000
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    recording = record(folder, lambda: read_or_make("words", sha256, lambda: text))
    made: list[int] = []
    for number, _ in enumerate(cuts(recording)):
        assert read_or_make("words", sha256, lambda number=number: made.append(number) or text) == text
    assert 0 < len(made) < number


class OneStore:
    """A data set in an object store: the two methods of StoreFolder that a copy of it needs."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def versions(self, folder: str = "") -> dict[str, str]:
        prefix = f"{folder}/" if folder else ""
        names = (name.removeprefix(prefix) for name in self.files if name.startswith(prefix))
        return {name: str(zlib.crc32(self.files[prefix + name])) for name in names if "/" not in name}

    def read_many(self, names: list[str]) -> dict[str, bytes]:
        return {name: self.files[name] for name in names}


@pytest.fixture
def store() -> OneStore:
    names = ["manifest.json", "vocab.txt", "stats/00000.json", "stats/00001.json"]
    return OneStore({name: f"{name}\n".encode() * 900 for name in names})


def test_a_copy_of_a_data_set_in_a_store_is_checked(folder: Path, store: OneStore):
    copy = folder / "copy"

    def program() -> None:
        copy.mkdir()
        _update(store, copy, False)

    recording = record(folder, program)
    for place in cuts(recording):
        copy.mkdir(exist_ok=True)
        _update(store, copy, False)
        assert {name: (copy / name).read_bytes() for name in store.files} == store.files, place


def test_fsync_tree_makes_all_durable(folder: Path):
    def program() -> None:
        (folder / "new" / "inner").mkdir(parents=True)
        for name in ("file", "inner/file"):
            (folder / "new" / name).write_text("text" * 3000)
        (folder / "new" / "soft").symlink_to("nowhere")
        fsync_tree(folder)

    recording = record(folder, program)
    recording.cut_at_end()
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    assert found == ["new", "new/file", "new/inner", "new/inner/file", "new/soft"]
    assert (folder / "new" / "inner" / "file").read_text() == "text" * 3000

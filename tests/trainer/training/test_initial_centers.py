"""Initial centers from a run with a different vocabulary: mapped rows are copied bit-exactly, the others stay fresh."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import RecordReader, RecordWriter
from ovocr.trainer import PartialFC
from ovocr.trainer.config.file import load_config
from ovocr.trainer.evaluation.evaluate import evaluate
from ovocr.trainer.evaluation.read import read_words
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import load_checkpoint, read_state, save_checkpoint
from ovocr.trainer.training import initial_centers
from ovocr.trainer.training.dry_run import dry_run
from ovocr.trainer.training.initial_centers import SourceHead, load_initial_centers
from ovocr.trainer.training.loop import open_data, train
from ovocr.trainer.training.model import TrainedRun, build_model
from ovocr.vocab import Vocabulary

CPU = torch.device("cpu")
# Almost no learning, so the final weights show the initial ones.
KEPT = ("run.steps=1", "optimizer.warmup_steps=0", "optimizer.lr=1e-30", "optimizer.weight_decay=0")


def relabelled(old: Path, new: Path, words: list[str]) -> Path:
    """Writes a data set with the same images and tags of a different vocabulary; missing words are replaced."""
    source, target = LabelledDataSet.open(old), LabelledDataSet(new)
    before, after = Vocabulary.load(source.vocabulary_path), Vocabulary(words)
    for shard in source.finished_shards():
        with RecordWriter(target.rec_prefix(shard)) as writer:
            for record in RecordReader(source.rec_prefix(shard)):
                ids = [after.id(before.word(int(label))) for label in record.labels]
                tags = [id for id in ids if id is not None]
                writer.write(record.id, np.resize(np.array(tags, np.float32), len(ids)), record.image)
        for path in (target.records_path(shard), target.stats_path(shard), target.ocr_path(shard)):
            path.parent.mkdir(exist_ok=True)
        table = pq.read_table(source.records_path(shard))
        rows = table.to_pylist()
        for row in rows:
            renamed = [{**place, "id": after.id(before.word(place["id"]))} for place in row["tags"]]
            row["tags"] = [place for place in renamed if place["id"] is not None]
        pq.write_table(pa.Table.from_pylist(rows, table.schema), target.records_path(shard))
        shutil.copy(source.stats_path(shard), target.stats_path(shard))
        shutil.copy(source.ocr_path(shard), target.ocr_path(shard))
    after.save(target.vocabulary_path)
    manifest = source.manifest()
    assert manifest.words is not None
    described = replace(manifest.words, size=len(after), sha256=after.sha256)
    replace(manifest, words=described).write(target.manifest_path)
    return new


class Stages:
    """A trained run on 50 words, and the settings of a run on a different vocabulary that starts from its centers.

    old_ids: the expected map between the vocabularies.
    """

    def __init__(self, root: Path, config_file: Path) -> None:
        self.root, self.config_file = root, config_file
        self.old, self.out, self.map = root / "run", root / "next", root / "map.npy"
        old_words = [f"word{number}" for number in range(50)]
        words = [word for number, word in enumerate(reversed(old_words)) if number % 7 != 3]
        for index in (0, 9, 20, len(words) + 3):
            words.insert(index, f"new{index}")
        self.data = relabelled(root / "labels", root / "relabelled", words)
        self.old_ids = [old_words.index(word) if word in old_words else -1 for word in words]
        main(
            ["vocab", "map", f"{self.old}/vocab/ocr.txt", f"{self.data}/vocab.txt", "--out", str(self.map)],
            standalone_mode=False,
        )

    @property
    def settings(self) -> list[str]:
        """Settings of a run that starts where the first one ended."""
        return [
            f"run.output={self.out}",
            f"heads.ocr.data={json.dumps([str(self.data)])}",
            f"heads.ocr.init_from={self.old}",
            f"heads.ocr.init_map={self.map}",
            f"backbone.init_from={self.old}",
        ]

    def next_run(self, *settings: str) -> None:
        """Trains with those settings and these."""
        train(load_config(self.config_file, [*self.settings, *settings]))

    def expected(self, seed: int = 0) -> torch.Tensor:
        """Returns the old row for mapped classes, else a fresh head's."""
        fresh = initial_rows(len(self.old_ids), seed)
        old = centers(self.old)
        return torch.stack([fresh[row] if id == -1 else old[id] for row, id in enumerate(self.old_ids)])


def initial_rows(classes: int, seed: int) -> torch.Tensor:
    return PartialFC(64, classes, seed=seed).weight.detach()


def centers(run: Path) -> torch.Tensor:
    return TrainedRun.load(run, CPU).model.heads["ocr"].weight.detach()


@pytest.fixture
def stages(tmp_path: Path, config_file: Path) -> Stages:
    train(load_config(config_file, ["tracking.trackers=[]"]))
    return Stages(tmp_path, config_file)


def test_mapped_rows_are_copied_bit_exactly(
    stages: Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(initial_centers, "_BLOCK_ROWS", 7)
    stages.next_run(*KEPT, "run.seed=3")
    assert stages.old_ids.count(-1) == 4
    assert len(stages.old_ids) == 47
    assert torch.equal(centers(stages.out), stages.expected(seed=3))
    checkpoint = stages.old / "checkpoints" / "00000012"
    assert (
        f"head ocr: class centers of 43 of 47 classes from {checkpoint}, by {stages.map}\n" in capsys.readouterr().err
    )
    row_steps = torch.zeros(47)
    load_checkpoint(stages.out / "checkpoints" / "00000001", {"optimizer.heads.ocr.row_steps": row_steps}, Ranks())
    assert row_steps.max() == 1  # steps of this run only, not of the 12 of the first run


@pytest.mark.parametrize("ranks", [2, 3])
def test_on_several_ranks(stages: Stages, runs: Any, ranks: int) -> None:
    runs.finish(stages.config_file, *stages.settings, *KEPT, ranks=ranks)
    assert torch.equal(centers(stages.out), stages.expected())


CARRY = """
import sys, numpy as np, torch, torch.distributed as dist
from pathlib import Path
from ovocr.trainer import PartialFC
from ovocr.trainer.training import initial_centers
from ovocr.trainer.runs.checkpoint import RowShard, save_checkpoint
from ovocr.trainer.ranks.distributed import Ranks, leave_group
from ovocr.trainer.training.initial_centers import SourceHead, copy_mapped_rows
from ovocr.trainer.runs.folder import RunFolder
from ovocr.vocab.class_map import ClassMap
rank, world, old_rows, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
initial_centers._BLOCK_ROWS = 3
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
source = SourceHead(
    name="a", run=RunFolder(folder), checkpoint=folder / "7", num_classes=old_rows, vocabulary_sha256="", has_norm=False
)
head = PartialFC(5, 13, seed=9)
copy_mapped_rows(source, ClassMap(old_ids=np.load(folder / "map.npy")), head, {})
torch.save(head.weight.detach(), folder / f"rows{rank}.pt")
leave_group()
"""


@pytest.mark.parametrize(("world", "old_rows"), [(2, 20), (3, 11), (4, 1), (5, 3)])
def test_rows_from_any_rank_to_any(tmp_path: Path, world: int, old_rows: int) -> None:
    """The number of old rows is not divisible by the number of ranks, rows repeat, and ranks outnumber rows."""
    old = torch.randn(old_rows, 5)
    save_checkpoint(tmp_path / "7", {"heads.a.weight": old}, {"step": 7}, Ranks())
    old_ids = np.random.default_rng(world).integers(-1, old_rows, 13)
    old_ids[:3] = [old_rows - 1, -1, old_rows - 1]
    np.save(tmp_path / "map.npy", old_ids)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CARRY, str(rank), str(world), str(old_rows), str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * world, errors
    found = torch.cat([torch.load(tmp_path / f"rows{rank}.pt") for rank in range(world)])
    fresh = PartialFC(5, 13, seed=9).weight.detach()
    assert torch.equal(found, torch.stack([fresh[row] if id == -1 else old[id] for row, id in enumerate(old_ids)]))


def test_mapped_run_reads_the_same_words(stages: Stages) -> None:
    """The relabelled images are read as before from the first step on."""
    stages.next_run(*KEPT)
    image = stages.root / "image.jpg"
    image.write_bytes(RecordReader(stages.data / "rec" / "00000")[0].image)
    old_words, new_words = (
        {found.word: found.score for found in reading.words}
        for run in (stages.old, stages.out)
        for reading in read_words(run, [image], top_k=50)
        if not isinstance(reading, OvocrError)
    )
    common = old_words.keys() & new_words.keys()
    assert len(common) == 43
    assert {word: new_words[word] for word in common} == pytest.approx({w: old_words[w] for w in common}, abs=1e-6)

    without = stages.root / "without"
    uninitialised = [
        setting for setting in stages.settings if "heads.ocr.init" not in setting and "output" not in setting
    ]
    train(load_config(stages.config_file, [*uninitialised, *KEPT, f"run.output={without}"]))
    recalls = [
        evaluate(run, [data], top_k=[10]).heads["ocr"].recall.every.recall[10]
        for run, data in (
            (stages.old, stages.root / "labels"),
            (stages.out, stages.data),
            (without, stages.data),
        )
    ]
    assert recalls[0] > 0.5
    assert recalls[1] > recalls[0] - 0.1
    assert recalls[2] < recalls[0] - 0.2


def test_resume_needs_neither_the_old_run_nor_the_map(stages: Stages) -> None:
    settings = ("run.steps=6", "run.checkpoint_every=3")
    stages.next_run(*settings)
    whole = centers(stages.out)
    (stages.out / "checkpoints" / "00000006" / "state.json").unlink()
    stages.map.unlink()
    shutil.rmtree(stages.old)
    assert train(load_config(stages.config_file, [*stages.settings, *settings])).first_step == 3
    assert torch.equal(centers(stages.out), whole)
    assert read_state(stages.out / "checkpoints" / "00000006")["num_classes"] == {"ocr": 47}


def test_class_ids_without_a_vocabulary(tmp_path: Path, config_file: Path, make_data_set: Callable[..., Path]) -> None:
    """Any array is accepted; two classes may start from the same old class."""
    for name, classes in (("few", 30), ("many", 41)):
        make_data_set(name, [12], patterned=True, words=None, num_classes=classes)
    text = config_file.read_text().replace("[heads.ocr]", '[heads.ocr]\nkind = "image"')
    config_file.write_text(text.replace(f"{tmp_path}/labels", f"{tmp_path}/few"))
    train(load_config(config_file))
    old_ids = np.arange(41) % 31 - 1
    np.save(tmp_path / "map.npy", old_ids.astype(np.int16))
    settings = [
        f'heads.ocr.data=["{tmp_path}/many"]',
        f"heads.ocr.init_from={tmp_path}/run",
        f"heads.ocr.init_map={tmp_path}/map.npy",
        f"run.output={tmp_path}/next",
    ]
    train(load_config(config_file, [*settings, *KEPT]))
    old, new, fresh = centers(tmp_path / "run"), centers(tmp_path / "next"), initial_rows(41, 0)
    assert torch.equal(new[1:31], old)
    assert torch.equal(new[32:41], old[:9])
    assert torch.equal(new[[0, 31]], fresh[[0, 31]])


@pytest.mark.parametrize("is_mapped", [False, True])
def test_statistics_of_embedding_norm(config_file: Path, tmp_path: Path, is_mapped: bool) -> None:
    """They are taken if both heads have them, with a map or without one, and the log says so."""
    norm, old_ids = "heads.ocr.embedding_norm=batch", np.roll(np.arange(50), 1)
    np.save(tmp_path / "map.npy", old_ids)
    for name, settings in (("with", [norm]), ("without", [])):
        train(load_config(config_file, ["run.steps=2", f"run.output={tmp_path / name}", *settings]))
    from_map = [f"heads.ocr.init_map={tmp_path / 'map.npy'}"] if is_mapped else []
    for name, settings, told in (
        ("with", [norm], ", with the statistics of embedding_norm"),
        ("without", [norm], "; no statistics of embedding_norm, which that run does not have"),
        ("with", [], ""),
    ):
        source = SourceHead.open("ocr", tmp_path / name)
        config = load_config(config_file, [f"heads.ocr.init_from={tmp_path / name}", *from_map, *settings])
        model = build_model(config, {"ocr": 50}, Ranks(), CPU)
        line = load_initial_centers(source, config.heads["ocr"], open_data(config)["ocr"], model)
        by_map = f" of 50 of 50 classes from {source.checkpoint}, by {tmp_path / 'map.npy'}"
        assert line == f"head ocr: class centers{by_map if is_mapped else f' from {source.checkpoint}'}{told}"
        old, head = TrainedRun.load(tmp_path / name, CPU).model.heads["ocr"], model.heads["ocr"]
        assert torch.equal(head.weight, old.weight[old_ids] if is_mapped else old.weight)
        if head.embedding_norm is None:
            continue
        fresh = {"running_mean": torch.zeros(64), "running_variance": torch.ones(64)}
        wanted = fresh if old.embedding_norm is None else old.embedding_norm.state_dict()
        assert all(torch.equal(head.embedding_norm.state_dict()[key], value) for key, value in wanted.items())
        assert (wanted["running_mean"].abs().max() > 1e-3) == (name == "with")


def mistakes() -> dict[str, tuple[Callable[[Stages], list[str]], str]]:
    """Returns mistakes in the settings, with the expected error messages."""

    def array(values: Any) -> Callable[[Stages], list[str]]:
        def write(stages: Stages) -> list[str]:
            np.save(stages.root / "hand.npy", values)
            return [f"heads.ocr.init_map={stages.root}/hand.npy"]

        return write

    def other_map(stages: Stages, old: Path, new: Path) -> list[str]:
        made = stages.root / "other.npy"
        main(["vocab", "map", str(old), str(new), "--out", str(made)], standalone_mode=False)
        return [f"heads.ocr.init_map={made}"]

    def another_old(stages: Stages) -> list[str]:
        Vocabulary([f"word{number}" for number in range(49)]).save(stages.root / "v.txt")
        return other_map(stages, stages.root / "v.txt", stages.data / "vocab.txt")

    def another_new(stages: Stages) -> list[str]:
        words = Vocabulary.load(stages.data / "vocab.txt")
        Vocabulary([*(words.word(id) for id in range(46)), "other"]).save(stages.root / "v.txt")
        return other_map(stages, stages.old / "vocab" / "ocr.txt", stages.root / "v.txt")

    def changed(stages: Stages) -> list[str]:
        np.save(stages.map, np.zeros(47, np.int32))
        return []

    command = (
        r"make it again with: ovocr vocab map ROOT/run/vocab/ocr.txt ROOT/relabelled/vocab.txt --out ROOT/other.npy$"
    )
    return {
        "missing": (
            lambda stages: [f"heads.ocr.init_map={stages.root}/no.npy"],
            r"^--set: heads.ocr.init_map: ROOT/no.npy: the class map cannot be read: No such file or directory$",
        ),
        "floats": (array(np.zeros(47)), r"hand.npy: not a class map: .* found \[47\] of float64$"),
        "matrix": (array(np.zeros((47, 1), int)), r"hand.npy: not a class map: .* found \[47, 1\] of int64$"),
        "length": (
            array(np.zeros(46, int)),
            r"^heads.ocr.init_map: ROOT/hand.npy: is for 46 classes, but this head has 47$",
        ),
        "ids": (
            array(np.array([*range(4, 50), 50])),
            r"^heads.ocr.init_map: ROOT/hand.npy: class 46 maps to 50, but the class ids of ROOT/run are 0 to 49; "
            "-1 marks a new class",
        ),
        "negative": (array(np.full(47, -2)), r"hand.npy: not a class map: -2 is neither a class id nor -1$"),
        "old": (another_old, rf"other.npy: not made from the vocabulary of ROOT/run; {command}"),
        "new": (another_new, rf"other.npy: not made from the vocabulary of this head's data; {command}"),
        "changed": (
            changed,
            r"map.npy: not the class map that ROOT/map.npy.json describes; run `ovocr vocab map` again$",
        ),
    }


def test_mismatch_is_a_one_line_error(stages: Stages) -> None:
    for name, (mistake, message) in mistakes().items():
        shutil.rmtree(stages.out, ignore_errors=True)
        settings = [setting.replace("ROOT", str(stages.root)) for setting in mistake(stages)]
        with pytest.raises((OvocrError, UsageError), match=message.replace("ROOT", str(stages.root))) as caught:
            stages.next_run(*settings)
        assert "\n" not in str(caught.value), name
        assert not (stages.out / "metrics.jsonl").exists(), name


def test_error_without_a_map_names_the_command(stages: Stages) -> None:
    settings = [setting for setting in stages.settings if "init_map" not in setting]
    with pytest.raises(
        OvocrError, match="a different vocabulary than this head's data; use `ovocr vocab map` and init_map"
    ):
        train(load_config(stages.config_file, settings))


def test_map_without_init_from_raises(config_file: Path) -> None:
    with pytest.raises(UsageError, match="heads.ocr.init_map: needs init_from, the run with the old class centers"):
        load_config(config_file, ["heads.ocr.init_map=map.npy"])


def test_dry_run_names_the_map(config_file: Path, tmp_path: Path) -> None:
    settings = [f"heads.ocr.init_from={tmp_path}/run", f"heads.ocr.init_map={tmp_path}/map.npy"]

    def lines(*settings: str) -> list[str]:
        return list(dry_run(load_config(config_file, settings, check_paths=False)))

    assert f"head ocr: initial centers from {tmp_path}/run" in lines(settings[0])
    later = f"head ocr: initial centers from {tmp_path}/run, mapped by {tmp_path}/map.npy, which does not exist yet"
    assert later in lines(*settings)
    np.save(tmp_path / "map.npy", np.arange(50) - 1)
    mapped = f"head ocr: 49 of 50 initial centers from {tmp_path}/run, mapped by {tmp_path}/map.npy"
    assert mapped in lines(*settings)
    np.save(tmp_path / "map.npy", np.arange(49))
    with pytest.raises(OvocrError, match="heads.ocr.init_map: .*map.npy: is for 49 classes, but this head has 50"):
        lines(*settings)

"""Power cuts during vocab build, split and export. Each goes on and ends with the bytes of an uncut run."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.config.file import load_config
from ovocr.trainer.training.loop import train
from ovocr.vocab import Vocabulary
from tests.faults.conftest import MakeRow
from tests.faults.power_cut.cuts import differing, files_of, record, whole_shards
from tests.faults.power_cut.test_labelling import content_of, ovocr, ovocr_here
from tests.trainer.conftest import write_data_set, write_run_config

CUTS = 30
EXPECTED = "what has its final name is whole or refused; the command goes on; bytes of an uncut run"


@dataclass
class Case:
    """A command whose outputs are in the recorded folder.

    state: names what the cut has left; raises AssertionError if it is neither whole nor refused. The command is not
    repeated in the states ``ends``: it would refuse to replace its own result.
    """

    arguments: list[object]
    state: Callable[[], str]
    ends: tuple[str, ...] = ()


def vocabulary_state(path: Path) -> str:
    if not path.exists():
        return "missing"
    try:
        return counted(len(Vocabulary.load(path)), "word")
    except OvocrError:
        return "refused"


def build_vocabulary(folder: Path, root: Path) -> Case:
    """vocab build"""
    labels, out = write_data_set(root / "labels", [9, 5]), folder / "words.txt"
    return Case(["vocab", "build", labels, "--out", out], lambda: vocabulary_state(out), ("1 word",))


def replace_vocabulary(folder: Path, root: Path) -> Case:
    """vocab build --force"""
    case = build_vocabulary(folder, root)
    Vocabulary(["an", "older", "one"]).save(folder / "words.txt")
    return Case([*case.arguments, "--force"], case.state)


def split(folder: Path, root: Path) -> Case:
    """split: the shards of one side are linked, mixed ones are divided"""
    labels = write_data_set(folder / "labels", [6, 5, 4])

    def state() -> str:
        parts = [LabelledDataSet(folder / "split" / name) for name in ("train", "held-out")]
        return f"{sum(whole_shards(part) for part in parts if part.manifest_path.exists())} shards"

    return Case(["split", labels, "--out", folder / "split", "--share", "0.3", "--workers", 1], state)


def trained(root: Path) -> Path:
    train(load_config(write_run_config(root), ["run.steps=3", "loader.workers=0"]))
    return root / "run"


def encoder_state(folder: Path) -> str:
    if not (folder / "config.json").exists():
        return "missing"
    Backbone.from_pretrained(folder)
    return "whole"


def export(folder: Path, root: Path) -> Case:
    """export"""
    out = folder / "encoder"
    return Case(["export", trained(root), out], lambda: encoder_state(out), ("whole",))


def replace_export(folder: Path, root: Path) -> Case:
    """export --force"""
    out = folder / "encoder"
    run = trained(root)
    ovocr_here("export", run, out)
    return Case(["export", run, out, "--force"], lambda: encoder_state(out))


CASES = {"vocab build": build_vocabulary, "vocab build --force": replace_vocabulary, "split": split}
CASES |= {"export": export, "export --force": replace_export}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns an empty folder to record."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def survive(case: Case, folder: Path, count: int) -> str:
    """Records a command, cuts the power at ``count`` moments and repeats it; describes what happened."""
    recording = record(folder, lambda: ovocr(*case.arguments))
    reference = files_of(folder, content_of)
    recording.cut_at_end()
    found = files_of(folder, content_of)
    lost = [name for name in reference if found.get(name) != reference[name]]
    assert lost == [], "a power cut after the command loses files"
    states: Counter[str] = Counter()
    for moment, rule in recording.cuts(count):
        recording.cut(moment, rule)
        place = f"cut after entry {moment} of {len(recording.log)}, {type(rule).__name__}"
        state = case.state()
        states[state] += 1
        if state not in case.ends:
            ovocr_here(*case.arguments)
        others = [name for name in differing(files_of(folder, content_of), reference) if not is_left_over(name)]
        assert others == [], place
    seen = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return f"{count} of {count}: bytes equal ({seen}; {recording.syncs()} fsyncs)"


def is_left_over(name: str) -> bool:
    """Returns whether a name is that of a file or folder that a cut command leaves and the next one overwrites."""
    return ".partial" in name or ".building/" in name


def test_a_few_cuts_of_vocab_build(folder: Path, tmp_path: Path):
    survive(build_vocabulary(folder, tmp_path), folder, 6)


@pytest.mark.faults
@pytest.mark.parametrize("command", CASES)
def test_cuts(command: str, folder: Path, tmp_path: Path, fault_row: MakeRow):
    row = fault_row("power cut", f"{command}: power cut at {CUTS} moments", EXPECTED)
    row.happened = survive(CASES[command](folder, tmp_path), folder, CUTS)

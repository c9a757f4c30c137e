"""Checkpoints: rows saved on N ranks are restored bit-exactly on M; a mismatch is named."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.ranks.distributed import Ranks, row_range
from ovocr.trainer.runs.checkpoint import (
    RowShard,
    complete_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    read_state,
    save_checkpoint,
)

ROWS = 11  # not divisible by any number of ranks

PROCESS = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from ovocr.trainer.runs.checkpoint import RowShard, load_checkpoint, save_checkpoint
from ovocr.trainer.ranks.distributed import Ranks, leave_group, row_range
action, rank, world, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{folder}/store-{action}-{world}", rank=rank, world_size=world)
ranks, (first, last) = Ranks.of(None), row_range(11, rank, world)
whole = torch.load(folder / "whole.pt")
if action == "save":
    tensors = {"centers": RowShard(whole["centers"][first:last].clone(), first, 11), "bias": whole["bias"]}
    save_checkpoint(folder / "saved", tensors, {"step": 3}, ranks)
else:
    rows, bias = torch.zeros(last - first, 3), torch.zeros(4)
    load_checkpoint(folder / "saved", {"centers": RowShard(rows, first, 11), "bias": bias}, ranks)
    assert torch.equal(rows, whole["centers"][first:last]) and torch.equal(bias, whole["bias"])
leave_group()
"""


def run_ranks(action: str, world: int, folder: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROCESS, action, str(rank), str(world), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=100)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * world, errors


@pytest.mark.slow
@pytest.mark.parametrize(("saved_on", "loaded_on"), [(3, 2), (2, 3)])
def test_rows_are_restored_on_another_number_of_ranks(saved_on: int, loaded_on: int, tmp_path: Path) -> None:
    whole = {"centers": torch.randn(ROWS, 3), "bias": torch.randn(4)}
    torch.save(whole, tmp_path / "whole.pt")
    run_ranks("save", saved_on, tmp_path)
    run_ranks("load", loaded_on, tmp_path)
    rows, bias = torch.zeros(ROWS, 3), torch.zeros(4)
    load_checkpoint(tmp_path / "saved", {"centers": RowShard(rows, 0, ROWS), "bias": bias}, Ranks())
    assert torch.equal(rows, whole["centers"])
    assert torch.equal(bias, whole["bias"])


def test_row_ranges_cover_all_rows() -> None:
    for total, world in ((365_187, 7), (3, 5), (8, 4)):
        ranges = [row_range(total, rank, world) for rank in range(world)]
        assert ranges[0][0] == 0
        assert ranges[-1][1] == total
        assert all(left[1] == right[0] for left, right in pairwise(ranges))
        sizes = [last - first for first, last in ranges]
        assert sizes == [total // world + (rank < total % world) for rank in range(world)]


def test_mismatch_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "7", {"a": torch.ones(2, 3), "n": torch.tensor(1.0)}, {"step": 7}, Ranks())
    state = read_state(tmp_path / "7")
    assert (state["step"], list(state["crc32"])) == (7, ["__0_0.distcp"])
    with pytest.raises(OvocrError, match="7: the checkpoint has no b$"):
        load_checkpoint(tmp_path / "7", {"b": torch.ones(2)}, Ranks())
    with pytest.raises(OvocrError, match=r"7: a: expected shape \[2, 4\], found \[2, 3\]"):
        load_checkpoint(tmp_path / "7", {"a": torch.ones(2, 4)}, Ranks())
    with pytest.raises(
        OvocrError, match="8/state.json: incomplete checkpoint: No such file or directory; remove .*8 to resume"
    ):
        read_state(tmp_path / "8")


def test_only_named_tensors_may_be_missing(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "7", {"a": torch.ones(2), "n": torch.tensor(1.0)}, {"step": 7}, Ranks())
    whole, rows, number = torch.zeros(2), torch.full((3, 2), 5.0), torch.tensor(9)
    tensors = {"a": whole, "rows": RowShard(rows, 0, 3), "number": number}
    load_checkpoint(tmp_path / "7", tensors, Ranks(), may_lack={"rows", "number", "a"})
    assert whole.tolist() == [1.0, 1.0]
    assert (rows.unique().tolist(), number.item()) == ([5.0], 9)
    with pytest.raises(OvocrError, match="7: the checkpoint has no number$"):
        load_checkpoint(tmp_path / "7", tensors, Ranks(), may_lack={"rows"})
    with pytest.raises(OvocrError, match=r"7: a: expected shape \[3\], found \[2\]"):
        load_checkpoint(tmp_path / "7", {"a": torch.ones(3)}, Ranks(), may_lack={"a"})


def test_incomplete_checkpoints_are_ignored_and_old_ones_removed(tmp_path: Path) -> None:
    (tmp_path / "00000003").mkdir()  # a folder of that name without a state is replaced
    for step in (1, 2, 3):
        save_checkpoint(tmp_path / f"{step:08d}", {"a": torch.ones(1)}, {"step": step}, Ranks())
    (tmp_path / "00000004.partial").mkdir()
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["00000001", "00000002", "00000003"]
    save_checkpoint(tmp_path / "100000000", {"a": torch.ones(1)}, {"step": 100_000_000}, Ranks())
    assert complete_checkpoints(tmp_path)[-1].name == "100000000"  # sorted by number, not as text
    prune_checkpoints(tmp_path, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000003", "100000000"]

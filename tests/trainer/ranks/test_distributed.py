"""Collectives of a single rank, and of ranks that share a process group."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from ovocr.base.errors import UsageError
from ovocr.trainer.ranks.distributed import Ranks, choose_device, row_range

CPU = torch.device("cpu")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Ranks]:
    """Returns the only rank of a gloo process group."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        yield Ranks.of(None)
    finally:
        dist.destroy_process_group()


def test_a_plain_process_is_a_single_rank() -> None:
    ranks = Ranks.of(None)
    assert (ranks.rank, ranks.world, ranks.group) == (0, 1, None)
    rows = torch.arange(6.0).reshape(3, 2)
    assert ranks.gather_numbers((3, 7), CPU) == [[3, 7]]
    assert ranks.gather_rows(rows, [3]) is rows
    assert ranks.broadcast(rows, source=0) is rows
    assert torch.equal(ranks.sum(rows.clone()), rows)


def test_a_group_of_one_rank_gives_the_results_of_a_plain_process(group: Ranks) -> None:
    assert (group.rank, group.world, group.group) == (0, 1, dist.group.WORLD)
    assert Ranks.of(dist.group.WORLD) == group
    rows = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(group.broadcast(rows.clone(), source=0), rows)
    assert torch.equal(group.sum(rows.clone()), rows)
    assert group.gather_numbers((3, 7), CPU) == [[3, 7]]


def test_a_copied_model_uses_the_same_ranks(group: Ranks) -> None:
    assert copy.deepcopy(group) is group


@pytest.mark.parametrize(("total", "world"), [(10, 1), (10, 3), (365_187, 8), (2, 4), (0, 2)])
def test_ranks_own_consecutive_rows_of_almost_equal_number(total: int, world: int) -> None:
    ranges = [row_range(total, rank, world) for rank in range(world)]
    assert [first for first, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == total
    sizes = [end - first for first, end in ranges]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_cuda_without_a_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(UsageError, match="cuda"):
        choose_device("cuda")

"""Held-out samples embedded on 1, 2 and 3 ranks: real processes over gloo, with DDP and FSDP2."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ovocr.trainer.config.file import load_config
from ovocr.trainer.ranks.distributed import Ranks
from tests.trainer.damage import damage_images
from tests.trainer.training.embedding_rank import embed_subsets

# One sample, of which most ranks have none; an odd number; all, of which two are damaged.
SUBSETS = [[5], [0, 2, 3, 7, 11, 13, 17], list(range(24))]
DAMAGED = (2, 9)


@pytest.mark.parametrize(("world", "parallel"), [(2, "fsdp2"), (3, "ddp")])
def test_ranks_agree_with_a_single_rank(config_file: Path, tmp_path: Path, world: int, parallel: str) -> None:
    damage_images(tmp_path / "labels", *DAMAGED)
    torch.save(SUBSETS, tmp_path / "subsets.pt")
    file = Path(__file__).with_name("embedding_rank.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(file), str(rank), str(world), str(tmp_path), parallel],
            stderr=subprocess.PIPE,
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=200)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * world, errors
    wanted, damaged = embed_subsets(load_config(config_file), tmp_path / "labels", SUBSETS, Ranks())
    assert [int(reason.split(" id ")[1].split()[0]) for reason in damaged] == [2, 2, 9]
    of_ranks = [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=False) for rank in range(world)]
    assert sorted(reason for _, own in of_ranks for reason in own) == sorted(damaged)
    for found, _ in of_ranks:
        for numbers, one, other in zip(SUBSETS, found, wanted, strict=True):
            undamaged = [row for row, number in enumerate(numbers) if number not in DAMAGED]
            assert one.rows_N.tolist() == other.rows_N.tolist() == undamaged
            assert one.is_whole_N.tolist() == [True] * len(undamaged)
            torch.testing.assert_close(one.embeddings_ND, other.embeddings_ND, rtol=0, atol=1e-6)
            assert one.tags.ends.tolist() == list(range(10, 10 * len(undamaged) + 1, 10))
            tags = [(numbers[row] + np.arange(10)) % 50 for row in undamaged]
            assert one.tags.ids.tolist() == np.sort(np.array(tags), axis=1).ravel().tolist()
            assert one.tags.heights == pytest.approx(12 * 32 / 40)  # lines of 12 pixels in images 40 pixels wide
    assert wanted[-1].embeddings_ND.std(dim=0).max() > 1e-3

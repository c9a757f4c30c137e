"""The same loss, draws and gradients on 1, 2, 3 and 4 ranks: real processes over gloo."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC

BATCH, CLASSES, DIM = 7, 101, 13
# Number of images of each rank: unequal, and 0.
SIZES = {2: [[4, 3], [7, 0]], 3: [[3, 2, 2], [0, 6, 1]], 4: [[2, 2, 2, 1], [5, 0, 2, 0]]}


def cases(world: int) -> list[dict[str, Any]]:
    """Every mode with every split in float64, fewer classes than ranks, bfloat16, normalised embeddings, kernels."""
    generator = torch.Generator().manual_seed(world)
    made = []
    for (sampling, rate), mask in itertools.product(
        [("independent", 0.2), ("shared", 0.2), ("independent", 1.0)], [True, False]
    ):
        for sizes in SIZES[world]:
            labels = torch.randint(0, CLASSES, (BATCH, 11), generator=generator)
            if sizes[-1] == 0:
                labels //= 4  # only the first quarter of the classes, so the last ranks own no positive
            made.append(
                {
                    "embeddings": torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64),
                    "weight": torch.randn(CLASSES, DIM, generator=generator, dtype=torch.float64),
                    "labels": labels,
                    "sizes": sizes,
                    "options": {
                        "labels_per_sample": 5,
                        "sampling": sampling,
                        "sample_rate": rate,
                        "mask_own_tags": mask,
                        "margin": Margin(filter_threshold=0.5),
                        "seed": 2,
                    },
                }
            )
    few = dict(made[0], weight=made[0]["weight"][:3].clone(), labels=made[0]["labels"] % 3)
    narrow = dict(made[0], embeddings=made[0]["embeddings"].bfloat16(), weight=made[0]["weight"].float())
    normed = [dict(case, options=case["options"] | {"embedding_norm": "batch"}) for case in made[:2]]
    made += [few, narrow, *normed]
    if importlib.util.find_spec("triton") is not None and not torch.cuda.is_available():
        for case in (made[0], made[4]):
            options = case["options"] | {"implementation": "triton"}
            floats = {key: case[key].float() for key in ("embeddings", "weight")}
            made.append(case | floats | {"options": options})
    return made


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_agree_with_a_single_rank(world: int, tmp_path: Path) -> None:
    made = cases(world)
    torch.save(made, tmp_path / "cases.pt")
    script = Path(__file__).with_name("rank_process.py")
    command = [sys.executable, str(script)]
    ranks = [
        subprocess.Popen([*command, str(rank), str(world), str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * world, errors
    results = [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=False) for rank in range(world)]
    for number, case in enumerate(made):
        head = PartialFC(DIM, case["weight"].shape[0], **case["options"])
        head.weight = torch.nn.Parameter(case["weight"].clone())
        for step in range(2):
            leaf = case["embeddings"].clone().requires_grad_()
            head.weight.grad = None
            loss = head(leaf, case["labels"])
            loss.backward()
            parts = [result[number][step] for result in results]
            name = f"case {number}, step {step}"
            exact = case["weight"].dtype == torch.float64
            loss_limits, limits = ({"rtol": 1e-12, "atol": 1e-12}, {"rtol": 1e-9, "atol": 1e-12})
            if not exact:
                loss_limits = limits = {"rtol": 1e-4, "atol": 1e-5}
            for rank_loss, _, _, sample_loss in parts:
                torch.testing.assert_close(rank_loss, loss.detach(), **loss_limits, msg=name)
                torch.testing.assert_close(sample_loss, head.last_report.sample_loss, **loss_limits, msg=name)
            embeddings_grad, weight_grad = (torch.cat([part[i] for part in parts]) for i in (1, 2))
            torch.testing.assert_close(weight_grad, head.weight.grad.to_dense(), **limits, msg=name)
            if case["embeddings"].dtype == torch.bfloat16:  # a gradient has the precision of its tensor
                limits = {"rtol": 1e-2, "atol": 1e-5}
            torch.testing.assert_close(embeddings_grad, leaf.grad, **limits, msg=name)

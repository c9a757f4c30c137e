"""The same loss, draws and gradients on 1, 2, 3 and 4 ranks: real processes over gloo."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC

BATCH, CLASSES, DIM = 7, 101, 13
# Number of images of each rank: unequal, and 0.
SIZES = {1: [[7], [7]], 2: [[4, 3], [7, 0]], 3: [[3, 2, 2], [0, 6, 1]], 4: [[2, 2, 2, 1], [5, 0, 2, 0]]}
# Number of ignored classes per image of each rank: unequal, 0, and None for a rank that passes no tensor.
WIDTHS = {1: [[6], [0]], 2: [[5, 9], [None, 6]], 3: [[3, 1, 12], [2, 0, None]], 4: [[4, 4, 4, 7], [None, 9, 1, 0]]}
UNLABELLED = CLASSES - 1  # no tag of any image


def cases(world: int) -> list[dict[str, Any]]:
    """Every mode with every split in float64, fewer classes than ranks, bfloat16, normalised embeddings, other
    objectives, kernels; all without and with ignored classes."""
    generator = torch.Generator().manual_seed(world)
    made = []
    for (sampling, rate), mask in itertools.product(
        [("independent", 0.2), ("shared", 0.2), ("independent", 1.0)], [True, False]
    ):
        for sizes in SIZES[world]:
            labels = torch.randint(0, UNLABELLED, (BATCH, 11), generator=generator)
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
    other_objectives = [
        dict(case, options=case["options"] | options)
        for case in (made[0], made[3])  # with and without the mask
        for options in (
            {"negative_weight": "importance"},
            {"negative_weight": "importance", "sampling": "shared"},
            {"objective": "soft", "labels_per_sample": "all", "tag_weights": torch.linspace(0.2, 4.0, CLASSES)},
            {"objective": "soft", "negative_weight": "importance"},
            {"objective": "two_sided", "labels_per_sample": "all", "negative_weight": "importance"},
            {"objective": "two_sided", "sample_rate": 1.0},
        )
    ]
    few = dict(made[0], weight=made[0]["weight"][:3].clone(), labels=made[0]["labels"] % 3)
    narrow = dict(made[0], embeddings=made[0]["embeddings"].bfloat16(), weight=made[0]["weight"].float())
    normed = [dict(case, options=case["options"] | {"embedding_norm": "batch"}) for case in made[:2]]
    made += [few, narrow, *normed, *other_objectives]
    if importlib.util.find_spec("triton") is not None and not torch.cuda.is_available():
        for case in (made[0], made[4], other_objectives[0], other_objectives[10]):
            options = case["options"] | {"implementation": "triton"}
            floats = {key: case[key].float() for key in ("embeddings", "weight")}
            made.append(case | floats | {"options": options})
    ignoring = [
        case | {"ignored": ignored_by_rank(case, widths, generator)}
        for case, widths in itertools.product(made, WIDTHS[world])
    ]
    return made + ignoring


def ignored_by_rank(case: dict[str, Any], widths: list[int | None], generator: torch.Generator) -> list[Tensor | None]:
    """Returns the ignored classes of each rank: UNLABELLED first, then some of the images' tags, then others and -1."""
    classes = case["weight"].shape[0]
    found: list[Tensor | None] = []
    for labels, width in zip(case["labels"].split(case["sizes"]), widths, strict=True):
        if width is None:
            found.append(None)
            continue
        ignored = torch.randint(-1, classes, (labels.shape[0], width), generator=generator)
        ignored[:, :1] = min(UNLABELLED, classes - 1)
        ignored[:, 1:4] = labels[:, : max(0, min(3, width - 1))]
        found.append(ignored)
    return found


def of_all_ranks(case: dict[str, Any]) -> Tensor | None:
    """Returns the ignored classes of the global batch; rows are filled with -1."""
    if "ignored" not in case:
        return None
    rows = torch.full((BATCH, 20), -1)
    for part, ignored in zip(rows.split(case["sizes"]), case["ignored"], strict=True):
        if ignored is not None:
            part[:, : ignored.shape[1]] = ignored
    return rows


@pytest.mark.parametrize("world", [1, 2, 3, 4])
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
    exact_zeros = 0
    for number, case in enumerate(made):
        ignored = of_all_ranks(case)
        head = PartialFC(DIM, case["weight"].shape[0], **case["options"])
        head.weight = torch.nn.Parameter(case["weight"].clone())
        for step in range(2):
            leaf = case["embeddings"].clone().requires_grad_()
            head.weight.grad = None
            loss = head(leaf, case["labels"], ignored)
            loss.backward()
            parts = [result[number][step] for result in results]
            name = f"case {number}, step {step}"
            exact = case["weight"].dtype == torch.float64
            loss_limits, limits = ({"rtol": 1e-12, "atol": 1e-12}, {"rtol": 1e-9, "atol": 1e-12})
            if not exact:
                loss_limits = limits = {"rtol": 1e-4, "atol": 1e-5}
            for rank_loss, _, _, sample_loss, negative_cosine, _ in parts:
                torch.testing.assert_close(rank_loss, loss.detach(), **loss_limits, msg=name)
                torch.testing.assert_close(sample_loss, head.last_report.sample_loss, **loss_limits, msg=name)
                torch.testing.assert_close(negative_cosine, head.last_report.negative_cosine, **loss_limits, msg=name)
            embeddings_grad, weight_grad = (torch.cat([part[i] for part in parts]) for i in (1, 2))
            torch.testing.assert_close(weight_grad, head.weight.grad.to_dense(), **limits, msg=name)
            counts = [head.sample_counts.positives] if head.sample_counts is not None else []
            assert torch.equal(torch.cat([part[5] for part in parts]), torch.cat([*counts, torch.empty(0)])), name
            if case["embeddings"].dtype == torch.bfloat16:  # a gradient has the precision of its tensor
                limits = {"rtol": 1e-2, "atol": 1e-5}
            torch.testing.assert_close(embeddings_grad, leaf.grad, **limits, msg=name)
            if ignored is not None and (ignored == UNLABELLED).any(1).all():
                exact_zeros += 1
                assert torch.equal(weight_grad[UNLABELLED], torch.zeros_like(weight_grad[UNLABELLED])), name
    assert exact_zeros > 10

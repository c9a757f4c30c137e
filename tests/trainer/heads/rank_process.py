"""A rank of test_partial_fc_ranks.py: python rank_process.py RANK WORLD FOLDER.

Reads FOLDER/cases.pt, runs every case on this rank's part of the batch and writes FOLDER/rank-RANK.pt.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.ranks.distributed import leave_group


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world)
    results = []
    for case in torch.load(folder / "cases.pt", weights_only=False):
        first = sum(case["sizes"][:rank])
        mine = slice(first, first + case["sizes"][rank])
        head = PartialFC(case["weight"].shape[1], case["weight"].shape[0], **case["options"])
        head.weight = torch.nn.Parameter(case["weight"][head.first_class : head.last_class].clone())
        steps = []
        for _ in range(2):
            leaf = case["embeddings"][mine].clone().requires_grad_()
            head.weight.grad = None
            loss = head(leaf, case["labels"][mine], case["ignored"][rank] if "ignored" in case else None)
            loss.backward()
            report = head.last_report
            gradients = (leaf.grad, head.weight.grad.to_dense())
            counts = torch.empty(0) if head.sample_counts is None else head.sample_counts.positives.clone()
            steps.append((loss.detach(), *gradients, report.sample_loss, report.negative_cosine, counts))
        results.append(steps)
    torch.save(results, folder / f"rank-{rank}.pt")
    leave_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

"""Errors of loss and gradients of Partial FC, by objective, against a dense computation in float64.

    python benchmarks/head_errors.py [--classes N] [--dim N] [--batch N] [--implementations torch triton] [--json FILE]

Each objective runs with every kind of sample (independent and shared at rates 0.1 and 0.5, and exact), with and without
the own-tag mask, with ArcFace and with the released margin, with repeated and ignored tags. The table has the largest
difference to the reference, relative to its largest value, over these. Embeddings are close to some of their tags, as
during training. Without a GPU, the kernels run in Triton's interpreter.
"""

import argparse
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from ovocr.trainer import Margin, PartialFC
from ovocr.trainer.kernels.availability import has_triton

OBJECTIVES = {
    "slots": {},
    "slots, importance": {"negative_weight": "importance"},
    "soft": {"objective": "soft"},
    "soft, importance": {"objective": "soft", "negative_weight": "importance"},
    "soft, importance, weighted, all tags": {
        "objective": "soft",
        "negative_weight": "importance",
        "labels_per_sample": "all",
    },
    "two_sided": {"objective": "two_sided"},
    "two_sided, importance": {"objective": "two_sided", "negative_weight": "importance"},
    "two_sided, importance, all tags": {
        "objective": "two_sided",
        "negative_weight": "importance",
        "labels_per_sample": "all",
    },
}
SAMPLES = [("independent", 0.1), ("independent", 0.5), ("shared", 0.1), ("shared", 0.5), ("shared", 1.0)]
MARGINS = [Margin(), Margin(m2=0.0, m3=0.3, filter_threshold=0.75)]  # at the scale of --scale
PRECISIONS = {"torch": [torch.float32], "triton": [torch.float32, torch.bfloat16]}
PARTS = ("loss", "embeddings", "centers")


def main() -> None:
    options = parse_arguments()
    cuda = torch.cuda.is_available()
    if "triton" in options.implementations and not cuda:
        os.environ["TRITON_INTERPRET"] = "1"  # is read when the kernels are imported
    device = torch.device("cuda" if cuda else "cpu")
    records = []
    columns = [(name, dtype) for name in options.implementations for dtype in PRECISIONS[name]]
    print(
        "| objective | " + " | ".join(f"{name}, {str(dtype)[6:]}: {', '.join(PARTS)}" for name, dtype in columns) + " |"
    )
    print("|---" * (len(columns) + 1) + "|")
    for objective in OBJECTIVES:
        cells = []
        for implementation, dtype in columns:
            worst = largest_errors(options, objective, implementation, dtype, device)
            records.append(
                {"objective": objective, "implementation": implementation, "embeddings": str(dtype), **worst}
            )
            cells.append(", ".join(f"{worst[part]:.1e}" for part in PARTS))
        print(f"| {objective} | {' | '.join(cells)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n")


def largest_errors(
    options: argparse.Namespace, objective: str, implementation: str, dtype: torch.dtype, device: torch.device
) -> dict[str, float]:
    """Returns the largest relative error of loss and gradients over all samples, masks and margins."""
    worst = dict.fromkeys(PARTS, 0.0)
    cases = list(itertools.product(SAMPLES, (True, False), MARGINS))
    for (sampling, rate), mask, margin in tqdm(cases, desc=f"{objective}, {implementation}", leave=False, disable=None):
        head = PartialFC(
            options.dim,
            options.classes,
            **OBJECTIVES[objective],
            tag_weights=torch.linspace(1, 9, options.classes) if "weighted" in objective else None,
            sampling=sampling,
            sample_rate=rate,
            mask_own_tags=mask,
            margin=replace(margin, scale=options.scale),
            implementation=implementation,
        )
        embeddings, labels, ignored = inputs(head, options, dtype)
        wanted = reference(head, embeddings, labels, ignored)
        head, leaf = head.to(device), embeddings.to(device, copy=True).requires_grad_()
        loss = head(leaf, labels, ignored)
        loss.backward()
        found = (loss.detach(), leaf.grad, head.weight.grad.to_dense())
        for part, value, expected in zip(PARTS, found, wanted, strict=True):
            error = ((value.double().cpu() - expected).abs().max() / expected.abs().max()).item()
            worst[part] = max(worst[part], error)
    return worst


def inputs(head: PartialFC, options: argparse.Namespace, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Returns embeddings near the first tag of their image, tags with repetitions, and ignored classes."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, options.classes, (options.batch, options.stored), generator=generator)
    labels[: options.batch // 2] = labels[: options.batch // 2, : options.stored // 4].repeat(1, 4)
    ignored = torch.randint(-1, options.classes, (options.batch, 20), generator=generator)
    ignored[0, :5] = labels[0, :5]
    noise = normalize(torch.randn(options.batch, options.dim, generator=generator), dim=1)
    centers = normalize(head.weight.detach(), dim=1)
    return (0.7 * centers[labels[:, 0]] + noise).to(dtype), labels, ignored


def reference(head: PartialFC, embeddings: Tensor, labels: Tensor, ignored: Tensor) -> tuple[Tensor, ...]:
    """Returns the loss and both gradients of the head's current step, float64, from the full matrix of cosines."""
    embeddings_BD = embeddings.double().requires_grad_()
    weight_CD = head.weight.detach().double().requires_grad_()
    cos_BC = normalize(embeddings_BD, dim=1) @ normalize(weight_CD, dim=1).T
    positives_BP = head.draw_positives(labels)
    negative_BC = cos_BC
    if head.margin.filter_threshold is not None:
        negative_BC = torch.where(cos_BC > head.margin.filter_threshold, torch.zeros_like(cos_BC), cos_BC)
    excluded_BC = excluded(head.num_classes, labels if head.mask_own_tags else labels[:, :0], ignored)
    log_weight_KBC = torch.log(weights(head, positives_BP)).unsqueeze(1).masked_fill(excluded_BC, -torch.inf)
    logit_KBC = head.margin.scale * negative_BC + log_weight_KBC
    target_BP, _ = head.margin.target(cos_BC.gather(1, positives_BP.clamp_min(0)))
    is_positive_BP = positives_BP >= 0
    if head.objective == "slots":
        terms = []
        for slot in range(positives_BP.shape[1]):
            own_B1, target_B1 = positives_BP[:, slot : slot + 1], target_BP[:, slot : slot + 1]
            logit_BC = logit_KBC[min(slot, len(logit_KBC) - 1)].scatter(1, own_B1, -torch.inf)
            terms.append((torch.logsumexp(torch.cat([target_B1, logit_BC], 1), 1, keepdim=True) - target_B1).mean())
        loss = torch.stack(terms).mean()
    else:
        own_BC = excluded(head.num_classes, positives_BP)
        log_z_B1 = torch.logsumexp(logit_KBC[0].masked_fill(own_BC, -torch.inf), 1, keepdim=True)
        target_BP = target_BP.masked_fill(~is_positive_BP, -torch.inf)
        if head.objective == "soft":
            share_BP = is_positive_BP.double()
            if head.tag_weights is not None:
                share_BP = share_BP * head.tag_weights.double()[positives_BP.clamp_min(0)]
            log_all_B1 = torch.logsumexp(torch.cat([log_z_B1, target_BP], 1), 1, keepdim=True)
            cost_BP = torch.where(is_positive_BP, log_all_B1 - target_BP, 0.0)
            loss = (share_BP / share_BP.sum(1, keepdim=True) * cost_BP).sum(1).mean()
        else:
            inverse_BP = torch.where(is_positive_BP, -target_BP, -torch.inf)
            zero_B1 = torch.zeros_like(log_z_B1)
            positive_B = torch.logsumexp(torch.cat([zero_B1, inverse_BP], 1), 1)
            loss = (positive_B + torch.logsumexp(torch.cat([zero_B1, log_z_B1], 1), 1)).mean()
    loss.backward()
    assert embeddings_BD.grad is not None
    assert weight_CD.grad is not None
    return loss.detach(), embeddings_BD.grad, weight_CD.grad


def weights(head: PartialFC, positives_BP: Tensor) -> Tensor:
    """Returns the weight of every class in every sample of the step, float64 [K, C]; 0 outside it."""
    sample = head.draw_sample(positives_BP)
    if sample.rows is None:
        return torch.ones((1, head.num_classes), dtype=torch.float64)
    in_sample_SK = torch.ones((sample.size, 1)) if sample.weights is None else sample.weights
    weights_CK = torch.zeros((head.num_classes, in_sample_SK.shape[1]), dtype=torch.float64)
    weights_CK[sample.rows] = in_sample_SK.double()
    return weights_CK.T


def excluded(num_classes: int, *classes: Tensor) -> Tensor:
    """Returns whether a class is in a row of any of these lists of class ids, bool [B, C]; -1 is none."""
    marks = torch.zeros((classes[0].shape[0], num_classes + 1), dtype=torch.bool)
    for ids in classes:
        marks.scatter_(1, torch.where(ids < 0, num_classes, ids), True)
    return marks[:, :-1]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=2_003)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--scale", type=float, default=64.0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--stored", type=int, default=100, help="stored tags per image")
    parser.add_argument("--implementations", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if "triton" in options.implementations and not has_triton():
        parser.error("--implementations: Triton is not installed (pip install triton); or give only torch")
    return options


if __name__ == "__main__":
    main()

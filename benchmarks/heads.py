"""Time and memory of one step of the Partial FC head, by objective, sampling, number of classes and batch size.

    python benchmarks/heads.py [--classes N...] [--batch N...] [--rates R...] [--objectives O...]
                               [--negative-weights W...] [--ignored N] [--reference CHECKOUT] ...

A step is forward, backward and the row-sparse AdamW. All cases run in one process, one after another in each of
``--rounds`` rounds, in the opposite order in every second round, after one unmeasured step; the script prints the
median of each phase. Workspace is the peak memory of a separate step beyond centers, optimizer state and the gradient
of the rows.

The objectives soft and two_sided have one sum over negatives, and so one draw, as slots with shared sampling. Their
cases, and those with importance weights, get the ratio of their time to the time of slots without weights in the same
mode, the median over rounds, with and without the optimizer. --all-tags adds a case of them in which all stored
tags are positives.

--ignored N: each head also runs with N ignored classes per image, drawn at random, on the same inputs and samples. Such
a case gets the ratio to the case without them. On CUDA, the kernels are the same with and without ignored classes; only
the mask of skipped pairs has more bits set.

--reference CHECKOUT: a checkout of OneVision-Encoder. Its published head runs in the same rounds at a rate of 0.1, with
torch's dense AdamW, and each case also gets a ratio to it, the median over rounds. Before that, both heads are compared
on a case where they compute the same function (rate 1.0, no own-tag mask): largest difference over largest value.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import torch

# The scripts of this folder are not a package.
from process_memory import peak_memory
from published_head import ARCFACE, LABELS_PER_SAMPLE, RELEASED, PublishedHead
from torch import Tensor
from tqdm import tqdm

from ovocr.trainer import Margin, PartialFC, RowAdamW
from ovocr.trainer.heads.center_sampler import NegativeWeight
from ovocr.trainer.heads.objectives import ObjectiveName
from ovocr.trainer.heads.sample_counts import SampleCounts
from ovocr.trainer.kernels.workspace import ReusableMemory
from ovocr.trainer.optim.row_gradients import touched_rows

REFERENCE_RATE = 0.1
ARCFACE_MARGIN = Margin(gradient="straight_through")
RELEASED_MARGIN = Margin(m2=0.0, m3=0.3, filter_threshold=0.75, gradient="straight_through")
PHASES = ("forward", "backward", "optimizer")


@dataclass
class Case:
    """A system to time, a head with its optimizer, and its measurements.

    base: the case that its time is compared with; None for none. ignores: whether images have ignored classes.
    """

    name: str
    rate: float
    forward: Callable[..., Tensor]
    step: Callable[[], None]
    weight: torch.nn.Parameter
    head: PartialFC | None = None
    base: "Case | None" = None
    ignores: bool = False
    phases_ms: list[tuple[float, ...]] = field(default_factory=list)
    gradient_bytes: int = 0
    gradient_rows: int = 0
    workspace_bytes: int = 0

    def totals(self, phases: int = len(PHASES)) -> list[float]:
        """Returns the time of each round, in ms, over the first phases."""
        return [sum(times[:phases]) for times in self.phases_ms]


def main() -> None:
    options = parse_arguments()
    device = torch.device(options.device)
    records = []
    for classes in options.classes:
        needed = 4 * 4 * classes * options.dim * (2 if options.reference else 1)
        if needed > free_memory(device):
            print(f"C={classes:,}: skipped, needs {needed / 2**30:.0f} GB")
            continue
        if options.reference:
            print(*compare_with_published(options.reference, device), sep="\n")
        for batch in options.batch:
            records += bench(options, classes, batch, device)
    if options.json:
        options.json.write_text(json.dumps({"versions": versions(device), "cases": records}, indent=1) + "\n")


def bench(options: argparse.Namespace, classes: int, batch: int, device: torch.device) -> list[dict[str, Any]]:
    """Runs all cases of one number of classes and one batch size."""
    cases = build_cases(options, classes, device)
    title = f"C={classes:,} D={options.dim} B={batch} T={options.stored} K={options.labels_per_sample}"
    if options.ignored:
        title += f" M={options.ignored}"
    print(f"\n{title}, {options.dtype}, {describe(device)}")
    generator = torch.Generator().manual_seed(0)
    for round_ in tqdm(range(options.rounds + 1), unit="round", leave=False, disable=None):
        embeddings = torch.randn(batch, options.dim, generator=generator).to(device, getattr(torch, options.dtype))
        labels = torch.randint(0, classes, (batch, options.stored), generator=generator).to(device)
        ignored = torch.randint(0, classes, (batch, options.ignored), generator=generator).to(device)
        for case in cases if round_ % 2 else cases[::-1]:
            if case.head is not None:
                case.head.step = round_  # two cases may have the same head
            phases = timed_step(case, embeddings, labels, ignored, device)
            if round_:  # round 0 creates the optimizer's state and compiles kernels
                case.phases_ms.append(phases)
    for case in cases:
        measure_memory(case, embeddings, labels, ignored, device)
    return [report(case, cases, title) for case in cases]


def build_cases(options: argparse.Namespace, classes: int, device: torch.device) -> list[Case]:
    """Returns the published head, if requested, and ours in each mode; ours share one weight and optimizer state."""
    cases = []
    if options.reference:
        published = PublishedHead(options.reference, classes, options.dim, REFERENCE_RATE, device)
        cases.append(
            Case(f"published {REFERENCE_RATE}", REFERENCE_RATE, published.forward, published.step, published.weight)
        )
    heads = []
    for mode in modes(options):
        head = PartialFC(
            options.dim,
            1 if heads else classes,
            mask_own_tags=not options.no_mask,
            implementation=options.implementation,
            **mode,
        ).to(device)
        if heads:
            adopt(head, heads[0].weight, classes)
        heads.append(head)
    step = stepper(RowAdamW([heads[0].weight], lr=1e-3))
    plain: dict[tuple[float, str], Case] = {}  # slots without weights, by rate and sampling
    for head in heads:
        key = head.sample_rate, head.sampling
        case = Case(name_of(head), head.sample_rate, head.forward, step, head.weight, head, plain.get(key))
        plain.setdefault(key, case)
        cases.append(case)
        if options.ignored:
            cases.append(replace(case, name=f"{case.name} ignoring", base=case, ignores=True, phases_ms=[]))
    return cases


def modes(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the options of each head; those of slots without weights come first in their rate and sampling."""
    for rate, objective in itertools.product(options.rates, options.objectives):
        for sampling in options.sampling if objective == "slots" and rate < 1 else ["shared"]:
            for weight in options.negative_weights if rate < 1 else ["none"]:
                mode = {"sample_rate": rate, "objective": objective, "sampling": sampling, "negative_weight": weight}
                yield mode | {"labels_per_sample": options.labels_per_sample}
                if objective != "slots" and options.all_tags:
                    yield mode | {"labels_per_sample": "all"}


def name_of(head: PartialFC) -> str:
    """Returns objective, sampling and rate of a head."""
    sampling = "exact" if head.sample_rate == 1.0 else head.sampling if head.objective == "slots" else ""
    weight = "importance" if head.negative_weight == "importance" else ""
    tags = "all tags" if head.labels_per_sample == "all" else ""
    return " ".join(part for part in (head.objective, sampling, weight, tags, f"{head.sample_rate:g}") if part)


def adopt(head: PartialFC, weight: torch.nn.Parameter, classes: int) -> None:
    """Gives a head of one class the weight and classes of another: its own centers would cost seconds and gigabytes."""
    head.num_classes = head.last_class = classes
    head.weight = weight
    if head.sample_counts is not None:
        head.sample_counts = SampleCounts(classes).to(weight.device)


def stepper(optimizer: RowAdamW) -> Callable[[], None]:
    def step() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def timed_step(
    case: Case, embeddings: Tensor, labels: Tensor, ignored: Tensor, device: torch.device
) -> tuple[float, ...]:
    """Returns milliseconds of forward, backward and optimizer."""
    leaf = embeddings.detach().requires_grad_()
    classes = (labels, ignored) if case.ignores else (labels,)
    times = [now(device)]
    loss = case.forward(leaf, *classes)
    times.append(now(device))
    loss.backward()
    times.append(now(device))
    case.step()
    times.append(now(device))
    return tuple(1e3 * (b - a) for a, b in pairwise(times))


def measure_memory(case: Case, embeddings: Tensor, labels: Tensor, ignored: Tensor, device: torch.device) -> None:
    """Measures the peak memory of a step, and the part of it that is the gradient of the rows."""
    leaf = embeddings.detach().requires_grad_()
    classes = (labels, ignored) if case.ignores else (labels,)
    if case.head is not None:
        case.head.step = 0
        case.head._gradient_memory = ReusableMemory()  # the gradient's memory must count as newly allocated
    with peak_memory(device) as peak:
        case.forward(leaf, *classes).backward()
        gradient = touched_rows(case.weight.grad)
        case.gradient_rows, case.gradient_bytes = gradient.count, gradient.values.numel() * 4
        del gradient
        case.step()
    case.workspace_bytes = peak.bytes - case.gradient_bytes


def report(case: Case, cases: list[Case], title: str) -> dict[str, Any]:
    """Prints a case as one line and returns it as a record."""
    medians = [statistics.median(values) for values in zip(*case.phases_ms, strict=True)]
    total = statistics.median(case.totals())
    record: dict[str, Any] = {"case": case.name, "sizes": title, "total_ms": total, "rounds_ms": case.totals()}
    record |= {f"{phase}_ms": value for phase, value in zip(PHASES, medians, strict=True)}
    record |= {"gradient_rows": case.gradient_rows, "workspace_bytes": case.workspace_bytes}
    line = f"{case.name:44s} " + " ".join(f"{p} {v:9.2f}" for p, v in zip(PHASES, medians, strict=True))
    line += f"  total {total:9.2f} ms  rows {case.gradient_rows:8,d}  workspace {case.workspace_bytes / 1e6:7.0f} MB"
    if cases[0].name.startswith("published"):
        ratios = [theirs / ours for theirs, ours in zip(cases[0].totals(), case.totals(), strict=True)]
        record |= {"ratio": statistics.median(ratios), "lowest_ratio": min(ratios)}
        line += f"  {record['ratio']:6.1f} x (lowest round {record['lowest_ratio']:.1f})"
    if case.base is not None:
        pairs = [(case.totals(phases), case.base.totals(phases)) for phases in (len(PHASES), 2)]
        whole, head = ([a / b for a, b in zip(*pair, strict=True)] for pair in pairs)
        record |= {"base": case.base.name, "base_ratios": whole, "base_ratios_of_head": head}
        record |= {"base_ratio": statistics.median(whole), "base_ratio_of_head": statistics.median(head)}
        line += f"  {record['base_ratio']:.3f} of the time of {case.base.name}"
        line += f" ({record['base_ratio_of_head']:.3f} without the optimizer)"
    print(line, flush=True)
    return record


def compare_with_published(checkout: Path, device: torch.device) -> Iterator[str]:
    """Compares loss and gradients of both heads where they are the same function; yields one line per margin.

    The published backward pass omits the 1/K of the mean over slots, so its gradients are K times ours. Its loss is
    capped at -log(1e-30), so the case has probabilities above that.
    """
    dim, classes, batch = 256, 1009, 24
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, classes, (batch, LABELS_PER_SAMPLE), generator=generator).to(device)
    noise = torch.randn(batch, dim, generator=generator).to(device)
    for name, theirs, margin in (("CosFace, filter", RELEASED, RELEASED_MARGIN), ("ArcFace", ARCFACE, ARCFACE_MARGIN)):
        torch.manual_seed(0)
        published = PublishedHead(checkout, classes, dim, 1.0, device, theirs)
        ours = PartialFC(dim, classes, sample_rate=1.0, mask_own_tags=False, margin=margin).to(device)
        ours.weight = torch.nn.Parameter(published.weight.detach().clone())
        embeddings = noise.clone()
        if margin.filter_threshold is not None:  # tags that are already close, as negatives of the other slots
            embeddings[:8] = published.weight.detach()[labels[:8, 0]] * 100 + 0.3 * noise[:8]
        results = []
        for forward, weight, factor in (
            (published.forward, published.weight, 1 / LABELS_PER_SAMPLE),
            (ours, ours.weight, 1.0),
        ):
            leaf = embeddings.clone().requires_grad_()
            loss = forward(leaf, labels)
            loss.backward()
            results.append((loss.detach(), leaf.grad * factor, weight.grad * factor))
        found = [((a - b).abs().max() / a.abs().max()).item() for a, b in zip(*results, strict=True)]
        parts = zip(("loss", "embeddings' gradient", "centers' gradient"), found, strict=True)
        differences = ", ".join(f"{p} {value:.1e}" for p, value in parts)
        yield f"compared with the published head at rate 1.0, {name}: {differences}"


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def free_memory(device: torch.device) -> int:
    """Returns the free memory of the device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads"


def versions(device: torch.device) -> dict[str, str]:
    return {
        "device": describe(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": str(len(os.sched_getaffinity(0))),
        "command": " ".join(sys.argv),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--classes", type=int, nargs="+", default=[365_187])
    parser.add_argument("--batch", type=int, nargs="+", default=[32])
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--stored", type=int, default=100, help="stored tags per image")
    parser.add_argument("--labels-per-sample", type=int, default=8, help="slots drawn from them")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--sampling", nargs="+", choices=("independent", "shared"), default=["independent", "shared"])
    parser.add_argument("--objectives", nargs="+", choices=get_args(ObjectiveName), default=["slots"])
    parser.add_argument("--negative-weights", nargs="+", choices=get_args(NegativeWeight), default=["none"])
    parser.add_argument(
        "--all-tags", action="store_true", help="also make all stored tags positives of soft, two_sided"
    )
    parser.add_argument(
        "--no-mask", action="store_true", help="use an image's own tags as negatives of its other slots"
    )
    parser.add_argument("--ignored", type=int, default=0, help="ignored classes per image, as additional cases")
    parser.add_argument("--implementation", choices=("auto", "torch", "triton"), default="auto")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="type of the embeddings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference", type=Path, help="checkout of OneVision-Encoder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for name in ("classes", "batch", "dim", "stored", "labels_per_sample", "rounds"):
        value = getattr(options, name)
        if min(value if isinstance(value, list) else [value]) < 1:
            parser.error(f"--{name.replace('_', '-')}: at least 1")
    if "slots" in options.objectives:  # the cases that others are compared with come first
        options.objectives = ["slots", *(name for name in options.objectives if name != "slots")]
    options.negative_weights = sorted(options.negative_weights, reverse=True)
    if options.ignored < 0:
        parser.error("--ignored: at least 0")
    if not all(0 < rate <= 1 for rate in options.rates):
        parser.error("--rates: more than 0, at most 1")
    if options.labels_per_sample > options.stored:
        parser.error(f"--labels-per-sample: {options.labels_per_sample} of {options.stored} tags cannot be drawn")
    if options.reference and options.labels_per_sample != LABELS_PER_SAMPLE:
        parser.error(f"--labels-per-sample: the published head draws {LABELS_PER_SAMPLE}")
    if options.device not in ("cpu", "cuda") or (options.device == "cuda" and not torch.cuda.is_available()):
        parser.error(f"--device: {options.device} is not available")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json: {options.json.absolute().parent} is not a folder")
    return options


if __name__ == "__main__":
    main()

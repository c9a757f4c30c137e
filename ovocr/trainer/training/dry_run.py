"""`ovocr train --dry-run`: everything that a run builds, and two of its steps on made data; nothing is written."""

import time
from collections.abc import Iterator

import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.trainer.config.heads import HeadConfig, VideoHeadConfig
from ovocr.trainer.config.sections import LoaderConfig, RunConfig
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.data.made import MadeSamples
from ovocr.trainer.data.mixing import order_of
from ovocr.trainer.ranks.distributed import Ranks, choose_device, joined
from ovocr.trainer.training.initial_centers import load_class_map
from ovocr.trainer.training.loop import check_implementation, use_share_of_cores
from ovocr.trainer.training.model import Model, build_model, build_optimizers
from ovocr.trainer.training.reporting import StepReports, peak_memory_gb
from ovocr.trainer.training.step import TrainStep

_STEPS = 2
# float32 numbers held for each parameter: value and gradient; and for each optimizer's moments.
_BYTES = 4
_MOMENTS = {"adamw": 2, "sgd": 1}


def dry_run(config: RunConfig) -> Iterator[str]:
    """Build what ``config`` says and run two steps; lines for a person as they come, on the first rank.

    Every rank calls this and goes through the lines. The data need not be there where each head's num_classes is set.
    Raises OvocrError where something cannot be built, or a number of a step is not finite.
    """
    device = choose_device(config.run.device)
    use_share_of_cores()
    with joined(device, config.run.collective_timeout_s) as ranks:
        for line in _lines(config, ranks, device):
            if ranks.rank == 0:
                yield line


def _lines(config: RunConfig, ranks: Ranks, device: torch.device) -> Iterator[str]:
    for name, head in config.heads.items():
        check_implementation(name, head, device)
    data = {name: _made_data(name, head, config) for name, head in config.heads.items()}
    for name, made in data.items():
        yield _plan_of(name, config, made, ranks)
        yield from _beginning_of(name, config.heads[name], made.num_classes)
    model = build_model(config, {name: made.num_classes for name, made in data.items()}, ranks, device)
    optimizers = build_optimizers(config, model)
    yield _size_of(model, config)
    step = TrainStep(config, model, optimizers, data, ranks, device)
    reports = StepReports(config, data, None)
    batches = {name: made.batches(ranks, range(_STEPS), LoaderConfig(), device) for name, made in data.items()}
    for number in range(_STEPS):
        began = time.monotonic()
        reports.add(step(number, batches), ended=None)
        seconds = time.monotonic() - began
        memory = f"at most {peak_memory_gb():.1f} GB so far"
        yield f"step {number + 1}: loss {reports.last_loss:.3f}, {seconds:.1f} s; {memory}"
    samples = sum(head.global_batch for head in config.heads.values())
    steps = config.run.steps
    yield (
        f"the run: {steps:,} steps of {samples:,} samples, {steps * samples:,} in all; "
        f"{steps * seconds / 3600:,.2f} h at the pace of the second step, without waiting for data"
    )


def _made_data(name: str, head: HeadConfig, config: RunConfig) -> HeadData:
    num_classes = head.num_classes
    passes = config.run.passes_per_step
    if num_classes is None:
        try:
            found = HeadData.open(
                name, head, image_size=config.backbone.image_size, passes=passes, seed=config.run.seed
            )
        except OvocrError as error:
            raise UsageError(
                f"heads.{name}.num_classes: set it for a dry run without the data, which would say it: {error}"
            ) from error
        num_classes = found.num_classes
    samples = MadeSamples(head, num_classes=num_classes, image_size=config.backbone.image_size)
    order = order_of(samples.parts, None, config.run.seed)
    return HeadData(name, samples, order, None, num_classes, head.global_batch // passes, passes)


def _plan_of(name: str, config: RunConfig, data: HeadData, ranks: Ranks) -> str:
    head, width = config.heads[name], config.backbone.hidden_size
    rows = -(-data.num_classes // ranks.world)
    held = rows * width * _BYTES * (1 + _MOMENTS[head.optimizer])
    side = head.image_size or config.backbone.image_size
    frames = f"{head.frames} frames of " if isinstance(head, VideoHeadConfig) else ""
    share = f"{data.pass_batch / ranks.world:g} x {data.passes} passes x {ranks.world} ranks"
    return (
        f"head {name}: {frames}{side} x {side} pixels, {head.global_batch:,} samples a step = {share}; "
        f"{data.num_classes:,} centers of {width}, {rows:,} on a rank: {held / 1e9:.2f} GB with the optimizer's state"
    )


def _beginning_of(name: str, head: HeadConfig, num_classes: int) -> Iterator[str]:
    """Where the centers come from, as far as it can be told while neither run nor map need be there."""
    if head.init_map is None:
        if head.init_from is not None:
            yield f"head {name}: begins with the centers of {head.init_from}"
    elif not head.init_map.exists():
        yield f"head {name}: begins with centers of {head.init_from}, by {head.init_map}, which is not there yet"
    else:
        kept = load_class_map(name, head.init_map, num_classes).kept
        yield f"head {name}: {kept:,} of {num_classes:,} centers begin as some of {head.init_from}, by {head.init_map}"


def _size_of(model: Model, config: RunConfig) -> str:
    parameters = sum(parameter.numel() for parameter in model.backbone.parameters())
    held = parameters * _BYTES * (2 + _MOMENTS["adamw"])
    spread = ", spread over the ranks" if model.parallel.sharded else " on every rank"
    return (
        f"backbone: {parameters:,} parameters, {held / 1e9:.2f} GB with gradients and the optimizer's state{spread}; "
        f"{config.backbone.num_hidden_layers} layers of {config.backbone.hidden_size}"
    )

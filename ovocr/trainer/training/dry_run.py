"""`ovocr train --dry-run`: builds everything a run needs and takes two steps on synthetic data; writes nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.plural import counted
from ovocr.dataset.access.opening import data_exist, open_data_set
from ovocr.dataset.holdout.group_table import GroupTable
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig, VideoHeadConfig
from ovocr.trainer.config.sections import LoaderConfig, RunConfig
from ovocr.trainer.data.evaluation_data import HeadClasses, UnmatchedDataError, open_held_out
from ovocr.trainer.data.head_data import HeadData, count_classes, load_vocabulary
from ovocr.trainer.data.mixing import make_order
from ovocr.trainer.data.stored.vocabularies import vocabulary_sha256
from ovocr.trainer.data.synthetic import SyntheticSamples
from ovocr.trainer.data.tag_weights import TagWeights
from ovocr.trainer.flops.model_flops import StepFlops, backbone_flops, input_size
from ovocr.trainer.ranks.distributed import Ranks, choose_device, join_ranks
from ovocr.trainer.runs.checkpoint_space import CheckpointSpace
from ovocr.trainer.training.initial_centers import load_class_map
from ovocr.trainer.training.loop import agree_on_configuration, check_implementation, limit_torch_threads
from ovocr.trainer.training.model import Model, build_model, build_optimizers
from ovocr.trainer.training.step import TrainStep
from ovocr.trainer.training.step_reporter import StepReporter, peak_memory_gb

_STEPS = 2
# Memory per parameter: float32 value and gradient, and the moments of the optimizer.
_BYTES = 4
_MOMENTS = {"adamw": 2, "sgd": 1}


def dry_run(config: RunConfig, *, extend: bool = False) -> Iterator[str]:
    """Builds the run of ``config`` and takes two steps; yields lines to print, on rank 0 only.

    Every rank calls this and exhausts the iterator. The data need not exist if num_classes is set for each head.

    extend: whether to check that the run in the configuration's folder can be extended.

    Raises OvocrError if something cannot be built or a number of a step is not finite.
    """
    device = choose_device(config.run.device)
    limit_torch_threads()
    with join_ranks(device, config.run.collective_timeout_s) as ranks:
        for line in _report_lines(config, ranks, device, extend=extend):
            if ranks.rank == 0:
                yield line


def _report_lines(config: RunConfig, ranks: Ranks, device: torch.device, *, extend: bool) -> Iterator[str]:
    if extend:
        config, planned = agree_on_configuration(config, ranks, device, extend=True)
        yield f"extension: {'none, the run has these settings' if planned is None else planned.format()}"
    yield _schedule_line(config)
    for name, head in config.heads.items():
        check_implementation(name, head, device)
    data = {name: _synthetic_data(name, head, config) for name, head in config.heads.items()}
    for name, synthetic in data.items():
        yield _head_line(name, config, synthetic, ranks)
        yield from _initial_centers_line(name, config.heads[name], synthetic.num_classes)
    yield from _evaluation_lines(config, {name: synthetic.num_classes for name, synthetic in data.items()})
    num_classes = {name: synthetic.num_classes for name, synthetic in data.items()}
    tag_weights = {}
    for name, head in config.heads.items():
        if isinstance(head, OcrHeadConfig) and head.tag_frequencies is not None:
            line, tag_weights[name] = _tag_weights(name, head, head.tag_frequencies, num_classes[name])
            yield line
    model = build_model(config, num_classes, ranks, device, tag_weights)
    optimizers = build_optimizers(config, model)
    yield _backbone_line(model, config)
    step = TrainStep(config, model, optimizers, data, ranks, device)
    reporter = StepReporter(config, data, None)
    first = config.optimizer.schedule_start or 0  # before it, there is no learning rate
    steps = range(first, first + _STEPS)
    batches = {name: synthetic.batches(ranks, steps, LoaderConfig(), device) for name, synthetic in data.items()}
    for number in steps:
        began = time.monotonic()
        reporter.add(step(number, batches), ended=None)
        seconds = time.monotonic() - began
        memory = f"at most {peak_memory_gb():.1f} GB so far"
        yield f"step {number - first + 1}: loss {reporter.last_loss:.3f}, {seconds:.1f} s; {memory}"
    if reporter.last_flops is not None:
        yield _flops_line(reporter.last_flops, config, ranks)
    samples = sum(head.global_batch for head in config.heads.values())
    tensors = model.tensors() | optimizers.tensors(model)
    yield CheckpointSpace.of(tensors, config, ranks).format(config)
    length = config.run.steps
    yield (
        f"the run: {counted(length, 'step')} of {counted(samples, 'sample')}, {length * samples:,} in total; "
        f"{length * seconds / 3600:,.2f} h at the speed of the second step, without waiting for data"
    )


def _schedule_line(config: RunConfig) -> str:
    settings, start = config.optimizer, config.optimizer.schedule_start or 0
    warmup = f"learning rate: schedule {settings.schedule} from step {start:,}: "
    warmup += f"{counted(settings.warmup_steps, 'step')} of warm-up to {settings.lr:g}"
    if config.cooldown_start is None:
        return f"{warmup}, then a decay of power {settings.decay_power:g} until step {config.run.steps:,}"
    return f"{warmup}, constant until step {config.cooldown_start:,}, a cooldown until step {config.run.steps:,}"


def _flops_line(flops: StepFlops, config: RunConfig, ranks: Ranks) -> str:
    parts = [f"backbone {_tflop(flops.backbone)}"]
    for name, of_head in flops.heads.items():
        frames, side = input_size(config, config.heads[name])
        trained = not config.run.freeze_backbone
        of_sample = backbone_flops(config.backbone, frames=frames, image_size=side, trained=trained)
        parts.append(f"head {name} {_tflop(of_head)} (and {_tflop(of_sample)} of the backbone per sample)")
    where = "" if ranks.world == 1 else " on the first rank"
    return f"model FLOPs of a step{where}: {_tflop(flops.total)}; {', '.join(parts)}"


def _tflop(flops: int) -> str:
    return f"{flops / 1e12:.3g} TFLOP" if flops >= 1e11 else f"{flops / 1e9:.3g} GFLOP"


def _synthetic_data(name: str, head: HeadConfig, config: RunConfig) -> HeadData:
    num_classes = head.num_classes
    passes = config.run.passes_per_step
    if num_classes is None:
        try:
            found = HeadData.open(
                name,
                head,
                image_size=config.backbone.image_size,
                passes=passes,
                seed=config.run.seed,
                loader=config.loader,
            )
        except OvocrError as error:
            raise UsageError(f"heads.{name}.num_classes: required for a dry run without the data: {error}") from error
        num_classes = found.num_classes
    samples = SyntheticSamples(head, num_classes=num_classes, image_size=config.backbone.image_size)
    order = make_order(samples.parts, None, config.run.seed)
    return HeadData(name, samples, order, None, num_classes, head.global_batch // passes, passes)


def _head_line(name: str, config: RunConfig, data: HeadData, ranks: Ranks) -> str:
    head, width = config.heads[name], config.backbone.hidden_size
    rows = -(-data.num_classes // ranks.world)
    needed = rows * width * _BYTES * (1 + _MOMENTS[head.optimizer])
    side = head.image_size or config.backbone.image_size
    frames = f"{head.frames} frames of " if isinstance(head, VideoHeadConfig) else ""
    passes = f"{data.passes} {'pass' if data.passes == 1 else 'passes'}"
    share = f"{data.pass_batch / ranks.world:g} x {passes} x {counted(ranks.world, 'rank')}"
    memory = f"{rows:,} per rank: {needed / 1e9:.2f} GB with optimizer state"
    return (
        f"head {name}: {frames}{side} x {side} pixels, {counted(head.global_batch, 'sample')} per step = {share}; "
        f"{data.num_classes:,} centers of {width} dimensions, {memory}"
    )


def _tag_weights(name: str, head: HeadConfig, path: Path, num_classes: int) -> tuple[str, torch.Tensor]:
    """Returns a line about the weights of a head's tags, and the weights; the files may not exist yet.

    path: the file of word frequencies.
    """
    where, equal = f"head {name}: tag weights from {path}", torch.ones(num_classes)
    if not path.exists():
        return f"{where}, which does not exist yet; equal weights here", equal
    if not data_exist(head.data[0]):
        return f"{where}; equal weights here, because the data with the vocabulary do not exist yet", equal
    vocabulary = load_vocabulary(name, head)
    count_classes(name, head, vocabulary)
    weights = TagWeights.load(name, path, vocabulary).tensor()
    return f"{where}: {weights.min():.2f} to {weights.max():.2f}", weights


def _initial_centers_line(name: str, head: HeadConfig, num_classes: int) -> Iterator[str]:
    """Returns a line about the source of the initial centers; the other run and the map may not exist yet."""
    if head.init_map is None:
        if head.init_from is not None:
            yield f"head {name}: initial centers from {head.init_from}"
    elif not head.init_map.exists():
        yield f"head {name}: initial centers from {head.init_from}, mapped by {head.init_map}, which does not exist yet"
    else:
        kept = load_class_map(name, head.init_map, num_classes).kept
        yield (
            f"head {name}: {kept:,} of {num_classes:,} initial centers from {head.init_from}, mapped by {head.init_map}"
        )


def _evaluation_lines(config: RunConfig, num_classes: dict[str, int]) -> Iterator[str]:
    """Yields a line for each held-out data set, and one for the table of groups; they may not exist yet.

    Raises UsageError if no head matches a data set or a head's images cannot be cropped, and UsageError or OvocrError
    if the table cannot be used.
    """
    settings = config.evaluation
    classes = {}
    for name, head in config.heads.items():
        sha256 = _vocabulary_sha256(head)
        if sha256 is not None:
            classes[name] = HeadClasses(head.kind, num_classes[name], sha256)
    for name, root in zip(settings.names(), settings.data, strict=True) if settings.every else ():
        where = f"evaluation every {counted(settings.every, 'step')}: {root}"
        if not data_exist(root):
            yield f"{where}: does not exist yet"
            continue
        try:
            for held_out in open_held_out(config, classes, root, name):
                crops = f", {counted(settings.crops, 'crop')} of each," if settings.crops else ""
                yield f"{where}: {counted(len(held_out.images), 'sample')}{crops} for head {held_out.head}"
        except UnmatchedDataError:
            is_data = isinstance(root, str) or root.is_file() or LabelledDataSet(root).manifest_path.is_file()
            if len(classes) == len(config.heads) or not is_data:
                raise
            yield f"{where}: is for a head whose training data do not exist yet"
    if settings.every and settings.groups is not None:
        yield _groups_line(settings.groups)


def _groups_line(path: Path) -> str:
    """Returns a line about the table of groups, which may not exist yet. Raises UsageError or OvocrError."""
    where = f"evaluation.groups: {path}"
    if not path.exists():
        return f"{where}: does not exist yet"
    return f"{where}: {counted(len(GroupTable(path, 'evaluation.groups')), 'group')}"


def _vocabulary_sha256(head: HeadConfig) -> str | None:
    """Returns the hash of a head's vocabulary, empty if it has none; None if its data do not exist yet."""
    if isinstance(head, VideoHeadConfig):
        return ""
    return vocabulary_sha256(open_data_set(head.data[0])) if data_exist(head.data[0]) else None


def _backbone_line(model: Model, config: RunConfig) -> str:
    parameters = sum(parameter.numel() for parameter in model.backbone.parameters())
    needed = parameters * _BYTES * (2 + _MOMENTS["adamw"])
    placement = ", split over the ranks" if model.parallel.sharded else " on every rank"
    return (
        f"backbone: {parameters:,} parameters, {needed / 1e9:.2f} GB with gradients and optimizer state{placement}; "
        f"{counted(config.backbone.num_hidden_layers, 'layer')} of {config.backbone.hidden_size} channels"
    )

"""The trained parts of a run, built from its configuration: one backbone, and a Partial FC for each head."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.trainer.backbone.parallel import ParallelBackbone
from ovocr.trainer.backbone.rotary import clip_positions
from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.config.heads import HeadConfig
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.images import normalise
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.optim.row_adamw import RowAdamW
from ovocr.trainer.optim.row_optimizer import RowOptimizer
from ovocr.trainer.optim.row_sgd import RowSGD
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import RowShard, Tensors, load_checkpoint, read_state
from ovocr.trainer.runs.checkpoint_index import saved_shapes
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.gradients import local_part
from ovocr.vocab import Vocabulary

_ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Model:
    """The backbone and the heads, whose class centers are split over the ranks.

    parallel: the same backbone, wrapped to run on all ranks together.
    """

    backbone: Backbone
    heads: dict[str, PartialFC]
    parallel: ParallelBackbone

    def tensors(self) -> Tensors:
        """Returns all trained tensors by their names in a checkpoint."""
        tensors = self.backbone_tensors()
        for name, head in self.heads.items():
            tensors |= self.head_tensors(name)
            if head.embedding_norm is not None:
                tensors |= self.norm_tensors(name)
        return tensors | self.sample_counts()

    def sample_counts(self) -> Tensors:
        """Returns the counts of all heads by their names in a checkpoint.

        Checkpoints from before 2026-11-29 do not have them; the counts are then zero.
        """
        tensors: Tensors = {}
        for name, head in self.heads.items():
            if head.sample_counts is not None:
                tensors[f"heads.{name}.sample_counts.positives"] = _rows_of(head, head.sample_counts.positives)
                tensors[f"heads.{name}.sample_counts.samples"] = head.sample_counts.samples
        return tensors

    def backbone_tensors(self) -> Tensors:
        """Returns the backbone's tensors by their names in a checkpoint."""
        ranks = self._ranks()
        return {
            f"backbone.{name}": as_checkpoint_tensor(value, ranks) for name, value in self.backbone.state_dict().items()
        }

    def head_tensors(self, name: str) -> Tensors:
        """Returns the class centers of a head by their name in a checkpoint."""
        head = self.heads[name]
        return {f"heads.{name}.weight": _rows_of(head, head.weight.detach())}

    def norm_tensors(self, name: str) -> Tensors:
        """Returns the running statistics of a head's ``embedding_norm`` by their names in a checkpoint.

        Raises ValueError if the head has no ``embedding_norm``.
        """
        norm = self.heads[name].embedding_norm
        if norm is None:
            raise ValueError(f"head {name} has no embedding_norm")
        return {f"heads.{name}.embedding_norm.{key}": value for key, value in norm.state_dict().items()}

    @torch.no_grad()
    def embed(self, head: str, pixels: Tensor, times: Tensor | None = None) -> Tensor:
        """Returns embeddings [B, D] for a head's class centers, without gradients; see ``pooled``."""
        return self.heads[head].embed(self.pooled(pixels, times))

    @torch.no_grad()
    def pooled(self, pixels: Tensor, times: Tensor | None = None) -> Tensor:
        """Returns the pooled embeddings [B, D] of the backbone, which every head starts from, without gradients.

        pixels: uint8, images [B, 3, S, S] or clips [B, 3, F, S, S], on the model's device. times: int64 [B, F], the
        frames' positions on the time axis; None for images.
        """
        positions = None
        if times is not None:
            side = pixels.shape[-1] // self.backbone.config.patch_size
            positions = clip_positions(times, side, side)
        _, pooled = self.backbone(normalise(pixels, torch.float32), positions)
        return pooled

    def take_part_in_forward_pass(self, device: torch.device) -> None:
        """Lets a rank without samples take part in a forward pass of the other ranks: with FSDP2 it is a collective.

        device: the device of the model.
        """
        if self.parallel.sharded:
            side = self.backbone.config.patch_size
            self.pooled(torch.zeros((1, 3, side, side), dtype=torch.uint8, device=device))

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """Sets backbone and heads to evaluation mode in the block, and to training mode after it."""
        modules = (self.backbone, *self.heads.values())
        for module in modules:
            module.eval()
        try:
            yield
            self.parallel.drop_gathered()
        finally:
            for module in modules:
                module.train()

    def _ranks(self) -> Ranks:
        return next(iter(self.heads.values())).ranks


@dataclass(frozen=True)
class Optimizers:
    """AdamW for the backbone and a row-wise optimizer for each head."""

    backbone: torch.optim.AdamW
    heads: dict[str, RowOptimizer]

    def set_learning_rate(self, rate: float, head_scales: dict[str, float]) -> None:
        """Sets the learning rate of the step, scaled by a factor for each head."""
        for group in self.backbone.param_groups:
            group["lr"] = rate
        for name, optimizer in self.heads.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * head_scales[name]

    def step(self) -> None:
        """Applies all gradients, then drops them."""
        for optimizer in (self.backbone, *self.heads.values()):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def tensors(self, model: Model) -> Tensors:
        """Returns the state of all optimizers by its names in a checkpoint; creates zeros if there is none yet."""
        tensors: Tensors = {}
        ranks = next(iter(model.heads.values())).ranks
        for name, parameter in model.backbone.named_parameters():
            state = self.backbone.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            for key in _ADAM_STATE:
                tensors[f"optimizer.backbone.{name}.{key}"] = as_checkpoint_tensor(state[key], ranks)
        for name, optimizer in self.heads.items():
            head = model.heads[name]
            for key, value in optimizer.init_state(head.weight).items():
                tensors[f"optimizer.heads.{name}.{key}"] = _rows_of(head, value)
        return tensors


def build_model(
    config: RunConfig,
    num_classes: dict[str, int],
    ranks: Ranks,
    device: torch.device,
    tag_weights: Mapping[str, Tensor] | None = None,
) -> Model:
    """Creates the model with its initial weights, the same for any number of ranks.

    num_classes: number of classes by head. tag_weights: float [C] by head, for training heads with weighted tags.
    """
    torch.manual_seed(config.run.seed)
    backbone = Backbone(config.backbone).to(device)
    backbone.encoder.recompute = config.run.activation_checkpointing
    if config.run.compile:
        backbone.encoder.compile_layers()
    heads = {}
    for index, (name, head) in enumerate(config.heads.items()):
        heads[name] = PartialFC(
            config.backbone.hidden_size,
            num_classes[name],
            labels_per_sample=head.labels_per_sample,
            sample_rate=head.sample_rate,
            sampling=head.sampling,
            mask_own_tags=head.mask_own_tags,
            margin=_margin(head),
            objective=head.objective,
            negative_weight=head.negative_weight,
            tag_weights=(tag_weights or {}).get(name),
            implementation=head.implementation,
            process_group=ranks.group,
            seed=config.run.seed + index,
            passes_per_step=config.run.passes_per_step,
            embedding_norm=head.embedding_norm,
        ).to(device)
    return Model(backbone, heads, ParallelBackbone(backbone, config.run.backbone_parallel, ranks))


def build_optimizers(config: RunConfig, model: Model) -> Optimizers:
    """Creates fresh optimizers. Norms, biases and the pooling probe, which are not weight matrices, are not decayed."""
    settings = config.optimizer
    parameters = list(model.backbone.parameters())
    matrices = [parameter.dim() >= 2 and parameter.shape[0] > 1 for parameter in parameters]
    groups: list[dict[str, Any]] = [
        {"params": [p for p, is_matrix in zip(parameters, matrices, strict=True) if is_matrix]},
        {
            "params": [p for p, is_matrix in zip(parameters, matrices, strict=True) if not is_matrix],
            "weight_decay": 0.0,
        },
    ]
    backbone = torch.optim.AdamW(
        groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )
    heads = {name: _head_optimizer(config, name, head) for name, head in model.heads.items()}
    return Optimizers(backbone, heads)


def _head_optimizer(config: RunConfig, name: str, head: PartialFC) -> RowOptimizer:
    settings, own = config.optimizer, config.heads[name]
    if own.optimizer == "sgd":
        return RowSGD(
            [head.weight],
            lr=settings.lr,
            momentum=own.momentum,
            weight_decay=settings.weight_decay,
            implementation=own.implementation,
        )
    return RowAdamW(
        [head.weight],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        implementation=own.implementation,
    )


@dataclass(frozen=True)
class TrainedRun:
    """A finished or unfinished run at one of its checkpoints, with all class centers in one process.

    vocabularies: vocabulary by head name, for heads whose class ids are words. training_images: number of training
    images (or videos) by head name; checkpoints of older versions may lack it.
    """

    folder: RunFolder
    config: RunConfig
    model: Model
    vocabularies: dict[str, Vocabulary]
    step: int
    device: torch.device
    training_images: Mapping[str, int]

    @classmethod
    def load(cls, root: Path, device: torch.device, step: int | Literal["best"] | None = None) -> "TrainedRun":
        """Loads a run's checkpoint after ``step`` steps, its best or its newest one, outside any process group.

        Raises OvocrError if it does not exist or does not match the configuration.
        """
        folder = RunFolder.open(root)
        config = folder.config()
        checkpoint = folder.trained_checkpoint(step)
        num_classes = saved_classes(checkpoint, config)
        paths = {name: folder.vocabulary_path(name) for name in config.heads}
        vocabularies = {
            name: Vocabulary.load(path)
            for name, path in paths.items()
            if config.heads[name].kind == "ocr" or path.exists()
        }
        model = build_model(config, num_classes, Ranks(), device)
        load_checkpoint(checkpoint, model.tensors(), Ranks(), may_lack=model.sample_counts())
        for module in (model.backbone, *model.heads.values()):
            module.eval()
        state = read_state(checkpoint)
        return cls(folder, config, model, vocabularies, state["step"], device, state.get("samples", {}))

    def embed(self, head: str, pixels: Tensor, times: Tensor | None = None) -> Tensor:
        """Returns embeddings [B, D] of images or clips for a head's class centers; see ``Model.embed``."""
        return self.model.embed(head, pixels.to(self.device), None if times is None else times.to(self.device))


def saved_per_head(checkpoint: Path, name: str, config: RunConfig) -> dict[str, int]:
    """Returns an integer that a checkpoint's state contains for each head. Raises OvocrError if one is missing."""
    values = read_state(checkpoint).get(name)
    if not isinstance(values, dict) or not all(isinstance(values.get(head), int) for head in config.heads):
        raise OvocrError(f"{checkpoint}: the checkpoint's state lacks {name} of {', '.join(config.heads)}")
    return values


def saved_classes(checkpoint: Path, config: RunConfig) -> dict[str, int]:
    """Returns the number of classes of each head.

    Raises OvocrError if it or the sizes of the backbone are not those of the checkpoint's tensors, so that a damaged
    number makes no model that is larger than the checkpoint.
    """
    classes, sizes = saved_per_head(checkpoint, "num_classes", config), config.backbone
    hidden, patch = sizes.hidden_size, sizes.patch_size
    expected = {
        "backbone.embeddings.patch_embedding.weight": (hidden, 3, patch, patch),
        f"backbone.encoder.layers.{sizes.num_hidden_layers - 1}.mlp.fc1.weight": (sizes.intermediate_size, hidden),
        **{f"heads.{name}.weight": (classes[name], hidden) for name in config.heads},
    }
    shapes = saved_shapes(checkpoint)
    for name, shape in expected.items():
        if name not in shapes:
            raise OvocrError(f"{checkpoint}: the checkpoint has no {name}")
        if shapes[name] != shape:
            raise OvocrError(f"{checkpoint}: {name}: expected shape {list(shape)}, found {list(shapes[name])}")
    return classes


def _margin(head: HeadConfig) -> Margin:
    return Margin(**{field.name: getattr(head.margin, field.name) for field in fields(Margin)})


def _rows_of(head: PartialFC, local: Tensor) -> RowShard:
    return RowShard(local, head.first_class, head.num_classes)


def as_checkpoint_tensor(tensor: Tensor, ranks: Ranks) -> Tensor | RowShard:
    """Returns a tensor as a checkpoint stores it: a RowShard if FSDP2 split it over the ranks by rows, else the tensor.

    FSDP2 gives every rank as many rows as the first one; the last ranks get the remaining rows.
    """
    local = local_part(tensor)
    if local is tensor:
        return tensor
    total = tensor.shape[0]
    return RowShard(local.detach(), min(total, ranks.rank * -(-total // ranks.world)), total)

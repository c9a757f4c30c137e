"""The trained things of a run, put together from its configuration: one backbone, a Partial FC for each head."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.trainer.backbone.parallel import ParallelBackbone
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
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.gradients import local_part
from ovocr.vocab import Vocabulary

_ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Model:
    """The backbone, and the heads, whose class centers are spread over the ranks.

    parallel: the same backbone as all ranks run it together.
    """

    backbone: Backbone
    heads: dict[str, PartialFC]
    parallel: ParallelBackbone

    def tensors(self) -> Tensors:
        """Everything trained, by the names it has in a checkpoint."""
        tensors = self.backbone_tensors()
        for name, head in self.heads.items():
            tensors |= self.head_tensors(name)
            if head.embedding_norm is not None:
                state = head.embedding_norm.state_dict()
                tensors |= {f"heads.{name}.embedding_norm.{key}": value for key, value in state.items()}
        return tensors

    def backbone_tensors(self) -> Tensors:
        """The backbone's part of a checkpoint."""
        ranks = self._ranks()
        return {f"backbone.{name}": stored(value, ranks) for name, value in self.backbone.state_dict().items()}

    def head_tensors(self, name: str) -> Tensors:
        """The class centers of a head, as a checkpoint has them."""
        head = self.heads[name]
        return {f"heads.{name}.weight": _rows_of(head, head.weight.detach())}

    def _ranks(self) -> Ranks:
        return next(iter(self.heads.values())).ranks


@dataclass(frozen=True)
class Optimizers:
    """AdamW for the backbone, a row-sparse optimizer for each head."""

    backbone: torch.optim.AdamW
    heads: dict[str, RowOptimizer]

    def set_learning_rate(self, rate: float, head_scales: dict[str, float]) -> None:
        """Set the learning rate of the step; each head's is scaled by its own factor."""
        for group in self.backbone.param_groups:
            group["lr"] = rate
        for name, optimizer in self.heads.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * head_scales[name]

    def step(self) -> None:
        """Apply all gradients, then drop them."""
        for optimizer in (self.backbone, *self.heads.values()):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def tensors(self, model: Model) -> Tensors:
        """The state of all optimizers, by the names it has in a checkpoint; zeros where none has been made yet."""
        tensors: Tensors = {}
        ranks = next(iter(model.heads.values())).ranks
        for name, parameter in model.backbone.named_parameters():
            state = self.backbone.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            for key in _ADAM_STATE:
                tensors[f"optimizer.backbone.{name}.{key}"] = stored(state[key], ranks)
        for name, optimizer in self.heads.items():
            head = model.heads[name]
            for key, value in optimizer.init_state(head.weight).items():
                tensors[f"optimizer.heads.{name}.{key}"] = _rows_of(head, value)
        return tensors


def build_model(config: RunConfig, num_classes: dict[str, int], ranks: Ranks, device: torch.device) -> Model:
    """The model of a configuration as it is drawn, the same for any number of ranks; num_classes: of each head."""
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
            implementation=head.implementation,
            process_group=ranks.group,
            seed=config.run.seed + index,
            passes_per_step=config.run.passes_per_step,
            embedding_norm=head.embedding_norm,
        ).to(device)
    return Model(backbone, heads, ParallelBackbone(backbone, config.run.backbone_parallel, ranks))


def build_optimizers(config: RunConfig, model: Model) -> Optimizers:
    """Fresh optimizers. Norms, biases and the pooling probe, all no matrices of a product, are not decayed."""
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
    """A finished or running run as one of its checkpoints has it, all class centers in one process.

    vocabularies: of the heads whose class ids stand for words.
    """

    folder: RunFolder
    config: RunConfig
    model: Model
    vocabularies: dict[str, Vocabulary]
    step: int
    device: torch.device

    @classmethod
    def load(cls, root: Path, device: torch.device, step: int | None = None) -> "TrainedRun":
        """Read a run's checkpoint after ``step`` steps, or its newest one, outside of any process group.

        Raises OvocrError where there is none or it does not fit.
        """
        folder = RunFolder.open(root)
        config = folder.config()
        checkpoint = folder.trained_checkpoint(step)
        num_classes = saved_per_head(checkpoint, "num_classes", config)
        paths = {name: folder.vocabulary_path(name) for name in config.heads}
        vocabularies = {
            name: Vocabulary.load(path)
            for name, path in paths.items()
            if config.heads[name].kind == "ocr" or path.exists()
        }
        model = build_model(config, num_classes, Ranks(), device)
        load_checkpoint(checkpoint, model.tensors(), Ranks())
        for module in (model.backbone, *model.heads.values()):
            module.eval()
        return cls(folder, config, model, vocabularies, read_state(checkpoint)["step"], device)

    @torch.no_grad()
    def embed(self, head: str, pixels: Tensor, positions: Tensor | None = None) -> Tensor:
        """What a head's class centers see of pictures or clips, uint8 as ``Backbone`` takes them: [B, D]."""
        _, pooled = self.model.backbone(normalise(pixels.to(self.device), torch.float32), positions)
        return self.model.heads[head].embed(pooled)


def saved_per_head(checkpoint: Path, name: str, config: RunConfig) -> dict[str, int]:
    """A number that a checkpoint's state holds for each head. Raises OvocrError where one is missing."""
    values = read_state(checkpoint).get(name)
    if not isinstance(values, dict) or not all(isinstance(values.get(head), int) for head in config.heads):
        raise OvocrError(f"{checkpoint}: the checkpoint's state lacks {name} of {', '.join(config.heads)}")
    return values


def export_backbone(run: Path, out: Path) -> int:
    """Write the backbone of a run's newest checkpoint in the released layout; the number of steps it was trained."""
    trained = TrainedRun.load(run, torch.device("cpu"))
    trained.model.backbone.save_pretrained(out)
    return trained.step


def _margin(head: HeadConfig) -> Margin:
    return Margin(**{field.name: getattr(head.margin, field.name) for field in fields(Margin)})


def _rows_of(head: PartialFC, local: Tensor) -> RowShard:
    return RowShard(local, head.first_class, head.num_classes)


def stored(tensor: Tensor, ranks: Ranks) -> Tensor | RowShard:
    """A tensor as a checkpoint takes it: one that FSDP2 spread over the ranks by rows is this rank's part of the whole.

    FSDP2 gives every rank as many rows as the first, and what is left to the last ones.
    """
    local = local_part(tensor)
    if local is tensor:
        return tensor
    total = tensor.shape[0]
    return RowShard(local.detach(), min(total, ranks.rank * -(-total // ranks.world)), total)

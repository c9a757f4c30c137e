"""The configuration of a training run: one class per section, with defaults, bounds and documentation."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ovocr.dataset.access.block_cache import DEFAULT_GB
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.config.heads import AnyHeadConfig, HeadConfig, VideoHeadConfig
from ovocr.trainer.config.settings import SettingPath, Settings
from ovocr.trainer.config.tracking import TrackingConfig

# Half of an attention head's channels splits 4:6:6 into frequencies of t, h and w, so the half is a multiple of 16.
HEAD_DIM_MULTIPLE = 32
# The resolved configuration in the folder of a run.
RUN_CONFIG = "config.toml"
# ViT-Base, ViT-Large and ViT-Huge.
PRESETS: dict[str, dict[str, int]] = {
    name: {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": 448,
        "patch_size": 14,
    }
    for name, hidden, layers, heads in (("base", 768, 12, 12), ("large", 1024, 24, 16), ("huge", 1280, 32, 20))
}


class LoopConfig(Settings):
    """[run]: length, output and execution of the run."""

    output: SettingPath = Field(description="Folder of the run: configuration, metrics and checkpoints")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of every random draw")
    steps: int = Field(ge=1, le=10**9, description="Number of optimizer steps")
    log_every: int = Field(default=10, ge=1, description="Steps between two log lines")
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between two checkpoints")
    keep_checkpoints: int = Field(default=3, ge=1, description="Number of newest checkpoints to keep")
    precision: Literal["auto", "bf16", "float32"] = Field(
        default="auto", description="Precision of the backbone's matrix products; auto: bf16 on CUDA, float32 on CPU"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device to train on; auto: CUDA if available"
    )
    passes_per_step: int = Field(
        default=1,
        ge=1,
        description="Passes per step, whose gradients are summed; each processes an equal part of a batch",
    )
    backbone_parallel: Literal["ddp", "fsdp2"] = Field(
        default="ddp", description="ddp: each rank stores the whole backbone; fsdp2: its parameters are sharded"
    )
    compile: bool = Field(default=False, description="Compile the backbone's layers with torch.compile")
    freeze_backbone: bool = Field(default=False, description="Train only the class centers, not the backbone")
    activation_checkpointing: bool = Field(
        default=False, description="Recompute each layer in the backward pass: less memory, a third more time"
    )
    collective_timeout_s: float = Field(
        default=600.0, gt=0, description="Seconds after which a rank that does not answer ends the run"
    )


class BackboneConfig(Settings):
    """[backbone]: the vision transformer. Keys are named as in config.json of the released checkpoints."""

    preset: Literal["base", "large", "huge"] | None = Field(
        default=None, description="base, large or huge: sets the six sizes below; a size that is given takes precedence"
    )
    hidden_size: int = Field(ge=1, description="Channels of a token; a preset sets it")
    intermediate_size: int = Field(ge=1, description="Channels inside an MLP; a preset sets it")
    num_hidden_layers: int = Field(ge=1, description="Number of layers; a preset sets it")
    num_attention_heads: int = Field(ge=1, description="Heads of each attention layer; a preset sets it")
    image_size: int = Field(ge=1, description="Side of the input, in pixels; a preset sets it")
    patch_size: int = Field(ge=1, description="Side of a patch, in pixels; a preset sets it")
    layer_norm_eps: float = Field(default=1e-6, gt=0, description="Added to the variance in layer norms")
    rope_theta: float = Field(default=10000.0, gt=1, description="Base of the rotary frequencies")
    rope_temporal_size: int = Field(default=64, ge=1, description="Length of the time axis, in virtual frames")
    init_from: SettingPath | None = Field(
        default=None,
        description="Initial weights: a folder with config.json and model.safetensors, or the folder of a run",
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, table: Any) -> Any:
        """Replaces a valid preset by the sizes it sets."""
        if not isinstance(table, dict) or not isinstance(table.get("preset"), str) or table["preset"] not in PRESETS:
            return table
        return {**PRESETS[table["preset"]], **{key: value for key, value in table.items() if key != "preset"}}

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields an error for each size that is not divisible by another one as required."""
        if self.hidden_size % self.num_attention_heads:
            heads = self.num_attention_heads
            yield "hidden_size", f"{self.hidden_size} is not divisible by num_attention_heads, {heads}"
        elif self.head_dim % HEAD_DIM_MULTIPLE:
            yield (
                "num_attention_heads",
                f"{self.num_attention_heads} heads of {self.head_dim} channels: hidden_size / num_attention_heads "
                f"must be a multiple of {HEAD_DIM_MULTIPLE}",
            )
        if self.image_size % self.patch_size:
            yield "image_size", f"{self.image_size} is not divisible by patch_size, {self.patch_size}"

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads


_Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Settings):
    """[optimizer]: AdamW and its schedule."""

    lr: float = Field(gt=0, le=1e30, description="Peak learning rate")
    betas: tuple[_Decay, _Decay] = Field(
        default=(0.9, 0.999), strict=False, description="Decay of the first and second moments per step"
    )
    eps: float = Field(default=1e-8, gt=0, description="Added to the root of the second moment")
    weight_decay: float = Field(default=0.05, ge=0, description="Decoupled weight decay, times the learning rate")
    schedule: Literal["polynomial", "wsd"] = Field(
        default="polynomial",
        description="Learning rate after the warm-up; polynomial: decays to zero at run.steps; wsd: constant, then a "
        "cooldown to zero at run.steps",
    )
    warmup_steps: int = Field(ge=0, description="Steps of the linear warm-up")
    decay_power: float = Field(default=2.0, ge=0, description='Power of the decay of schedule = "polynomial"')
    cooldown_steps: int | None = Field(
        default=None, ge=1, description='Steps of the cooldown at the end of the run; schedule = "wsd" needs it'
    )
    schedule_start: int | None = Field(
        default=None, ge=1, description="Step at which the schedule begins; only `ovocr train --extend` sets it"
    )
    clip_norm: float = Field(
        default=5.0, gt=0, description="Largest gradient norm of the backbone and, separately, of each head"
    )

    def unused(self) -> dict[str, str]:
        """Returns the settings of the other schedule."""
        if self.schedule == "wsd":
            return {"decay_power": 'needs schedule = "polynomial", not "wsd"'}
        return dict.fromkeys(("cooldown_steps", "schedule_start"), 'needs schedule = "wsd", not "polynomial"')

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields an error if the schedule has a cooldown, but not its length."""
        if self.schedule == "wsd" and self.cooldown_steps is None:
            yield "cooldown_steps", 'missing: schedule = "wsd" needs the number of steps of its cooldown'


class LoaderConfig(Settings):
    """[loader]: reading and decoding. These settings do not change the samples of a step, except kind = "dali"."""

    kind: Literal["torch", "dali"] = Field(
        default="torch", description="dali can decode on a GPU, but draws its own order and does not crop images"
    )
    workers: int = Field(
        default=0, ge=0, description="Worker processes per rank and head; 0: load in the training process"
    )
    prefetch: int = Field(default=2, ge=1, description="Batches that each worker process prepares in advance")
    read_ahead: int | None = Field(
        default=None,
        ge=0,
        description="Passes whose blocks are fetched from an object store, or read from a disk, in advance; left out: "
        'as many as a window has. Only for order = "blocks"',
    )
    cache_folder: SettingPath | None = Field(
        default=None,
        description="Folder of the blocks fetched from object stores, on a local disk; left out: in the user's cache "
        "folder",
    )
    cache_gb: float = Field(
        default=DEFAULT_GB,
        gt=0,
        description="Largest size of these blocks in 10^9 bytes, for all processes of a machine together; the least "
        "recently used ones are removed",
    )
    max_skipped: float = Field(
        default=0.01, ge=0, le=1, description="Share of damaged samples above which the run ends"
    )


class RunConfig(Settings):
    """Everything that defines a training run."""

    run: LoopConfig
    backbone: BackboneConfig
    optimizer: OptimizerConfig
    loader: LoaderConfig = Field(default_factory=LoaderConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
    heads: dict[str, AnyHeadConfig]

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields an error for each setting that contradicts a setting of another section."""
        if not self.heads:
            yield "heads", "at least one section [heads.NAME] is needed"
        for name, head in self.heads.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                yield f"heads.{name}", "a name consists of lower-case letters, digits and _, and starts with a letter"
            problems = [
                *self._head_conflicts(head),
                *(self._dali_conflicts(head) if self.loader.kind == "dali" else ()),
            ]
            yield from ((f"heads.{name}.{key}", problem) for key, problem in problems)
        yield from ((f"optimizer.{key}", problem) for key, problem in self._schedule_conflicts())

    @property
    def cooldown_start(self) -> int | None:
        """The step at which the cooldown begins; None if the schedule has none."""
        cooldown_steps = self.optimizer.cooldown_steps
        return None if cooldown_steps is None else self.run.steps - cooldown_steps

    def _schedule_conflicts(self) -> Iterator[tuple[str, str]]:
        settings, start = self.optimizer, self.optimizer.schedule_start or 0
        end = f"run.steps, {self.run.steps}"
        if start >= self.run.steps:
            yield "schedule_start", f"{start} is not less than {end}"
        elif start:
            end += f", minus schedule_start, {start}"
        if settings.warmup_steps > self.run.steps - start:
            yield "warmup_steps", f"{settings.warmup_steps} is more than {end}"
        elif settings.warmup_steps + (settings.cooldown_steps or 0) > self.run.steps - start:
            warmup = f"warmup_steps, {settings.warmup_steps}"
            yield "cooldown_steps", f"{settings.cooldown_steps} plus {warmup}, is more than {end}"

    def _head_conflicts(self, head: HeadConfig) -> Iterator[tuple[str, str]]:
        passes, patch, axis = self.run.passes_per_step, self.backbone.patch_size, self.backbone.rope_temporal_size
        if head.global_batch % passes:
            yield "global_batch", f"{head.global_batch} is not divisible by run.passes_per_step, {passes}"
        if head.embedding_norm == "batch" and head.global_batch // passes < 2:
            yield "embedding_norm", "mean and variance need at least two samples in each pass"
        if head.image_size is not None and head.image_size % patch:
            yield "image_size", f"{head.image_size} is not divisible by backbone.patch_size, {patch}"
        if isinstance(head, VideoHeadConfig) and head.sampled_frames > axis:
            yield "sampled_frames", f"{head.sampled_frames} is more than backbone.rope_temporal_size, {axis}"

    def _dali_conflicts(self, head: HeadConfig) -> Iterator[tuple[str, str]]:
        if isinstance(head, VideoHeadConfig):
            yield "kind", 'loader.kind = "dali" cannot read videos'
        for key in ("crop_scale", "crop_text_height"):
            if getattr(head, key, None) is not None:
                yield key, 'loader.kind = "dali" cannot crop images'
        if getattr(head, "min_text_height", None) is not None:
            yield "min_text_height", 'loader.kind = "dali" does not know the places of tags'
        if head.mixing_weights is not None:
            yield "mixing_weights", 'loader.kind = "dali" cannot mix data sets'
        if any(isinstance(location, str) for location in head.data):
            yield "data", 'loader.kind = "dali" cannot read from an object store; use loader.kind = "torch"'
        if getattr(head, "order", "random") != "random":
            yield "order", 'loader.kind = "dali" draws its own order'

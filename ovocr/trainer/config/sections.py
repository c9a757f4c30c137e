"""What a training run is configured by: a class a section, a line of documentation and the bounds at each setting."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ovocr.trainer.config.settings import Settings, described

# Half of a head's dimension splits 4:6:6 into frequencies of t, h and w: sixteenths, so the half is a multiple of 16.
HEAD_DIM_MULTIPLE = 32
# In the folder of a run: the configuration as it was resolved.
RUN_CONFIG = "config.toml"


@dataclass(frozen=True, kw_only=True)
class LoopConfig(Settings):
    """[run]: how long, where to, on what."""

    output: Path = field(metadata=described("folder of the run: configuration, metrics, checkpoints"))
    seed: int = field(default=0, metadata=described("decides every random draw", minimum=0, below=2**63))
    steps: int = field(metadata=described("length of the run", unit="optimizer steps", minimum=1, maximum=10**9))
    log_every: int = field(default=10, metadata=described("between two log lines", unit="steps", minimum=1))
    checkpoint_every: int = field(default=500, metadata=described("between two checkpoints", unit="steps", minimum=1))
    keep_checkpoints: int = field(
        default=3, metadata=described("newest ones that are kept", unit="checkpoints", minimum=1)
    )
    precision: Literal["auto", "bf16", "float32"] = field(
        default="auto", metadata=described("of the backbone's products; auto: bf16 on CUDA, float32 on CPU")
    )
    device: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata=described("where to compute; auto: CUDA where there is one")
    )
    passes_per_step: int = field(
        default=1,
        metadata=described("backward passes that a step adds up; each global_batch is cut into so many", minimum=1),
    )
    backbone_parallel: Literal["ddp", "fsdp2"] = field(
        default="ddp",
        metadata=described("the backbone on several ranks: whole on each, or its parameters spread over them"),
    )
    compile: bool = field(
        default=False, metadata=described("have torch.compile make kernels for the backbone's layers")
    )
    freeze_backbone: bool = field(
        default=False, metadata=described("the backbone stays as it begins: only class centers are trained")
    )
    activation_checkpointing: bool = field(
        default=False, metadata=described("recompute each layer in the backward pass: less memory, a third more time")
    )
    collective_timeout_s: float = field(
        default=600.0,
        metadata=described("after which a rank that does not answer ends the run", unit="seconds", above=0),
    )
    tensorboard: bool = field(default=True, metadata=described("write TensorBoard event files into the run's folder"))


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Settings):
    """[backbone]: the vision transformer; names as in the released checkpoints' config.json."""

    hidden_size: int = field(metadata=described("width of a token; a preset sets it", unit="channels", minimum=1))
    intermediate_size: int = field(
        metadata=described("width inside an MLP; a preset sets it", unit="channels", minimum=1)
    )
    num_hidden_layers: int = field(metadata=described("depth; a preset sets it", unit="layers", minimum=1))
    num_attention_heads: int = field(metadata=described("of each attention; a preset sets it", unit="heads", minimum=1))
    image_size: int = field(metadata=described("side of the input; a preset sets it", unit="pixels", minimum=1))
    patch_size: int = field(metadata=described("side of a patch; a preset sets it", unit="pixels", minimum=1))
    layer_norm_eps: float = field(default=1e-6, metadata=described("added to a norm's variance", above=0))
    rope_theta: float = field(default=10000.0, metadata=described("base of the rotary frequencies", above=1))
    rope_temporal_size: int = field(
        default=64, metadata=described("length of the time axis", unit="virtual frames", minimum=1)
    )
    init_from: Path | None = field(
        default=None,
        metadata=described("weights to start from: a folder with config.json and model.safetensors, or one of a run"),
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Sizes that do not divide as they must."""
        if self.hidden_size % self.num_attention_heads:
            yield (
                "hidden_size",
                f"{self.hidden_size} is not divisible by num_attention_heads, {self.num_attention_heads}",
            )
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


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Settings):
    """[optimizer]: AdamW and its schedule."""

    lr: float = field(metadata=described("peak learning rate", above=0, maximum=1e30))
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), metadata=described("decay of the two moments per step", minimum=0, below=1)
    )
    eps: float = field(default=1e-8, metadata=described("added to the root of the second moment", above=0))
    weight_decay: float = field(default=0.05, metadata=described("decoupled, times the learning rate", minimum=0))
    warmup_steps: int = field(metadata=described("linear rise of the learning rate", unit="steps", minimum=0))
    decay_power: float = field(default=2.0, metadata=described("of the polynomial decay after the rise", minimum=0))
    clip_norm: float = field(
        default=5.0, metadata=described("largest gradient norm, of the backbone and of each head apart", above=0)
    )


@dataclass(frozen=True, kw_only=True)
class LoaderConfig(Settings):
    """[loader]: reading and decoding; nothing here changes what a step sees, unless DALI reads."""

    kind: Literal["torch", "dali"] = field(
        default="torch",
        metadata=described("who reads; dali can decode on a GPU, but its order is its own and pictures stay whole"),
    )
    workers: int = field(
        default=0, metadata=described("per rank and head; 0: in the training process", unit="processes", minimum=0)
    )
    prefetch: int = field(default=2, metadata=described("made ahead by each worker process", unit="batches", minimum=1))
    max_skipped: float = field(
        default=0.01,
        metadata=described("share of the samples that may be damaged before the run ends", minimum=0, maximum=1),
    )


@dataclass(frozen=True, kw_only=True)
class MarginConfig(Settings):
    """[heads.NAME.margin]: positive logit = scale * (cos(m1 * theta + m2) - m3). ArcFace by default."""

    scale: float = field(default=64.0, metadata=described("inverse temperature of the softmax", above=0, maximum=100))
    m1: float = field(default=1.0, metadata=described("factor on the angle", minimum=1))
    m2: float = field(default=0.5, metadata=described("added to the angle", unit="radians", minimum=0, maximum=3.14))
    m3: float = field(default=0.0, metadata=described("taken from the cosine", minimum=0, maximum=2))
    filter_threshold: float | None = field(
        default=None, metadata=described("negatives of a greater cosine count as cosine 0", above=0, below=1)
    )
    gradient: Literal["exact", "straight_through"] = field(
        default="exact", metadata=described("of the margin; straight_through: d logit / d cosine = scale")
    )


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Settings):
    """[heads.NAME]: one Partial FC, its data and its share of the loss."""

    kind: Literal["image", "ocr", "video"] = field(
        default="ocr", metadata=described("what the data are: pictures with class ids or with words, or videos")
    )
    data: tuple[Path, ...] = field(
        metadata=described("labelled data sets: folders made by build-labels or pack-labels; video: lists of videos")
    )
    mixing_weights: tuple[float, ...] | None = field(
        default=None, metadata=described("how often each data set has its turn; left out: all are one list", above=0)
    )
    global_batch: int = field(
        metadata=described("over all ranks and passes", unit="samples per step", minimum=1, maximum=2**24)
    )
    image_size: int | None = field(
        default=None, metadata=described("side of the input; left out: the backbone's", unit="pixels", minimum=1)
    )
    crop_scale: tuple[float, float] | None = field(
        default=None,
        metadata=described(
            "smallest and largest share of its area that is shown of a picture; left out: all of it", above=0, maximum=1
        ),
    )
    crop_ratio: tuple[float, float] | None = field(
        default=None,
        metadata=described("smallest and largest width / height of such a part; left out: 3/4 to 4/3", above=0),
    )
    crop_share: float | None = field(
        default=None,
        metadata=described("of the samples that are cropped; left out: all of them", above=0, maximum=1),
    )
    crop_min_visible: float | None = field(
        default=None,
        metadata=described(
            "share of a word's box that must be in the part for its tag to be kept; left out: 0.8", above=0, maximum=1
        ),
    )
    frames: int | None = field(
        default=None, metadata=described("of a clip, one drawn from each of so many equal bins; left out: 8", minimum=1)
    )
    sampled_frames: int | None = field(
        default=None,
        metadata=described("spread evenly over a video, from which a clip is drawn; left out: 64", minimum=1),
    )
    labels_stored: int | None = field(
        default=None,
        metadata=described("taken of those in a record; left out: ocr 100, else 10", unit="tags", minimum=1),
    )
    label_select: int = field(default=0, metadata=described("first tag of a record that is taken", minimum=0))
    labels_per_sample: int = field(
        default=8, metadata=described("drawn per image and pass, each its own classifier", unit="tags", minimum=1)
    )
    sample_rate: float = field(
        default=0.1, metadata=described("share of the class centers drawn as negatives", above=0, maximum=1)
    )
    sampling: Literal["independent", "shared"] = field(
        default="independent", metadata=described("negatives drawn for each tag slot, or once for all")
    )
    mask_own_tags: bool = field(default=True, metadata=described("an image's own tags are no negatives of it"))
    embedding_norm: Literal["none", "batch"] = field(
        default="none",
        metadata=described("of embeddings before the class centers; batch: by channel over the global batch of a pass"),
    )
    loss_weight: float = field(
        default=1.0, metadata=described("of this head in the total loss", above=0, maximum=1_000_000)
    )
    optimizer: Literal["adamw", "sgd"] = field(
        default="adamw", metadata=described("of the class centers, row by row; sgd has momentum")
    )
    momentum: float | None = field(default=None, metadata=described("of sgd; left out: 0.9", minimum=0, below=1))
    lr_scale: float = field(
        default=1.0, metadata=described("times the learning rate, for this head", above=0, maximum=1_000_000)
    )
    num_classes: int | None = field(
        default=None,
        metadata=described(
            "class centers; left out: as many as the vocabulary has words, or as the data set says",
            minimum=1,
            maximum=2**24,
        ),
    )
    init_from: Path | None = field(
        default=None,
        metadata=described("folder of a run whose head of this name gives the class centers to start from"),
    )
    init_map: Path | None = field(
        default=None,
        metadata=described("file of `ovocr vocab map`: which class of init_from each one was; left out: the same"),
    )
    implementation: Literal["auto", "torch", "triton"] = field(
        default="auto", metadata=described("of Partial FC; auto: the fastest that the device has")
    )
    margin: MarginConfig = field(default_factory=MarginConfig, metadata=described("margin of the positives"))

    @property
    def stored(self) -> int:
        """Tags taken of a record."""
        return self.labels_stored or (100 if self.kind == "ocr" else 10)

    @property
    def clip_frames(self) -> int:
        """Frames of a clip."""
        return self.frames or 8

    @property
    def video_frames(self) -> int:
        """Frames of a video that clips are drawn from: the length of its time axis."""
        return self.sampled_frames or 64

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """More tags drawn than there are; numbers that do not fit each other; settings of another kind of head."""
        if self.labels_per_sample > self.stored:
            yield "labels_per_sample", f"{self.labels_per_sample} is more than labels_stored, {self.stored}"
        if self.mixing_weights is not None and len(self.mixing_weights) != len(self.data):
            yield "mixing_weights", f"{len(self.mixing_weights)} for {len(self.data)} data sets"
        if self.init_map is not None and self.init_from is None:
            yield "init_map", "only with init_from, the run whose class centers it carries over"
        if self.momentum is not None and self.optimizer != "sgd":
            yield "momentum", f'only optimizer "sgd" has it; this is "{self.optimizer}"'
        yield from self._crop_conflicts()
        if self.kind == "video":
            if self.video_frames % self.clip_frames:
                yield "sampled_frames", f"{self.video_frames} is not divisible by frames, {self.clip_frames}"
            if self.num_classes is None:
                yield "num_classes", "missing: a list of videos does not say how many classes there are"
        else:
            for name in ("frames", "sampled_frames"):
                if getattr(self, name) is not None:
                    yield name, f'only heads of kind "video" have it; this one is of kind "{self.kind}"'

    def _crop_conflicts(self) -> Iterator[tuple[str, str]]:
        for name in ("crop_scale", "crop_ratio"):
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                yield name, f"{list(bounds)}: the smallest comes first"
        given = [name for name in ("crop_ratio", "crop_share", "crop_min_visible") if getattr(self, name) is not None]
        if self.crop_scale is None:
            yield from ((name, "only with crop_scale, without which pictures stay whole") for name in given)
        if self.kind == "video" and self.crop_scale is not None:
            yield "crop_scale", 'heads of kind "video" show their frames whole'
        if self.kind == "image" and self.crop_min_visible is not None:
            yield "crop_min_visible", 'only heads of kind "ocr" have words with a place in the picture'


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Everything that defines a training run."""

    run: LoopConfig = field(metadata=described("how long, where to, on what"))
    backbone: BackboneConfig = field(metadata=described("the vision transformer"))
    optimizer: OptimizerConfig = field(metadata=described("AdamW and its schedule"))
    loader: LoaderConfig = field(default_factory=LoaderConfig, metadata=described("reading and decoding"))
    heads: dict[str, HeadConfig] = field(metadata=described("the heads by name"))

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Settings of different sections that do not go together."""
        if not self.heads:
            yield "heads", "none; at least one section [heads.NAME] is needed"
        for name in self.heads:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                yield f"heads.{name}", "a head's name is a lower-case letter, then lower-case letters, digits and _"
            yield from ((f"heads.{name}.{key}", problem) for key, problem in self._head_conflicts(self.heads[name]))
        if self.loader.kind == "dali":
            yield from self._dali_conflicts()
        if self.optimizer.warmup_steps > self.run.steps:
            yield "optimizer.warmup_steps", f"{self.optimizer.warmup_steps} is more than run.steps, {self.run.steps}"

    def _dali_conflicts(self) -> Iterator[tuple[str, str]]:
        for name, head in self.heads.items():
            if head.kind == "video":
                yield f"heads.{name}.kind", '"video" is not read by loader.kind = "dali"'
            for key in ("crop_scale", "mixing_weights"):
                if getattr(head, key) is not None:
                    yield f"heads.{name}.{key}", 'not with loader.kind = "dali", which reads records whole and in turn'

    def _head_conflicts(self, head: HeadConfig) -> Iterator[tuple[str, str]]:
        passes, patch, axis = self.run.passes_per_step, self.backbone.patch_size, self.backbone.rope_temporal_size
        if head.global_batch % passes:
            yield "global_batch", f"{head.global_batch} is not divisible by run.passes_per_step, {passes}"
        if head.embedding_norm == "batch" and head.global_batch // passes < 2:
            yield "embedding_norm", "a mean and a variance need at least two samples in each pass"
        if (head.image_size or self.backbone.image_size) % patch:
            yield "image_size", f"{head.image_size} is not divisible by backbone.patch_size, {patch}"
        if head.kind == "video" and head.video_frames > axis:
            yield "sampled_frames", f"{head.video_frames} is more than backbone.rope_temporal_size, {axis}"

"""The sections of a head: one class for each kind, and its margin."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from ovocr.base.plural import counted
from ovocr.dataset.access.opening import DataLocation
from ovocr.trainer.config.settings import PositiveFloat, SettingLocation, SettingPath, Settings, Share, wrong_order
from ovocr.views.text_crops import MAX_UPSCALE
from ovocr.views.view import MIN_VISIBLE

_Share = Annotated[float, Field(gt=0, le=1)]


def _to_labels_per_sample(value: Any) -> Any:
    """Returns a value that is allowed. A union of types would report an error for each of its members."""
    if value == "all" or (type(value) is int and value >= 1):
        return value
    raise PydanticCustomError("labels_per_sample", 'Input should be a whole number of at least 1, or "all"')


_LabelsPerSample = Annotated[int | Literal["all"], BeforeValidator(_to_labels_per_sample)]


class MarginConfig(Settings):
    """[heads.NAME.margin]: positive logit = scale * (cos(m1 * theta + m2) - m3). ArcFace by default."""

    scale: float = Field(default=64.0, gt=0, le=100, description="Inverse temperature of the softmax")
    m1: float = Field(default=1.0, ge=1, description="Factor on the angle")
    m2: float = Field(default=0.5, ge=0, le=3.14, description="Added to the angle, in radians")
    m3: float = Field(default=0.0, ge=0, le=2, description="Subtracted from the cosine")
    filter_threshold: float | None = Field(
        default=None, gt=0, lt=1, description="Negatives with a greater cosine count as cosine 0; left out: off"
    )
    gradient: Literal["exact", "straight_through"] = Field(
        default="exact", description="Gradient of the margin; straight_through: d logit / d cosine = scale"
    )


class HeadConfig(Settings):
    """[heads.NAME]: the settings that heads of every kind have."""

    kind: Literal["image", "ocr", "video"]
    data: tuple[SettingLocation, ...] = Field(
        strict=False,
        min_length=1,
        description="Data sets: folders made by build-labels or pack-labels, or their URLs in an object store; for "
        "video: lists of videos",
    )
    mixing_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None,
        strict=False,
        description="Relative frequency of each data set; left out: the data sets are one list",
    )
    global_batch: int = Field(ge=1, le=2**24, description="Samples per step, over all ranks and passes")
    image_size: int | None = Field(
        default=None, ge=1, description="Side of the input, in pixels; left out: the backbone's image_size"
    )
    labels_stored: int = Field(default=10, ge=1, description="Number of tags read from a record")
    label_select: int = Field(default=0, ge=0, description="Index of the first tag read from a record")
    labels_per_sample: _LabelsPerSample = Field(
        default=8, description='Tags drawn per image and pass; "all" uses every tag, not with objective "slots"'
    )
    objective: Literal["slots", "soft", "two_sided"] = Field(
        default="slots",
        description="Loss; slots: a softmax for each drawn tag; soft: one softmax with all positives as its target; "
        "two_sided: a loss of the positives and a loss of the negatives",
    )
    sample_rate: float = Field(default=0.1, gt=0, le=1, description="Share of the class centers drawn as negatives")
    sampling: Literal["independent", "shared"] = Field(
        default="independent",
        description='Draw negatives for each tag slot, or once for all slots; only objective "slots" has slots',
    )
    negative_weight: Literal["none", "importance"] = Field(
        default="none",
        description="Weight of drawn negatives; importance: 1 / probability of the draw, against sampling bias",
    )
    mask_own_tags: bool = Field(default=True, description="Never use an image's own tags as its negatives")
    embedding_norm: Literal["none", "batch"] = Field(
        default="none",
        description="Normalise embeddings before the class centers; batch: per channel over the global batch of a pass",
    )
    loss_weight: float = Field(default=1.0, gt=0, le=1_000_000, description="Weight of this head in the total loss")
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw", description="Row-wise optimizer of the class centers; sgd has momentum"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd")
    lr_scale: float = Field(
        default=1.0, gt=0, le=1_000_000, description="Factor on the learning rate of the class centers"
    )
    num_classes: int | None = Field(
        default=None, ge=1, le=2**24, description="Number of class centers; left out: taken from the data sets"
    )
    init_from: SettingPath | None = Field(
        default=None, description="Folder of a run whose head of the same name provides the initial class centers"
    )
    init_map: SettingPath | None = Field(
        default=None,
        description="Class map of `ovocr vocab map` from the classes of init_from; left out: the classes are the same",
    )
    implementation: Literal["auto", "torch", "triton"] = Field(
        default="auto", description="Implementation of Partial FC; auto: the fastest on the device"
    )
    margin: MarginConfig = Field(default_factory=MarginConfig, description="Margin of the positives")

    def unused(self) -> dict[str, str]:
        """Returns momentum if the optimizer is not sgd."""
        return {} if self.optimizer == "sgd" else {"momentum": f'needs optimizer = "sgd", not "{self.optimizer}"'}

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Yields an error for each setting that contradicts another, and for a class map without init_from."""
        if self.labels_per_sample == "all":
            if self.objective == "slots":
                yield "labels_per_sample", '"all" needs objective = "soft" or "two_sided", not "slots"'
        elif self.labels_per_sample > self.labels_stored:
            yield "labels_per_sample", f"{self.labels_per_sample} is more than labels_stored, {self.labels_stored}"
        if self.mixing_weights is not None and len(self.mixing_weights) != len(self.data):
            weights, sets = counted(len(self.mixing_weights), "weight"), counted(len(self.data), "data set")
            yield "mixing_weights", f"{weights} for {sets}"
        if self.init_map is not None and self.init_from is None:
            yield "init_map", "needs init_from, the run with the old class centers"


def slow_order(order: str, data: Sequence[DataLocation]) -> Iterator[tuple[str, str]]:
    """Yields an error if single records are drawn from an object store. order, data: settings of a head."""
    urls = [location for location in data if isinstance(location, str)]
    if urls and order == "random":
        yield (
            "order",
            f'"random" would fetch each record of {urls[0]} with a request of its own; use "blocks", which fetches '
            "consecutive records together, or copy the data set to a disk",
        )


class RecordHeadConfig(HeadConfig):
    """A head that reads records. Its images may be cropped."""

    order: Literal["random", "blocks"] = Field(
        default="random",
        description="Order of the samples in an epoch; blocks: for slow or remote storage, shuffled blocks of "
        "consecutive records, shuffled again within a window of blocks",
    )
    block_records: int = Field(
        default=256, ge=1, le=2**24, description='Consecutive records of a block, for order = "blocks"'
    )
    window_blocks: int = Field(
        default=512,
        ge=1,
        le=2**24,
        description='Blocks of a window, in which records are shuffled, for order = "blocks"',
    )
    crop_scale: tuple[_Share, _Share] | None = Field(
        default=None,
        strict=False,
        description="Smallest and largest share of an image's area to crop; left out: images are whole",
    )
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = Field(
        default=(3 / 4, 4 / 3), strict=False, description="Smallest and largest width / height of a crop"
    )
    crop_share: float = Field(default=1.0, gt=0, le=1, description="Share of the samples that are cropped")

    def unused(self) -> dict[str, str]:
        """Also returns settings of random crops if crop_scale is not set, and of blocks if the order has none."""
        needs = {} if self.crop_scale else dict.fromkeys(("crop_ratio", "crop_share"), "needs crop_scale")
        if self.order != "blocks":
            needs |= dict.fromkeys(("block_records", "window_blocks"), f'needs order = "blocks", not "{self.order}"')
        return {**super().unused(), **needs}

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Also yields an error for crop ranges whose larger value comes first, and for an order that is too slow."""
        yield from super().conflicts()
        yield from wrong_order(crop_scale=self.crop_scale, crop_ratio=self.crop_ratio)
        yield from slow_order(self.order, self.data)


class ImageHeadConfig(RecordHeadConfig):
    """A head for images with class ids."""

    kind: Literal["image"] = Field(default="image", description="images with class ids")


class OcrHeadConfig(RecordHeadConfig):
    """A head for images with words."""

    kind: Literal["ocr"] = Field(default="ocr", description="images with words")
    labels_stored: int = Field(default=100, ge=1, description="Number of tags read from a record")
    crop_min_visible: float = Field(
        default=MIN_VISIBLE, gt=0, le=1, description="Share of a word's box that a crop must contain to keep its tag"
    )
    crop_text_height: tuple[PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        strict=False,
        description="Crops chosen by their text: smallest and largest height of the drawn word's line, in pixels of "
        "the input; instead of crop_scale",
    )
    crop_text_height_start: tuple[PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        strict=False,
        description="The same at step 0, from where it changes linearly; left out: crop_text_height from the start",
    )
    crop_context: tuple[Share, Share] = Field(
        default=(1.0, 1.0),
        strict=False,
        description="Smallest and largest share of the surroundings of the drawn word that a crop shows; 0: the word "
        "alone, 1: all that the input has room for",
    )
    crop_context_start: tuple[Share, Share] | None = Field(
        default=None,
        strict=False,
        description="The same at step 0, from where it changes linearly; left out: crop_context from the start",
    )
    crop_text_height_steps: int | None = Field(
        default=None, ge=1, description="Steps until crop_text_height and crop_context are reached"
    )
    max_upscale: float = Field(
        default=MAX_UPSCALE,
        gt=0,
        description="Largest enlargement by crop_text_height, in pixels of the input per pixel of the image",
    )
    min_text_height: float | None = Field(
        default=None,
        gt=0,
        description="Smallest height of the line of a positive, in pixels of the input; smaller tags are neither "
        "positives nor negatives; left out: all tags are positives",
    )
    tag_weights: Literal["uniform", "idf"] = Field(
        default="uniform",
        description='Shares of an image\'s positives in the target of objective "soft"; idf: rare words have more',
    )
    tag_frequencies: SettingPath | None = Field(
        default=None, description='The file frequencies.tsv of `ovocr relabel --policy idf`, for tag_weights "idf"'
    )

    def unused(self) -> dict[str, str]:
        """Also returns the settings of crops that are not drawn, and of tag weights that are not used."""
        unused = super().unused()
        if self.objective != "soft":
            unused["tag_weights"] = f'needs objective = "soft", not "{self.objective}"'
        if self.tag_weights != "idf":
            unused["tag_frequencies"] = f'needs tag_weights = "idf", not "{self.tag_weights}"'
        if self.crop_text_height:
            unused.pop("crop_share", None)
        elif not self.crop_scale:
            unused |= dict.fromkeys(("crop_share", "crop_min_visible"), "needs crop_scale or crop_text_height")
        if not self.crop_text_height:
            own = ("crop_text_height_start", "crop_context", "crop_context_start", "max_upscale")
            unused |= dict.fromkeys(own, "needs crop_text_height")
        if not self.crop_text_height_start and not self.crop_context_start:
            unused["crop_text_height_steps"] = "needs crop_text_height_start or crop_context_start"
        return unused

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Also yields errors for ranges of text heights that contradict other settings, and for missing frequencies."""
        yield from super().conflicts()
        if self.tag_weights == "idf" and self.tag_frequencies is None:
            yield "tag_weights", '"idf" needs tag_frequencies, the file frequencies.tsv of `ovocr relabel --policy idf`'
        ranges = {name: getattr(self, name) for name in ("crop_text_height", "crop_text_height_start")}
        yield from wrong_order(**ranges, crop_context=self.crop_context, crop_context_start=self.crop_context_start)
        if self.crop_text_height and self.crop_scale:
            yield "crop_text_height", "cannot be combined with crop_scale; leave one of them out"
        for key in ("crop_text_height_start", "crop_context_start"):
            if getattr(self, key) and self.crop_text_height_steps is None:
                end = key.removesuffix("_start")
                yield key, f"needs crop_text_height_steps, the number of steps until {end}"
        for key, heights in ranges.items():
            if heights and heights[0] < (self.min_text_height or 0):
                yield key, f"[{heights[0]:g}, {heights[1]:g}] begins below min_text_height, {self.min_text_height:g}"


class VideoHeadConfig(HeadConfig):
    """A head for videos with class ids."""

    kind: Literal["video"] = Field(default="video", description="videos with class ids")
    num_classes: int = Field(ge=1, le=2**24, description="Number of class centers; a list of videos does not state it")
    frames: int = Field(
        default=8, ge=1, description="Frames per clip, one drawn from each of this many equal bins of sampled_frames"
    )
    sampled_frames: int = Field(
        default=64, ge=1, description="Virtual frames, spread evenly over a video, from which a clip is drawn"
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """Also yields an error if sampled_frames cannot be divided into equal bins."""
        yield from super().conflicts()
        if self.sampled_frames % self.frames:
            yield "sampled_frames", f"{self.sampled_frames} is not divisible by frames, {self.frames}"


HEAD_KINDS: dict[str, type[HeadConfig]] = {"image": ImageHeadConfig, "ocr": OcrHeadConfig, "video": VideoHeadConfig}


def _kind(head: Any) -> Any:
    """Returns the kind of a parsed table or of a head; None for anything else."""
    return head.get("kind", "ocr") if isinstance(head, dict) else getattr(head, "kind", None)


AnyHeadConfig = Annotated[
    Annotated[ImageHeadConfig, Tag("image")]
    | Annotated[OcrHeadConfig, Tag("ocr")]
    | Annotated[VideoHeadConfig, Tag("video")],
    Discriminator(_kind),
]

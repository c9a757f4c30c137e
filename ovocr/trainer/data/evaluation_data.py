"""Selects the heads that match evaluation data, and opens the data as samples."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.access.opening import DataLocation, open_data_set
from ovocr.dataset.access.record_blocks import BLOCK_RECORDS
from ovocr.dataset.access.store_records import Fetched
from ovocr.dataset.access.stored_records import Reading
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig, VideoHeadConfig
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.data.head_data import HeadData, crops_of, open_samples
from ovocr.trainer.data.samples import Sample, Samples, ShownTags
from ovocr.trainer.data.stored.store_reading import open_reading
from ovocr.trainer.data.stored.vocabularies import vocabulary_sha256
from ovocr.trainer.data.thumbnails import spread_evenly
from ovocr.views.text_crops import ALL_CONTEXT, Heights, Range

# Blocks of a store are not fetched if less than one of this many of their records is needed.
_FEW = 8
HELD_OUT_LABEL = "evaluation.data"
"""Name of the data of evaluations during training, in messages."""


@dataclass(frozen=True)
class HeadClasses:
    """The classes of a trained head.

    kind: image, ocr or video.
    number: number of class centers.
    vocabulary_sha256: hash of the vocabulary; empty if the head has no vocabulary.
    """

    kind: str
    number: int
    vocabulary_sha256: str

    @classmethod
    def of_training(cls, settings: HeadConfig, data: HeadData) -> "HeadClasses":
        """Returns the classes of a head that is trained on the data."""
        sha256 = "" if data.vocabulary is None else data.vocabulary.sha256
        return cls(settings.kind, data.num_classes, sha256)


@dataclass(frozen=True)
class EvaluationCrops:
    """The crops that an evaluation shows instead of images.

    count: crops of each image; 0 for whole images.
    text_height: heads of kind ocr show crops that are chosen by their text, with these text heights; None for crops by
        the settings of the head.
    context: the shares of the surroundings of the drawn words in crops with these text heights.
    """

    count: int = 0
    text_height: Heights | None = None
    context: Range = ALL_CONTEXT.end

    @property
    def samples_per_image(self) -> int:
        """Number of samples that an image is shown as."""
        return max(1, self.count)

    def settings_of(self, head: HeadConfig) -> HeadConfig:
        """Returns the settings of a head with these crops; max_upscale and crop_min_visible stay the head's."""
        if self.text_height is None or not isinstance(head, OcrHeadConfig):
            return head
        ranges = {"crop_text_height": self.text_height, "crop_context": self.context}
        starts = {"crop_text_height_start": None, "crop_context_start": None}
        return head.model_copy(update={**ranges, **starts, "crop_scale": None, "crop_share": 1.0})

    def check(self, name: str, head: HeadConfig, *, option: str, text_height_option: str) -> None:
        """Raises UsageError if images are to be cropped, but neither these settings nor the head's say how.

        option, text_height_option: names of count and text_height, for the message.
        """
        if not self.count or crops_of(self.settings_of(head), 0) is not None:
            return
        if isinstance(head, VideoHeadConfig):
            raise UsageError(f"{option}: head {name} is of kind video, and videos are not cropped; leave {option} out")
        if not isinstance(head, OcrHeadConfig):
            trained = f"head {name} is trained on whole images, without crop_scale"
            raise UsageError(f"{option}: {trained}; leave {option} out")
        trained = f"head {name} is trained on whole images, without crop_scale or crop_text_height"
        raise UsageError(f"{option}: {trained}; choose the text heights of the crops with {text_height_option}")


WHOLE_IMAGES = EvaluationCrops()


@dataclass(frozen=True)
class HeldOut:
    """A data set that a head is evaluated on during training.

    name: the data set's name in the run. images: int64, ascending, the images that are evaluated. samples: the images,
    or all their crops.
    """

    head: str
    name: str
    root: DataLocation
    samples: Samples
    images: NDArray[np.int64]
    crops: EvaluationCrops = WHOLE_IMAGES

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The samples that are evaluated, int64, ascending."""
        per_image = self.crops.samples_per_image
        return (self.images[:, None] * per_image + np.arange(per_image)).ravel()

    def image_hashes(self) -> NDArray[np.uint64]:
        """Returns the hash of each image that is evaluated, uint64; see ``Samples``."""
        return np.concatenate(list(self.samples.image_hashes()))[self.images]

    def image_keys(self) -> list[str]:
        """Returns the key of each image that is evaluated."""
        keys = self.samples.image_keys()
        return [keys[number * self.crops.samples_per_image] for number in self.images]


class CroppedSamples:
    """Samples repeated ``count`` times, each time with a different crop drawn by the head's settings."""

    def __init__(self, whole: Samples, count: int) -> None:
        self._whole, self._count = whole, count
        self.parts = [count * part for part in whole.parts]
        self.vocabulary_path = whole.vocabulary_path

    def __len__(self) -> int:
        return self._count * len(self._whole)

    def load(self, index: int, position: int | None = None) -> Sample:
        """Loads a crop; the sample's number serves as its position, so every call draws the same crops."""
        return self._whole.load(index // self._count, index)

    def shown_tags(self, index: int, position: int | None = None) -> ShownTags:
        """Returns the tags that the crop shows."""
        return self._whole.shown_tags(index // self._count, index)

    def prefetch(self, indices: Iterable[int]) -> None:
        """Starts to read the images of these crops."""
        self._whole.prefetch(dict.fromkeys(index // self._count for index in indices))

    def read_ahead(self, indices: NDArray[np.int64]) -> None:
        """Starts to fetch the images of these crops."""
        self._whole.read_ahead(np.unique(indices // self._count))

    def close(self) -> None:
        """Ends fetching ahead."""
        self._whole.close()

    @property
    def fetched(self) -> Fetched:
        """What this process has fetched."""
        return self._whole.fetched

    def name(self, index: int) -> str:
        """Returns the sample's name and the number of the crop."""
        return f"{self._whole.name(index // self._count)}, part {index % self._count + 1}"

    def image_keys(self) -> list[str]:
        """Returns the key of each crop's image."""
        return [key for key in self._whole.image_keys() for _ in range(self._count)]

    def image_hashes(self, rank: int = 0, world: int = 1) -> Iterator[NDArray[np.uint64]]:
        """Yields the hashes of whole images, each once."""
        return self._whole.image_hashes(rank, world)

    def class_counts(self, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Returns the counts of whole images."""
        return self._whole.class_counts(rank, world)


class UnmatchedDataError(UsageError):
    """Data to evaluate during training match no head, or cannot be read."""


def choose_heads(
    where: DataLocation, heads: dict[str, HeadClasses], data: Sequence[DataLocation], wanted: str | None
) -> list[str]:
    """Returns the names of the heads that match all data: ``wanted``, or every matching head if it is None.

    where: the run or the data that a message about all heads names.

    Raises UsageError for an unknown head, and OvocrError if no head matches (with the reasons) or data cannot be read.
    """
    if wanted is not None and wanted not in heads:
        raise UsageError(f"--head: {wanted!r} is not a head of this run; it has {', '.join(heads)}")
    candidates = list(heads) if wanted is None else [wanted]
    problems = {name: next(filter(None, (_problem(heads[name], root) for root in data)), "") for name in candidates}
    matching = [name for name, problem in problems.items() if not problem]
    if matching:
        return matching
    if len(problems) == 1:
        ((name, problem),) = problems.items()
        raise OvocrError(f"{problem} (head {name})")
    reasons = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    raise OvocrError(f"{where}: no head matches the data: {reasons}")


def open_evaluation_data(
    settings: HeadConfig,
    data: Sequence[DataLocation],
    *,
    num_classes: int,
    image_size: int,
    pixel_size: int | None = None,
    crops: EvaluationCrops = WHOLE_IMAGES,
    label: str = "--data",
    reading: Reading | None = None,
) -> Samples:
    """Opens the data of a head as samples, letterboxed to image_size pixels.

    pixel_size: side of the samples' pixels, if they are to show the same as at image_size in another size.
    crops: drawn as after the last step of training, unless they have text heights of their own, but independent of the
        run's seed. Tags of every text height count.
    label: name of the data in messages.
    reading: how data sets in object stores are read.

    Raises OvocrError if the data cannot be read.
    """
    try:
        samples = open_samples(
            crops.settings_of(settings),
            data,
            num_classes=num_classes,
            image_size=image_size,
            pixel_size=pixel_size,
            for_training=False,
            reading=reading,
        )
    except OvocrError as error:
        raise OvocrError(f"{label}: {error}") from error
    return CroppedSamples(samples, crops.count) if crops.count else samples


def open_held_out(config: RunConfig, heads: dict[str, HeadClasses], root: DataLocation, name: str) -> list[HeldOut]:
    """Opens a data set of [evaluation] for every head that matches it.

    Raises UnmatchedDataError naming evaluation.data if it matches no head or cannot be read, and UsageError naming
    evaluation.crops if a head's images cannot be cropped.
    """
    held_out = []
    wanted = config.evaluation
    crops = EvaluationCrops(wanted.crops, wanted.crop_text_height, wanted.crop_context)
    try:
        chosen = choose_heads(root, heads, [root], None)
    except OvocrError as error:
        raise UnmatchedDataError(f"{HELD_OUT_LABEL}: {error}") from error
    for head in chosen:
        settings = config.heads[head]
        crops.check(head, settings, option="evaluation.crops", text_height_option="evaluation.crop_text_height")
        samples = open_evaluation_data(
            settings,
            [root],
            num_classes=heads[head].number,
            image_size=settings.image_size or config.backbone.image_size,
            crops=crops,
            label=HELD_OUT_LABEL,
            reading=_held_out_reading(config, root),
        )
        every = len(samples) // crops.samples_per_image
        images = spread_evenly(every, config.evaluation.images or every)
        held_out.append(HeldOut(head, name, root, samples, np.array(images, np.int64), crops))
    return held_out


def _held_out_reading(config: RunConfig, root: DataLocation) -> Reading:
    """Fetches, or reads ahead, images alone if only a few of each block are evaluated."""
    wanted = config.evaluation.images
    is_list = not isinstance(root, str) and root.is_file()  # of videos
    if wanted is None or is_list:
        return open_reading(config.loader, [root])
    data_set = open_data_set(root)
    stored = sum(data_set.counts(shard).ok for shard in data_set.all_shards())
    return open_reading(config.loader, [root], block_records=1 if wanted * _FEW < stored else BLOCK_RECORDS)


def _problem(head: HeadClasses, root: DataLocation) -> str:
    """Returns the reason why a data set does not match a head; empty if it matches."""
    is_file = not isinstance(root, str) and root.is_file()
    if head.kind == "video":
        return "" if is_file else f"{root}: not a file; heads of kind video need lists of videos"
    if is_file:
        return f"{root}: a file; heads of kind {head.kind} need labelled data sets, which are folders"
    data_set = open_data_set(root)
    found, wanted = vocabulary_sha256(data_set), head.vocabulary_sha256
    if found != wanted:
        if not found:
            return f"{root}: its tags are class ids without words, but the head's are words"
        if not wanted:
            return f"{root}: its tags are words, but the head's are class ids without words"
        return f"{root}: its vocabulary ({found[:12]}…) is not the run's ({wanted[:12]}…)"
    classes = data_set.manifest().num_classes
    if not wanted and classes > head.number:
        return f"{root}: it has {classes:,} classes, but the head has {head.number:,}"
    return ""

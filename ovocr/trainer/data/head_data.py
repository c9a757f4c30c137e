"""The data of one head: its samples, their order over the run, and the vocabulary of its class ids."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.access.opening import DataLocation, open_data_set
from ovocr.dataset.access.record_blocks import BLOCK_RECORDS
from ovocr.dataset.access.stored_records import Reading
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig, RecordHeadConfig, VideoHeadConfig
from ovocr.trainer.config.sections import LoaderConfig
from ovocr.trainer.data.block_order import Blocks
from ovocr.trainer.data.dali_loader import dali_batches
from ovocr.trainer.data.loader import Batch, build_loader
from ovocr.trainer.data.mixing import SampleOrder, make_order
from ovocr.trainer.data.order import rank_positions
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.data.samples import Samples
from ovocr.trainer.data.stored.store_reading import HeadDemand, open_reading, passes_ahead
from ovocr.trainer.data.stored.vocabularies import vocabulary_path
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.views.random_crops import RandomCrops
from ovocr.views.text_crops import RangeSchedule, TextCrops
from ovocr.vocab import Vocabulary


@dataclass(frozen=True)
class HeadData:
    """The training data of a head.

    vocabulary: None if the class ids are not words.
    pass_batch: number of samples per pass, over all ranks.
    passes: number of passes per step.
    window: number of samples of the windows of blocks from which batches are drawn; 0 if single samples are shuffled.
    """

    name: str
    samples: Samples
    order: SampleOrder
    vocabulary: Vocabulary | None
    num_classes: int
    pass_batch: int
    passes: int
    window: int = 0

    @classmethod
    def open(
        cls,
        name: str,
        head: HeadConfig,
        *,
        image_size: int,
        passes: int,
        seed: int,
        loader: LoaderConfig | None = None,
    ) -> "HeadData":
        """Opens the data that a head's settings name.

        image_size: default if the head's settings have no image_size.
        passes: number of passes per step.
        loader: settings of the cache for data in object stores; None for the defaults.

        Raises OvocrError, or UsageError naming the setting, if data are missing or do not match.
        """
        blocks = _blocks_of(head, head.global_batch // passes)
        reading = open_reading(
            loader or LoaderConfig(),
            head.data,
            block_records=BLOCK_RECORDS if blocks is None else blocks.records,
            is_one_list=head.mixing_weights is None,
        )
        vocabulary = load_vocabulary(name, head)
        num_classes = count_classes(name, head, vocabulary)
        size = head.image_size or image_size
        try:
            samples = open_samples(
                head, head.data, num_classes=num_classes, image_size=size, seed=seed, reading=reading
            )
        except UsageError:
            raise
        except OvocrError as error:
            raise OvocrError(f"heads.{name}: {error}") from error
        _check_text_heights(name, head, samples)
        order = make_order(samples.parts, head.mixing_weights, seed, blocks)
        windows = 1 if head.mixing_weights is None else len(head.data)
        window = 0 if blocks is None else windows * blocks.window_records
        return cls(name, samples, order, vocabulary, num_classes, head.global_batch // passes, passes, window)

    def batches(
        self, ranks: Ranks, steps: range, loader: LoaderConfig, device: torch.device, seed: int = 0
    ) -> Generator[Batch, None, None]:
        """Yields this rank's batches of the steps, one per pass; close it to end the worker processes.

        device: the device that will use the batches.
        seed: seed of DALI's order.

        Raises OvocrError if DALI is requested but cannot be used.
        """
        passes = range(steps.start * self.passes, steps.stop * self.passes)
        if loader.kind == "dali":
            return self._dali_batches(ranks, passes, loader, device, seed)
        return iter(
            build_loader(
                self.samples,
                self.order,
                pass_batch=self.pass_batch,
                rank=ranks.rank,
                world=ranks.world,
                passes=passes,
                workers=loader.workers,
                prefetch=loader.prefetch,
                read_ahead=passes_ahead(loader, self.window, self.pass_batch),
                pin_memory=device.type == "cuda",
            )
        )

    def _dali_batches(
        self, ranks: Ranks, passes: range, loader: LoaderConfig, device: torch.device, seed: int
    ) -> Generator[Batch, None, None]:
        share = len(rank_positions(0, self.pass_batch, ranks.rank, ranks.world))
        if self.pass_batch < ranks.world or not isinstance(self.samples, RecordSamples):
            raise UsageError(f'heads.{self.name}: loader.kind = "dali" needs records, at least one per rank per pass')
        return dali_batches(
            self.samples,
            batch=share,
            rank=ranks.rank,
            world=ranks.world,
            passes=passes,
            seed=seed,
            threads=max(1, loader.workers),
            device=device,
        )

    def demand(self, loader: LoaderConfig) -> HeadDemand | None:
        """Returns what the head needs in the cache of blocks; None if no data are in object stores."""
        if not isinstance(self.samples, RecordSamples) or not self.samples.stored_bytes:
            return None
        ahead = passes_ahead(loader, self.window, self.pass_batch) * self.pass_batch
        return HeadDemand(self.samples.stored_bytes, len(self.samples), self.window, ahead)

    def pass_samples(self, number: int) -> NDArray[np.int64]:
        """Returns the sample numbers of a pass over all ranks. number: the pass's number in the run."""
        return self.order.samples_at(np.arange(number * self.pass_batch, (number + 1) * self.pass_batch))


def _blocks_of(head: HeadConfig, pass_batch: int) -> Blocks | None:
    if not isinstance(head, RecordHeadConfig) or head.order == "random":
        return None
    return Blocks(batch=pass_batch, records=head.block_records, window=head.window_blocks)


def open_samples(
    head: HeadConfig,
    data: Sequence[DataLocation],
    *,
    num_classes: int,
    image_size: int,
    pixel_size: int | None = None,
    seed: int = 0,
    for_training: bool = True,
    reading: Reading | None = None,
) -> Samples:
    """Opens data sets or lists of videos as a head's samples, letterboxed to image_size pixels.

    pixel_size: side of the samples' pixels, if they are to show the same as at image_size in another size.
    for_training: False shows crops as after the last step of training, and keeps tags of every text height.
    reading: how data sets in object stores are read.

    Raises OvocrError.
    """
    if not isinstance(head, VideoHeadConfig):
        return RecordSamples(
            data,
            label_select=head.label_select,
            labels_stored=head.labels_stored,
            num_classes=num_classes,
            image_size=image_size,
            pixel_size=pixel_size,
            crops=crops_of(head, seed, scheduled=for_training),
            with_places=isinstance(head, OcrHeadConfig),
            min_visible=head.crop_min_visible if isinstance(head, OcrHeadConfig) else 0.0,
            min_text_height=head.min_text_height if for_training and isinstance(head, OcrHeadConfig) else None,
            reading=reading,
        )
    from ovocr.trainer.data.videos.video_lists import VideoSamples  # needs the extra `video`

    return VideoSamples(
        [Path(location) for location in data],
        label_select=head.label_select,
        labels_stored=head.labels_stored,
        num_classes=num_classes,
        image_size=pixel_size or image_size,
        frames=head.frames,
        sampled_frames=head.sampled_frames,
        seed=seed,
    )


def _check_text_heights(name: str, head: HeadConfig, samples: Samples) -> None:
    """Raises UsageError if a setting needs text heights that a data set does not have."""
    if not isinstance(samples, RecordSamples) or not isinstance(head, OcrHeadConfig):
        return
    key = "crop_text_height" if head.crop_text_height else "min_text_height"
    if head.crop_text_height or head.min_text_height:
        try:
            samples.check_text_heights()
        except OvocrError as error:
            raise UsageError(f"heads.{name}.{key}: {error}, so text heights are unknown; leave {key} out") from error


def crops_of(head: HeadConfig, seed: int, *, scheduled: bool = True) -> RandomCrops | TextCrops | None:
    """Returns the crops of a head, or None if its images are not cropped.

    scheduled: False uses the last ranges of text heights and context at each position.
    """
    if not isinstance(head, RecordHeadConfig):
        return None
    if head.crop_scale is not None:
        return RandomCrops(share=head.crop_share, scale=head.crop_scale, ratio=head.crop_ratio, seed=seed)
    if not isinstance(head, OcrHeadConfig) or head.crop_text_height is None:
        return None
    ranges = (
        (head.crop_text_height, head.crop_text_height_start),
        (head.crop_context, head.crop_context_start),
    )
    heights, context = (
        RangeSchedule(
            end=end,
            start=start if scheduled else None,
            steps=head.crop_text_height_steps or 1,
            samples_per_step=head.global_batch,
        )
        for end, start in ranges
    )
    return TextCrops(share=head.crop_share, heights=heights, context=context, max_upscale=head.max_upscale, seed=seed)


def load_vocabulary(name: str, head: HeadConfig) -> Vocabulary | None:
    """Loads the vocabulary from the first data set; all data sets of a head have the same. None for heads without one.

    Raises OvocrError, or UsageError for a head of kind ocr whose data have none.
    """
    if isinstance(head, VideoHeadConfig):
        return None
    path = vocabulary_path(open_data_set(head.data[0]))
    if path is None and head.kind == "ocr":
        raise UsageError(f'heads.{name}.data: {head.data[0]}: its class ids have no vocabulary; use kind = "image"')
    return None if path is None else Vocabulary.load(path)


def count_classes(name: str, head: HeadConfig, vocabulary: Vocabulary | None) -> int:
    """Returns num_classes of the settings, or else of the data. Reading a larger class id raises an error.

    Raises UsageError if both are known and contradict each other.
    """
    if vocabulary is not None:
        if head.num_classes not in (None, len(vocabulary)):
            words = f"its vocabulary has {len(vocabulary)} words; leave it out"
            raise UsageError(f"heads.{name}.num_classes: {head.num_classes}, but {words}")
        return len(vocabulary)
    if isinstance(head, VideoHeadConfig):
        return head.num_classes
    stated = max(open_data_set(root).manifest().num_classes for root in head.data)
    if head.num_classes is not None and head.num_classes < stated:
        raise UsageError(f"heads.{name}.num_classes: {head.num_classes}, but its data have {stated} classes")
    return head.num_classes or stated

"""Relabels one shard, in a worker process."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.dataset.access.opening import shard_on_disk
from ovocr.dataset.labelled_images import LabelledImage, read_labelled_images
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.statistics import data_file_names
from ovocr.dataset.text import StoredText, TextShard
from ovocr.labelgen.images.source_images import OutOfReachError, SourceImages
from ovocr.labelgen.sources.input_shard import find_input
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.recordio import RecordReader


@dataclass(frozen=True, kw_only=True)
class RelabelSettings:
    """Settings for all shards.

    out: folder of the new data set, which already contains vocabulary and word frequencies.
    words: JSON of the words in its manifest.
    """

    out: Path
    policy: TagPolicy
    words: str


def relabel_shard(settings: RelabelSettings, shard: TextShard) -> int:
    """Writes the shard into the new data set and returns the number of its images.

    Raises OvocrError if a file of the shard cannot be read, or another process writes the same shard.
    """
    names = data_file_names(has_text=True)
    with shard_on_disk(shard.data_set, shard.number, names) as data_set:
        return _relabel_shard(settings, data_set, shard)


def _relabel_shard(settings: RelabelSettings, data_set: LabelledDataSet, shard: TextShard) -> int:
    """Writes the shard. data_set: has the files of the shard on a disk."""
    labeller = _labeller(settings)
    source = find_input(data_set, data_set.manifest(), shard.number)
    with (
        RecordReader(data_set.rec_prefix(shard.number)) as records,
        ShardWriter(LabelledDataSet(settings.out), shard.number, source.entry, ignored=source.ignored) as writer,
    ):
        if writer.is_finished:  # by another process, after this command had looked
            writer.leave()
            return 0
        images = _StoredImages(
            data_set.rec_prefix(shard.number), records, SourceImages.of_shard(data_set, shard.number)
        )
        for image in read_labelled_images(data_set, shard.number, shard.format):
            writer.add(image.key, _relabel(image, labeller, images))
    return writer.counts.input


@lru_cache(maxsize=1)
def _labeller(settings: RelabelSettings) -> LineLabeller:
    """Loads the labeller once per process."""
    return LineLabeller.load(LabelledDataSet(settings.out), settings.policy)


class _StoredImages:
    """Loads the stored images of a shard from its records or its source."""

    def __init__(self, prefix: Path, records: RecordReader, source: SourceImages) -> None:
        self._prefix = prefix
        self._records = records
        self._source = source

    def jpeg(self, image: LabelledImage, text: StoredText) -> bytes:
        """Returns the stored image as JPEG. Raises OutOfReachError."""
        if image.record_id is None:
            return self._source.get(image.position, image.key, text.width, text.height).jpeg
        if image.record_id >= len(self._records):
            raise OvocrError(f"{self._prefix}.rec: record {image.record_id} is missing; restore the shard's files")
        record = self._records[image.record_id]
        if record.id != image.record_id:
            raise OvocrError(
                f"{self._prefix}.idx: line {image.record_id + 1} is for record {record.id}; restore the file"
            )
        return record.image


def _relabel(image: LabelledImage, labeller: LineLabeller, images: _StoredImages) -> Outcome:
    text = image.read
    if isinstance(text, Outcome):
        return text
    outcome = labeller(image.key, text.width, text.height, text.lines, lines_given=image.lines_given)
    if outcome.status is not Status.OK:
        return outcome
    try:
        return replace(outcome, jpeg=images.jpeg(image, text))
    except OutOfReachError as error:
        dropped = replace(outcome, status=Status.DROPPED, reason=Reason.SOURCE_OUT_OF_REACH, detail=str(error))
        return replace(dropped, places=(), slots=())

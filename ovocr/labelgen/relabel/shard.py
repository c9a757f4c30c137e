"""Relabels one shard: the work of a process."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.dataset.labelled_images import LabelledImage, read_labelled_images
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.dataset.text import StoredText, TextShard
from ovocr.labelgen.images.source_images import OutOfReachError, SourceImages
from ovocr.labelgen.shards.labelled_shard import find_input
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.recordio import RecordReader


@dataclass(frozen=True, kw_only=True)
class RelabelSettings:
    """Settings of the work on every shard.

    out: the new data set's folder; it has vocabulary and word frequencies already.
    words: JSON of the words in its manifest. max_pixels: of images that are read from their sources again.
    """

    out: Path
    policy: TagPolicy
    words: str
    max_pixels: int


def relabel_shard(settings: RelabelSettings, shard: TextShard) -> int:
    """Writes the shard into the new data set; returns the number of its images.

    Raises OvocrError if a file of the shard cannot be read, or another process writes the same shard.
    """
    labeller = _labeller(settings)
    data_set = LabelledDataSet(shard.root)
    source = find_input(data_set, data_set.manifest(), shard.number)
    with (
        RecordReader(data_set.rec_prefix(shard.number)) as records,
        ShardWriter(LabelledDataSet(settings.out), shard.number, source.entry, ignored=source.ignored) as writer,
    ):
        images = _StoredImages(data_set.rec_prefix(shard.number), records, SourceImages(source, settings.max_pixels))
        for image in read_labelled_images(data_set, shard.number):
            writer.add(image.key, _relabel(image, labeller, images))
    return writer.counts.input


@lru_cache(maxsize=1)
def _labeller(settings: RelabelSettings) -> LineLabeller:
    """Loads the labeller once in a process; other words are other settings."""
    return LineLabeller.load(LabelledDataSet(settings.out), settings.policy)


class _StoredImages:
    """The stored images of a shard, from its records or from the source."""

    def __init__(self, prefix: Path, records: RecordReader, source: SourceImages) -> None:
        self._prefix = prefix
        self._records = records
        self._source = source

    def jpeg(self, image: LabelledImage, text: StoredText) -> bytes:
        """Returns the bytes of an image that was read. Raises OutOfReachError."""
        if image.record_id is None:
            return self._source.get(image.place, image.key, text.width, text.height).jpeg
        if image.record_id >= len(self._records):
            raise OvocrError(f"{self._prefix}.rec: has no record {image.record_id}; put the shard's files back")
        record = self._records[image.record_id]
        if record.id != image.record_id:
            raise OvocrError(f"{self._prefix}.idx: line {image.record_id + 1} is of record {record.id}; put it back")
        return record.image


def _relabel(image: LabelledImage, labeller: LineLabeller, images: _StoredImages) -> Outcome:
    text = image.read
    if isinstance(text, Outcome):
        return text
    outcome = labeller(image.key, text.width, text.height, text.lines)
    if outcome.status is not Status.OK:
        return outcome
    try:
        return replace(outcome, jpeg=images.jpeg(image, text))
    except OutOfReachError as error:
        dropped = replace(outcome, status=Status.DROPPED, reason=Reason.SOURCE_OUT_OF_REACH, detail=str(error))
        return replace(dropped, tags=(), slots=())

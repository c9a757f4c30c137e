"""One shard of a labelled data set made anew: the work of a process."""

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
    """What the work on every shard needs.

    out: the new data set's folder, where vocabulary and word frequencies are already. words: what its manifest says of
    them. max_pixels: of pictures that are had again from their sources.
    """

    out: Path
    policy: TagPolicy
    words: str
    max_pixels: int


def relabel_shard(settings: RelabelSettings, shard: TextShard) -> int:
    """Write the shard into the new data set; the number of its images.

    Raises OvocrError where a file of the shard cannot be read, or another process makes the same one.
    """
    labeller = _labeller(settings)
    there = LabelledDataSet(shard.root)
    source = find_input(there, there.manifest(), shard.number)
    with (
        RecordReader(there.rec_prefix(shard.number)) as records,
        ShardWriter(LabelledDataSet(settings.out), shard.number, source.entry, ignored=source.ignored) as writer,
    ):
        pictures = _Pictures(there.rec_prefix(shard.number), records, SourceImages(source, settings.max_pixels))
        for image in read_labelled_images(there, shard.number):
            writer.add(image.key, _relabel(image, labeller, pictures))
    return writer.counts.input


@lru_cache(maxsize=1)
def _labeller(settings: RelabelSettings) -> LineLabeller:
    """The process's, for all its shards; other words are other settings."""
    return LineLabeller.load(LabelledDataSet(settings.out), settings.policy)


class _Pictures:
    """The stored pictures of a shard: those of its records, or had again from the source."""

    def __init__(self, prefix: Path, records: RecordReader, source: SourceImages) -> None:
        self._prefix = prefix
        self._records = records
        self._source = source

    def jpeg(self, image: LabelledImage, text: StoredText) -> bytes:
        """The bytes of a picture that was read. Raises OutOfReachError."""
        if image.record_id is None:
            return self._source.get(image.place, image.key, text.width, text.height).jpeg
        if image.record_id >= len(self._records):
            raise OvocrError(f"{self._prefix}.rec: has no record {image.record_id}; put the shard's files back")
        record = self._records[image.record_id]
        if record.id != image.record_id:
            raise OvocrError(f"{self._prefix}.idx: line {image.record_id + 1} is of record {record.id}; put it back")
        return record.image


def _relabel(image: LabelledImage, labeller: LineLabeller, pictures: _Pictures) -> Outcome:
    text = image.read
    if isinstance(text, Outcome):
        return text
    outcome = labeller(image.key, text.width, text.height, text.lines)
    if outcome.status is not Status.OK:
        return outcome
    try:
        return replace(outcome, jpeg=pictures.jpeg(image, text))
    except OutOfReachError as error:
        dropped = replace(outcome, status=Status.DROPPED, reason=Reason.SOURCE_OUT_OF_REACH, detail=str(error))
        return replace(dropped, tags=(), slots=())

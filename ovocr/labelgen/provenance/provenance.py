"""``ovocr why``: explains the tags of images."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.escape import as_text
from ovocr.dataset.access.opening import open_data_set, records_on_disk
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import IDF, Manifest
from ovocr.dataset.outcome import Place
from ovocr.dataset.records import RecordRow
from ovocr.dataset.slots import StoredSlots
from ovocr.labelgen.provenance.absence import explain_absence
from ovocr.labelgen.provenance.reading import CutText
from ovocr.labelgen.provenance.search import FoundImage, find_images
from ovocr.labelgen.provenance.story import Explanation, ImageStory, LineStory, PlaceStory, TagStory
from ovocr.labelgen.tagging.run_words import stored_frequencies, stored_vocabulary
from ovocr.labelgen.tagging.tag_slots import by_rank
from ovocr.processes.termination import terminable
from ovocr.recordio import RecordReader
from ovocr.vocab import Segmentation, Vocabulary
from ovocr.vocab.look_up import Answer, look_up


def explain(root: Path | str, key: str, tag: str | None = None) -> Explanation:
    """Explains the tags of the images with this key.

    root: folder or URL of a labelled data set. tag: word or class id of the only tag to explain.

    Leaves out shards whose records cannot be read. Raises OvocrError that names the file if any other file cannot be
    read, or if no readable image has the key.
    """
    data_set = open_data_set(root)
    with data_set.errors(), terminable():
        manifest = data_set.manifest()
        finished = data_set.finished_shards(len(manifest.shards))
        found = find_images(data_set, as_text(key), finished, with_text=manifest.has_text)
        vocabulary = stored_vocabulary(data_set) if manifest.has_text else None
        answers = _answers(tag, manifest, vocabulary)
        explainer = _Explainer(data_set, manifest, vocabulary, answers)
        return Explanation([explainer.explain(image) for image in found.images], found.left_out)


def _answers(tag: str | None, manifest: Manifest, vocabulary: Vocabulary | None) -> list[Answer] | None:
    """Returns the vocabulary's answers for ``tag``; None if all tags are explained."""
    if tag is None:
        return None
    if vocabulary is not None:
        return look_up(vocabulary, tag)
    if not (tag.isascii() and tag.isdecimal() and int(tag[:20]) < manifest.num_classes):
        raise UsageError(f"{tag}: a packed data set has no words; give a class id from 0 to {manifest.num_classes - 1}")
    return [Answer(asked=tag, id=int(tag))]


class _Explainer:
    def __init__(
        self,
        data_set: LabelledDataSet,
        manifest: Manifest,
        vocabulary: Vocabulary | None,
        answers: list[Answer] | None,
    ) -> None:
        self._data_set = data_set
        self._manifest = manifest
        self._policy = manifest.policy
        self._vocabulary = vocabulary
        self._answers = answers
        self._frequencies = stored_frequencies(data_set) if self._policy.weighting == IDF else None
        self._notes = self._read_notes()

    def _read_notes(self) -> list[str]:
        table, words = self._manifest.table, self._manifest.words
        if table is not None:
            return [f"class ids come from the packed table (sha256 {table.sha256}), in its order; they have no words"]
        assert words is not None
        assert self._vocabulary is not None
        if words.segmentation != Segmentation.of(self._vocabulary.settings).describe():
            return ["the installed segmentation rules differ from the rules that made the tags; words may differ"]
        return []

    def explain(self, image: FoundImage) -> ImageStory:
        """Explains one image. Raises OvocrError if its record cannot be read."""
        row = image.row
        text = None
        if image.text is not None and self._vocabulary is not None:
            text = CutText(image.text, self._vocabulary, self._policy)
        stored = self._slots(image)
        competing = self._policy.competing(row.places)
        return ImageStory(
            key=row.key,
            source=row.source,
            shard=image.shard,
            row=row.position,
            status=row.status,
            reason=row.reason,
            detail=row.detail,
            record_id=row.record_id,
            size=None if image.text is None else (image.text.width, image.text.height),
            words_found=row.words_found,
            words_in_vocabulary=row.words_in_vocabulary,
            slots=self._policy.tags,
            competing=len(competing),
            rule=self._rule() if len(competing) > self._policy.tags else "",
            lines=text.lines if text is not None else [],
            left_out=text.left_out() if text is not None else [],
            tags=self._tags(image, competing, text, stored),
            answers=self._absences(row, text),
            notes=self._notes,
            foreign_slots=stored.foreign if stored is not None else [],
            damage=stored.damage(self._policy.tags) if stored is not None else [],
        )

    def _tags(
        self, image: FoundImage, competing: list[int], text: CutText | None, stored: StoredSlots | None
    ) -> list[TagStory]:
        ranks = self._ranks(competing, image.row.key)
        asked = None if self._answers is None else {answer.id for answer in self._answers}
        places: dict[int, list[Place]] = defaultdict(list)
        for place in image.row.places:
            places[place.id].append(place)
        return [
            self._tag(tag, own, stored.of_tag[tag] if stored is not None else [], ranks[tag], text)
            for tag, own in places.items()
            if asked is None or tag in asked
        ]

    def _tag(self, tag: int, places: list[Place], slots: list[int], ranks: list[int], text: CutText | None) -> TagStory:
        if self._vocabulary is None or text is None:
            return TagStory(id=tag, word=None, places=[], slots=slots, ranks=ranks, weight=None)
        if not 0 <= tag < len(self._vocabulary):
            raise OvocrError(f"{self._data_set}: tag {tag} is not in the vocabulary; see `ovocr verify`")
        return TagStory(
            id=tag,
            word=self._vocabulary.word(tag),
            places=list(self._places(places, text)),
            slots=slots,
            ranks=ranks,
            weight=self._weight(tag) if self._frequencies is not None else None,
        )

    def _places(self, places: list[Place], text: CutText) -> Iterator[PlaceStory]:
        """Yields the places of a tag. Its n-th place in a line is the n-th such word of the line."""
        words = {line.number: iter(_indexes_of(places[0].id, line)) for line in text.lines}
        for place in places:
            if place.line not in words or place.box is None:
                raise OvocrError(
                    f"{self._data_set}: tag {place.id} in line {place.line} is invalid; see `ovocr verify`"
                )
            yield PlaceStory(line=text.lines[place.line], word=next(words[place.line], None), box=place.box)

    def _slots(self, image: FoundImage) -> StoredSlots | None:
        """Returns the content of the record's slots; None if there is no record."""
        record_id = image.row.record_id
        if record_id is None:
            return None
        with (
            records_on_disk(self._data_set, image.shard, [record_id]) as data_set,
            RecordReader(prefix := data_set.rec_prefix(image.shard)) as records,
        ):
            if not 0 <= record_id < len(records):
                raise OvocrError(f"{prefix}.idx: does not contain record {record_id}; see `ovocr verify`")
            return StoredSlots.of(records[record_id].labels, image.row.tags)

    def _ranks(self, competing: list[int], key: str) -> dict[int, list[int]]:
        """Maps each class id to its ranks in the order in which words are kept; empty if all words are kept."""
        ranks: dict[int, list[int]] = defaultdict(list)
        if len(competing) > self._policy.tags:
            weight = None if self._frequencies is None else self._weight
            order = by_rank(competing, self._policy.seed, key, weight) if self._vocabulary is not None else None
            for rank, index in enumerate(order if order is not None else range(len(competing))):
                ranks[competing[index]].append(rank)
        return ranks

    def _weight(self, id: int) -> float:
        assert self._frequencies is not None
        assert self._vocabulary is not None
        return self._frequencies.weight(self._vocabulary.word(id))

    def _rule(self) -> str:
        if self._vocabulary is None:
            return "the first class ids of the table are kept"
        if self._frequencies is None:
            return f"the words with the smallest blake2b digests of (seed {self._policy.seed}, key, id) are kept"
        return (
            "words are drawn one after another in proportion to their idf weights, by the blake2b digest of "
            f"(seed {self._policy.seed}, key, id)"
        )

    def _absences(self, row: RecordRow, text: CutText | None) -> list[str]:
        """Returns a sentence for each requested class id that is not a tag of the image."""
        answers = [answer for answer in self._answers or () if answer.id not in row.tags]
        if self._vocabulary is None:
            return [f"the table has no class id {answer.id} for the image" for answer in answers]
        return [explain_absence(answer, row.status, row.reason, text, self._vocabulary) for answer in answers]


def _indexes_of(id: int, line: LineStory) -> list[int]:
    """Returns the indexes of the words with a class id among the words of a line, without words that are left out."""
    return [index for index, word in enumerate(line.words) if word.id == id and not word.left_out]

"""The records of finished shards of labelled data sets as one list of samples."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovocr.dataset import LabelledDataSet
from ovocr.errors import OvocrError
from ovocr.recordio import Record, RecordReader

# Readers that keep their file open: shards may be more than the files a process may open (often 1024).
_OPEN_READERS = 128


class RecordSamples:
    """Map-style samples: data set after data set, shard after shard, in the order of the index.

    roots: folders of labelled data sets, all of one vocabulary, every shard finished.
    labels_stored, label_select: of a record's tags the slice [label_select : label_select + labels_stored] is used.
    num_classes: tags must be less.

    Raises OvocrError that names the folder, and at a read one that names the record. May be pickled, and used on both
    sides of a fork.
    """

    def __init__(
        self, roots: Sequence[str | Path], *, labels_stored: int, label_select: int = 0, num_classes: int
    ) -> None:
        if not roots:
            raise OvocrError("no data sets: at least one is needed")
        self._labels = slice(label_select, label_select + labels_stored)
        self._num_classes = num_classes
        data_sets = [LabelledDataSet.open(Path(root)) for root in roots]
        self.vocabulary_path = data_sets[0].vocabulary_path
        _check_one_vocabulary(data_sets)
        self._prefixes = [data_set.rec_prefix(shard) for data_set in data_sets for shard in _all_shards(data_set)]
        self._readers = [RecordReader(prefix) for prefix in self._prefixes]
        self._ends = np.cumsum([len(reader) for reader in self._readers])
        self._open: OrderedDict[int, None] = OrderedDict()  # shards by last use, the latest last
        if len(self) == 0:
            raise OvocrError(f"{', '.join(map(str, roots))}: no records: no picture had a word of the vocabulary")
        self[0]  # tags too few or too large for the configuration are an error now, not in the middle of a step

    def __len__(self) -> int:
        """Records of all shards."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> tuple[bytes, NDArray[np.int64]]:
        """Encoded picture, and tags int64 [labels_stored]. Raises OvocrError naming the record."""
        record = self._record(index)
        labels = record.labels
        if len(labels) < self._labels.stop:
            raise OvocrError(
                f"{self.name(index)}: {len(labels)} tags, but tags {self._labels.start} to {self._labels.stop - 1} are "
                "asked for: see label_select and labels_stored"
            )
        labels = labels[self._labels]
        wrong = ~((labels >= 0) & (labels < self._num_classes) & (labels == np.floor(labels)))
        if wrong.any():
            raise OvocrError(
                f"{self.name(index)}: tag {labels[wrong][0]:g} is no class: there are {self._num_classes}, from 0"
            )
        return record.image, labels.astype(np.int64)

    def name(self, index: int) -> str:
        """Where a sample comes from, for messages: DIR/rec/00003.rec id 17."""
        shard, place = self._locate(index)
        return f"{self._prefixes[shard]}.rec id {self._readers[shard].ids[place]}"

    def _locate(self, index: int) -> tuple[int, int]:
        """Shard and place in its index. Raises IndexError beyond the last sample."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - (int(self._ends[shard - 1]) if shard else 0)

    def _record(self, index: int) -> Record:
        shard, place = self._locate(index)
        self._open[shard] = None
        self._open.move_to_end(shard)
        if len(self._open) > _OPEN_READERS:
            oldest, _ = self._open.popitem(last=False)
            self._readers[oldest].close()
        return self._readers[shard][place]


def _check_one_vocabulary(data_sets: Sequence[LabelledDataSet]) -> None:
    """A tag must mean the same word everywhere."""
    first, *others = [(data_set, vocabulary_sha256(data_set)) for data_set in data_sets]
    for data_set, sha256 in others:
        if sha256 != first[1]:
            raise OvocrError(
                f"{data_set.root}: made with another vocabulary than {first[0].root}; "
                "train on them with a head each, or label one again with the other's vocab.txt"
            )


def vocabulary_sha256(data_set: LabelledDataSet) -> str:
    """Hash of the data set's own vocabulary. Raises OvocrError where it is missing or not the manifest's."""
    try:
        found = hashlib.sha256(data_set.vocabulary_path.read_bytes()).hexdigest()
    except OSError as error:
        raise OvocrError(f"{data_set.vocabulary_path}: cannot be read: {error.strerror}") from error
    promised = data_set.manifest().get("vocabulary", {}).get("sha256", found)
    if found != promised:
        raise OvocrError(f"{data_set.vocabulary_path}: not the vocabulary that manifest.json names; put that one back")
    return found


def _all_shards(data_set: LabelledDataSet) -> range:
    """Numbers of the shards in the manifest. Raises OvocrError unless every one is finished."""
    shards = data_set.manifest().get("shards")
    if not isinstance(shards, list):
        raise OvocrError(f"{data_set.manifest_path}: no list of shards")
    finished = set(data_set.finished_shards()) & set(range(len(shards)))
    if len(finished) < len(shards):
        raise OvocrError(
            f"{data_set.root}: {len(finished)} of {len(shards)} shards finished; let `ovocr build-labels` finish it"
        )
    return range(len(shards))

"""Lists of videos, one video per line, as samples: clips and class ids."""

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.base.plural import counted
from ovocr.trainer.data.samples import NothingFetched, Sample, ShownTags, hash_image
from ovocr.trainer.data.videos.list_lines import ListLines
from ovocr.trainer.data.videos.time_axis import clip_times

_NUMBER = re.compile(rb"-?[0-9]+")
_MAX_DIGITS = 18  # fits int64
_COUNT_CHUNK = 1 << 20


class VideoLine(NamedTuple):
    """A line of a list: path and class ids."""

    path: str
    ids: list[int]


def parse_line(line: bytes) -> VideoLine:
    """Parses a path followed by class ids: after the first tab, or else the integers at the end of the line.

    Raises OvocrError describing the problem of the line.
    """
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OvocrError(f"not UTF-8 text: byte {error.start} of the line") from error
    path, tab, rest = line.partition(b"\t")
    if tab:
        fields = rest.split()
    else:
        words = line.split()
        numbers = next((n for n, word in enumerate(reversed(words)) if not _NUMBER.fullmatch(word)), len(words))
        path, *fields = line.strip().rsplit(None, numbers) if numbers < len(words) else [b"", *words]
    if not path.strip():
        raise OvocrError("no path before the class ids")
    for field in fields:
        if not _NUMBER.fullmatch(field) or len(field) > _MAX_DIGITS:
            raise OvocrError(f"{field.decode()!r} is not a class id")
    return VideoLine(path.decode("utf-8"), [int(field) for field in fields])


class VideoSamples(NothingFetched):
    """Clips and class ids: list after list, in the order of their lines.

    lists: UTF-8 text files, one video per line; blank lines and lines that start with # are ignored. Relative paths are
        relative to the list's folder.
    labels_stored, label_select: the slice [label_select : label_select + labels_stored] of a line's ids is used.
    num_classes: number of classes; the used ids must be less.
    image_size: side of the letterboxed frames, pixels.
    frames: frames per clip, one drawn from each of this many equal bins of sampled_frames, which are spread evenly over
        the video; see ``clip_times``.
    seed: seed of the draws, together with the position of a sample.

    Raises MissingExtraError if PyAV is not installed, and OvocrError naming the list, and the line if a sample is
    invalid. Picklable, and usable on both sides of a fork.
    """

    vocabulary_path: Path | None = None

    def __init__(
        self,
        lists: Sequence[str | Path],
        *,
        labels_stored: int,
        label_select: int = 0,
        num_classes: int,
        image_size: int = 224,
        frames: int = 8,
        sampled_frames: int = 64,
        seed: int = 0,
    ) -> None:
        if find_spec("av") is None:
            raise MissingExtraError("reading videos", "video")
        if not lists:
            raise OvocrError("no lists of videos: at least one is needed")
        self._labels = slice(label_select, label_select + labels_stored)
        self._num_classes, self._image_size = num_classes, image_size
        self._frames, self._sampled_frames, self._seed = frames, sampled_frames, seed
        self._lists = [ListLines(Path(path)) for path in lists]
        self.parts = [len(lines) for lines in self._lists]
        self._ends = np.cumsum(self.parts)
        for first in [0, *self._ends[:-1].tolist()]:
            self._read(first)  # reports too few or too large ids now instead of during a step

    def __len__(self) -> int:
        """Returns the number of videos of all lists."""
        return int(self._ends[-1])

    def load(self, index: int, position: int | None = None) -> Sample:
        """Returns a clip and its class ids; see ``clip_times``. Raises OvocrError naming list and line."""
        from ovocr.trainer.data.videos.frames import load_frames  # needs PyAV

        place, path, labels = self._read(index)
        times = clip_times(self._frames, self._sampled_frames, seed=self._seed, position=position)
        try:
            pixels = load_frames(path, times, sampled_frames=self._sampled_frames, size=self._image_size)
        except OvocrError as error:
            raise type(error)(f"{place}: {error}") from error
        return Sample(pixels, labels, times)

    def shown_tags(self, index: int, position: int | None = None) -> ShownTags:
        """Returns the distinct class ids of the line, whose text heights are unknown. Raises OvocrError."""
        return ShownTags.of_labels(self._read(index)[2])

    def name(self, index: int) -> str:
        """Returns the sample's origin, for messages: LIST:17 (clips/a.mp4)."""
        _, place, line = self._line(index)
        try:
            return f"{place} ({parse_line(line).path})"
        except OvocrError:
            return place

    def image_keys(self) -> list[str]:
        """Returns the path of each video as its list has it. Raises OvocrError naming list and line."""
        return [self._used_ids(f"{lines.path}:{number}", line).path for lines in self._lists for number, line in lines]

    def image_hashes(self, rank: int = 0, world: int = 1) -> Iterator[NDArray[np.uint64]]:
        """Yields a hash of each line's path and class ids, uint64, of every ``world``-th line from line ``rank`` on.

        Raises OvocrError naming list and line.
        """
        for lines in self._lists:
            hashes = (
                hash_image(path, *ids)
                for number, line in islice(lines, rank, None, world)
                for path, ids in [_parse(f"{lines.path}:{number}", line)]
            )
            yield np.fromiter(hashes, np.uint64)

    def class_counts(self, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
        """Returns the number of videos with each class among the used ids; reads all lists.

        rank, world: counts every ``world``-th line of each list, from line ``rank`` on.

        Raises OvocrError naming list and line.
        """
        counts = np.zeros(0, dtype=np.int64)
        waiting: list[int] = []
        for lines in self._lists:
            for number, line in islice(lines, rank, None, world):
                waiting += set(self._used_ids(f"{lines.path}:{number}", line).ids)
                if len(waiting) >= _COUNT_CHUNK:
                    counts, waiting = _add_counts(counts, waiting), []
        return _add_counts(counts, waiting)

    def _line(self, index: int) -> tuple[Path, str, bytes]:
        """Returns the list's folder, LIST:17 and the line's text. Raises IndexError beyond the last sample."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        part = int(np.searchsorted(self._ends, index, side="right"))
        lines = self._lists[part]
        number, line = lines[index - int(self._ends[part]) + self.parts[part]]
        return lines.path.parent, f"{lines.path}:{number}", line

    def _read(self, index: int) -> tuple[str, Path, NDArray[np.int64]]:
        """Returns LIST:17, the video's path and its class ids int64 [labels_stored]. Raises OvocrError."""
        folder, place, line = self._line(index)
        path, ids = self._used_ids(place, line)
        return place, folder / path, np.array(ids, dtype=np.int64)

    def _used_ids(self, place: str, line: bytes) -> VideoLine:
        """Returns the line with the used ids only. Raises OvocrError naming ``place`` if an id is not a class."""
        path, ids = _parse(place, line)
        if len(ids) < self._labels.stop:
            raise OvocrError(
                f"{place}: has {counted(len(ids), 'class id')}, but ids {self._labels.start} to "
                f"{self._labels.stop - 1} are needed; see label_select and labels_stored"
            )
        ids = ids[self._labels]
        for class_id in ids:
            if not 0 <= class_id < self._num_classes:
                raise OvocrError(f"{place}: {class_id} is not a class; class ids are 0 to {self._num_classes - 1}")
        return VideoLine(path, ids)


def _parse(place: str, line: bytes) -> VideoLine:
    """Returns the line. Raises OvocrError naming ``place``."""
    try:
        return parse_line(line)
    except OvocrError as error:
        raise OvocrError(f"{place}: {error}") from error


def _add_counts(counts: NDArray[np.int64], ids: list[int]) -> NDArray[np.int64]:
    """Adds the counts of more ids, extending the array to the largest id."""
    found = np.bincount(np.array(ids, dtype=np.int64), minlength=len(counts))
    found[: len(counts)] += counts
    return found

"""Selects the images of an inspection: evenly from all shards, determined by a seed."""

from dataclasses import dataclass
from hashlib import blake2b

from ovocr.base.errors import OvocrError, StoreError
from ovocr.base.escape import for_terminal
from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.text import TextShard
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.matching import Filter
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.processes.shard_map import map_shards


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selected images.

    positions: maps shards to the ascending positions of the selected images in their records; shards without a
        selected image are left out.
    matching: number of images that match the options. shards: number of shards with such images.
    left_out: maps each unreadable shard to its error. The images of these shards are not counted.
    """

    positions: dict[int, list[int]]
    matching: int
    shards: int
    left_out: dict[int, str]

    @property
    def chosen(self) -> int:
        """Number of selected images."""
        return sum(map(len, self.positions.values()))


class Selector:
    """Counts the matching images of each shard once, and selects images any number of times."""

    def __init__(self, data_set: InspectedDataSet, options: InspectOptions, progress: bool) -> None:
        """Raises UsageError or OvocrError if the data set does not contain what the options name."""
        self._data_set = data_set
        self._options = options
        self._filter = Filter.of(options, data_set)
        self._left_out: dict[int, str] = {}
        numbers = _shards(data_set, options)
        shards = [TextShard(data_set.files.root, number, url=data_set.files.url) for number in numbers]
        bar = "matching" if progress else None
        counted = map_shards(lambda shard: self._count(shard.number), shards, workers=1, progress=bar)
        counts = dict(zip(numbers, counted, strict=True))
        self._counts = {number: count for number, count in counts.items() if number not in self._left_out}

    def leave_out(self, shard: int, error: OvocrError) -> None:
        """Excludes a shard that cannot be read. error: the cause."""
        self._left_out[shard] = str(error)
        self._counts.pop(shard, None)

    def choose(self) -> Selection:
        """Selects images from the readable shards. Raises OvocrError if no image matches the options."""
        while True:
            if not any(self._counts.values()):
                raise _no_match(self._data_set.files, self._options, list(self._left_out.values()))
            positions = self._draw_positions()
            if positions is not None:
                return Selection(
                    positions=positions,
                    matching=sum(self._counts.values()),
                    shards=sum(map(bool, self._counts.values())),
                    left_out=dict(sorted(self._left_out.items())),
                )

    def _count(self, shard: int) -> int:
        try:
            return self._filter.count(self._data_set, shard)
        except StoreError:
            raise
        except OvocrError as error:
            self._left_out[shard] = str(error)
            return 0

    def _draw_positions(self) -> dict[int, list[int]] | None:
        """Maps shards to selected positions. If a shard cannot be read, excludes it and returns None."""
        limit, seed = self._options.limit, self._options.seed
        positions = {}
        for number, share in zip(self._counts, share_out(list(self._counts.values()), limit, seed), strict=True):
            if share:
                try:
                    positions[number] = _draw(self._filter.positions(self._data_set, number), share, seed, number)
                except StoreError:
                    raise
                except OvocrError as error:
                    self.leave_out(number, error)
                    return None
        return positions


def share_out(counts: list[int], limit: int, seed: int) -> list[int]:
    """Distributes ``limit`` over the counts as evenly as the counts allow.

    The remainder goes to counts at equal distances. The seed determines the first of them.
    """
    shares = [0] * len(counts)
    left = min(limit, sum(counts))
    while left:
        unfilled = [position for position, count in enumerate(counts) if count > shares[position]]
        each = left // len(unfilled)
        if not each:
            start = int.from_bytes(_digest(seed, "first"), "big")
            for turn in range(left):
                shares[unfilled[(start + turn * len(unfilled) // left) % len(unfilled)]] += 1
            return shares
        for position in unfilled:
            taken = min(each, counts[position] - shares[position])
            shares[position] += taken
            left -= taken
    return shares


def _draw(positions: list[int], share: int, seed: int, shard: int) -> list[int]:
    """Returns the ``share`` positions with the smallest digests, which depend only on seed, shard and position."""
    return sorted(sorted(positions, key=lambda position: _digest(seed, f"{shard} {position}"))[:share])


def _digest(seed: int, name: str) -> bytes:
    return blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()


def _shards(data_set: InspectedDataSet, options: InspectOptions) -> list[int]:
    if options.shard is None:
        return list(data_set.shards)
    if options.shard not in data_set.shards:
        raise OvocrError(
            f"--shard {options.shard}: {data_set.files} has no such finished shard; it has "
            f"{len(data_set.shards)}, numbered {data_set.shards[0]} to {data_set.shards[-1]}"
        )
    return [options.shard]


def _no_match(data_set: LabelledDataSet, options: InspectOptions, left_out: list[str]) -> OvocrError:
    asked = [
        *([] if options.status is None else [f"--status {options.status}"]),
        *([] if options.word is None else [f"--word {options.word}"]),
        *(f"--key {key}" for key in options.keys),
        *([] if options.shard is None else [f"--shard {options.shard}"]),
    ]
    if left_out:
        matches = f" matches {for_terminal(' '.join(asked))}" if asked else ""
        return OvocrError(f"{data_set}: no image{matches} in the readable shards; left out: {'; '.join(left_out)}")
    if not asked:
        return OvocrError(f"{data_set}: the finished shards contain no image")
    return OvocrError(f"{data_set}: no image matches {for_terminal(' '.join(asked))}; leave out an option")

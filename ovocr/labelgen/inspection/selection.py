"""Chooses the images of an inspection: as evenly as possible from all shards, and the same for the same seed."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.dataset.text import TextShard
from ovocr.labelgen.inspection.data_set import InspectedDataSet
from ovocr.labelgen.inspection.matching import Filter
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.processes.shard_map import map_shards


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The chosen images.

    places: of the chosen images in the records of each shard, ascending; shards without a chosen image are missing.
    matching: number of images that match the options. shards: number of shards with such images.
    left_out: error of each shard that cannot be read; its images are not counted.
    """

    places: dict[int, list[int]]
    matching: int
    shards: int
    left_out: dict[int, str]

    @property
    def chosen(self) -> int:
        """Number of chosen images."""
        return sum(map(len, self.places.values()))


class Selector:
    """Counts the images of each shard that match the options once, and chooses among them any number of times."""

    def __init__(self, data_set: InspectedDataSet, options: InspectOptions, progress: bool) -> None:
        """Raises UsageError or OvocrError if the options name something that the data set does not have."""
        self._data_set = data_set
        self._options = options
        self._wanted = Filter.of(options, data_set)
        self._left_out: dict[int, str] = {}
        numbers = _shards(data_set, options)
        shards = [TextShard(data_set.files.root, number) for number in numbers]
        bar = "matching" if progress else None
        counted = map_shards(lambda shard: self._count(shard.number), shards, workers=1, progress=bar)
        counts = dict(zip(numbers, counted, strict=True))
        self._counts = {number: count for number, count in counts.items() if number not in self._left_out}

    def leave_out(self, shard: int, error: OvocrError) -> None:
        """Excludes a shard that cannot be read. error: why."""
        self._left_out[shard] = str(error)
        self._counts.pop(shard, None)

    def choose(self) -> Selection:
        """Chooses images from the shards that can be read. Raises OvocrError if no image matches the options."""
        while True:
            if not any(self._counts.values()):
                raise _nothing(self._data_set.files.root, self._options, list(self._left_out.values()))
            places = self._draw_places()
            if places is not None:
                return Selection(
                    places=places,
                    matching=sum(self._counts.values()),
                    shards=sum(map(bool, self._counts.values())),
                    left_out=dict(sorted(self._left_out.items())),
                )

    def _count(self, shard: int) -> int:
        try:
            return self._wanted.count(self._data_set, shard)
        except OvocrError as error:
            self._left_out[shard] = str(error)
            return 0

    def _draw_places(self) -> dict[int, list[int]] | None:
        """Returns the chosen places of each shard; None if a shard cannot be read, which is excluded then."""
        limit, seed = self._options.limit, self._options.seed
        places = {}
        for number, share in zip(self._counts, share_out(list(self._counts.values()), limit, seed), strict=True):
            if share:
                try:
                    places[number] = _draw(self._wanted.places(self._data_set, number), share, seed, number)
                except OvocrError as error:
                    self.leave_out(number, error)
                    return None
        return places


def share_out(counts: list[int], limit: int, seed: int) -> list[int]:
    """Returns how many images to take of each count: ``limit`` in all, as evenly as the counts allow.

    The remainder goes to counts at equal distances; the seed decides where the first of them is.
    """
    shares = [0] * len(counts)
    left = min(limit, sum(counts))
    while left:
        open_ones = [place for place, count in enumerate(counts) if count > shares[place]]
        each = left // len(open_ones)
        if not each:
            start = int.from_bytes(_digest(seed, "first"), "big")
            for turn in range(left):
                shares[open_ones[(start + turn * len(open_ones) // left) % len(open_ones)]] += 1
            return shares
        for place in open_ones:
            taken = min(each, counts[place] - shares[place])
            shares[place] += taken
            left -= taken
    return shares


def _draw(places: list[int], share: int, seed: int, shard: int) -> list[int]:
    """Returns the places with the smallest digests: the choice depends on seed, shard and place alone."""
    return sorted(sorted(places, key=lambda place: _digest(seed, f"{shard} {place}"))[:share])


def _digest(seed: int, name: str) -> bytes:
    return blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()


def _shards(data_set: InspectedDataSet, options: InspectOptions) -> list[int]:
    if options.shard is None:
        return list(data_set.shards)
    if options.shard not in data_set.shards:
        there = f"{data_set.shards[0]} to {data_set.shards[-1]}"
        raise OvocrError(
            f"--shard {options.shard}: {data_set.files.root} has no such finished shard; it has "
            f"{len(data_set.shards)}, numbered {there}"
        )
    return [options.shard]


def _nothing(root: Path, options: InspectOptions, left_out: list[str]) -> OvocrError:
    asked = [
        *([] if options.status is None else [f"--status {options.status}"]),
        *([] if options.word is None else [f"--word {options.word}"]),
        *(f"--key {key}" for key in options.keys),
        *([] if options.shard is None else [f"--shard {options.shard}"]),
    ]
    if left_out:
        said = f" is as {for_terminal(' '.join(asked))} says" if asked else " is there"
        return OvocrError(f"{root}: no image{said} in a shard that can be read; left out: {'; '.join(left_out)}")
    if not asked:
        return OvocrError(f"{root}: its finished shards have no image")
    return OvocrError(f"{root}: no image is as {for_terminal(' '.join(asked))} says; leave an option out")

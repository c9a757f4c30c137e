"""How a run reads data sets in object stores: which orders are allowed, the cache, and whether it has enough room."""

import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ovocr.base.errors import UsageError
from ovocr.dataset.access.block_cache import BlockCache
from ovocr.dataset.access.opening import DataLocation
from ovocr.dataset.access.record_blocks import BLOCK_RECORDS
from ovocr.dataset.access.stored_records import Reading
from ovocr.trainer.config.sections import LoaderConfig


class HeadDemand(NamedTuple):
    """What the blocks of a head take in the cache of a machine.

    stored_bytes: size of all records that are in object stores. samples: number of all records. window: number of
    samples of a window of the order. ahead: number of samples that are fetched in advance, over all ranks.
    """

    stored_bytes: int
    samples: int
    window: int
    ahead: int

    def window_bytes(self, share: float) -> float:
        """Returns the size of the window. share: the machine's share of the ranks."""
        return self._bytes(self.window, share)

    def all_bytes(self, share: float) -> float:
        """Returns the size of the window and of what is fetched in advance."""
        return self._bytes(self.window + self.ahead, share)

    def _bytes(self, samples: int, share: float) -> float:
        if self.samples <= self.window:  # one window, which every machine needs
            return self.stored_bytes
        return self.stored_bytes * min(1.0, share * samples / self.samples)


def open_reading(
    loader: LoaderConfig,
    data: Iterable[DataLocation],
    *,
    block_records: int = BLOCK_RECORDS,
    is_one_list: bool = True,
) -> Reading:
    """Returns how these settings read data sets. Raises UsageError if one needs a cache that there is no folder for."""
    in_store = any(isinstance(location, str) for location in data)
    cache = BlockCache.open(loader.cache_folder, loader.cache_gb) if in_store else None
    return Reading(cache, block_records, is_one_list)


def passes_ahead(loader: LoaderConfig, window: int, pass_batch: int) -> int:
    """Returns the number of passes whose records are fetched in advance.

    window: in samples; 0 for the random order, of which no two samples are in a block.
    """
    if not window:
        return 0
    return math.ceil(window / pass_batch) if loader.read_ahead is None else loader.read_ahead


def check_cache_room(loader: LoaderConfig, demands: Mapping[str, HeadDemand], ranks: int) -> None:
    """Compares the limit of the cache with what the heads need.

    demands: by name of the head. ranks: number of ranks, of which torchrun tells how many are on this machine.

    Raises UsageError if a window of every head together does not fit. Warns on the first rank of each machine if what
    is fetched in advance does not fit.
    """
    share = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) / ranks
    windows = {name: demand.window_bytes(share) for name, demand in demands.items()}
    limit = loader.cache_gb * 1e9
    if sum(windows.values()) > limit:
        parts = ", ".join(f"heads.{name} {_gb(size)}" for name, size in windows.items() if size)
        raise UsageError(
            f"loader.cache_gb: {loader.cache_gb:g} is too small: the blocks from which batches are drawn take "
            f"{_gb(sum(windows.values()))} on each machine ({parts}); raise it, or use smaller windows or blocks"
        )
    needed = sum(demand.all_bytes(share) for demand in demands.values())
    if needed > limit and os.environ.get("LOCAL_RANK", "0") == "0":
        print(
            f"ovocr: loader.cache_gb: {loader.cache_gb:g} is less than the {_gb(needed)} of the blocks in use and of "
            "those fetched in advance, so some may be fetched twice; raise it, or lower loader.read_ahead",
            file=sys.stderr,
            flush=True,
        )


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"

"""Finds the rows of a table by their keys."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_EXAMPLES = 3
_HASHED_ROWS = 100_000  # rows that are Python strings at a time

_Counts = npt.NDArray[np.int64]


class KeyIndex:
    """The keys of a table's rows, in Arrow and numpy arrays. Memory: the keys, and 20 bytes per row.

    keys: the rows' keys in the table's order, in batches. A key may have several rows.
    """

    def __init__(self, keys: Sequence[pa.Array]) -> None:
        # In chunks: concatenating all keys would need a second copy.
        self._keys = pa.chunked_array(keys, pa.large_string())
        hashes = np.concatenate([_hash(batch) for batch in keys])
        # A stable sort keeps the rows of one key in the table's order.
        self._order = np.argsort(hashes, kind="stable").astype(np.uint32 if len(hashes) < 2**32 else np.uint64)
        self._hashes = hashes[self._order]

    def rows(self, key: str) -> Iterator[int]:
        """Yields the rows with this key, in the table's order."""
        wanted = hash(key)
        position = int(self._hashes.searchsorted(wanted))
        while position < len(self._hashes) and self._hashes[position] == wanted:
            row = int(self._order[position])
            if self._keys[row].as_py() == key:
                yield row
            position += 1

    def first(self) -> str:
        """Returns the key of the first row."""
        key: str = self._keys[0].as_py()
        return key

    def repeated(self) -> Iterator[tuple[str, list[int]]]:
        """Yields each key with several rows, and these rows in the table's order."""
        same = np.concatenate([[False], self._hashes[1:] == self._hashes[:-1], [False]])
        # A run of equal hashes begins before the first of its differences and ends after the last one.
        changes = np.flatnonzero(same[1:] != same[:-1])
        for start, stop in zip(changes[0::2].tolist(), (changes[1::2] + 1).tolist(), strict=True):
            rows: dict[str, list[int]] = {}
            for row in self._order[start:stop].tolist():
                rows.setdefault(self._keys[row].as_py(), []).append(row)
            yield from ((key, of_key) for key, of_key in rows.items() if len(of_key) > 1)

    def count(self, seen: Iterable[pa.Array]) -> tuple[int, int, list[str]]:
        """Returns the numbers of distinct keys and of keys in none of the arrays ``seen``, and the first of the latter.

        Compares 64-bit hashes: two of 20 million keys collide with a probability of 1 in 90,000.
        """
        is_first = np.ones(len(self._hashes), bool)
        is_first[1:] = self._hashes[1:] != self._hashes[:-1]
        unseen = is_first.copy()
        for keys in seen:
            hashes = np.unique(_hash(keys))
            positions = self._hashes.searchsorted(hashes)
            positions = positions[positions < len(self._hashes)]
            unseen[positions[np.isin(self._hashes[positions], hashes)]] = False
        rows = self._order[unseen]
        first = np.sort(np.partition(rows, _EXAMPLES)[:_EXAMPLES] if len(rows) > _EXAMPLES else rows)
        return int(is_first.sum()), len(rows), [self._keys[row].as_py() for row in first.tolist()]


def merge_repeats(keys: pa.Array, counts: _Counts) -> tuple[pa.Array, _Counts]:
    """Merges consecutive rows of one key, to save memory for tables with one item per row.

    counts: number of items of each row, int64 [len(keys)].
    """
    if not len(keys):
        return keys, counts
    is_first = np.ones(len(keys), bool)
    is_first[1:] = pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    if is_first.all():
        return keys, counts
    return keys.filter(pa.array(is_first)), np.add.reduceat(counts, np.flatnonzero(is_first))


def _hash(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Returns Python's hashes of texts, int64 [len(keys)]. They are valid in this process only."""
    hashes = np.empty(len(keys), np.int64)
    for start in range(0, len(keys), _HASHED_ROWS):
        part = keys[start : start + _HASHED_ROWS].to_pylist()
        hashes[start : start + len(part)] = [hash(key) for key in part]
    return hashes

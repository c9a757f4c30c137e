"""The best classes of an image over all its tiles.

Shapes: B tiles of a batch, K best classes of a tile.
"""

import numpy as np
from numpy.typing import NDArray


class BestWords:
    """Merges the best classes of tiles. The score of a class is the score of the tile in which it is highest.

    A class of the k best has fewer than k better ones in its best tile, so the k best of each tile are enough.

    scores, classes, tiles: score, class id and tile of each of the best classes so far, best first, each at most k. Of
        equal scores the first tile's is better.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._seen = 0
        self.scores = np.empty(0, np.float32)
        self.classes = np.empty(0, np.int64)
        self.tiles = np.empty(0, np.int64)

    def add(self, scores_BK: NDArray[np.float32], classes_BK: NDArray[np.int64]) -> None:
        """Adds the k best classes of the next tiles, best first."""
        tiles_B = self._seen + np.arange(len(scores_BK))
        self._seen += len(scores_BK)
        scores = np.concatenate([self.scores, scores_BK.ravel()])
        classes = np.concatenate([self.classes, classes_BK.ravel()])
        tiles = np.concatenate([self.tiles, tiles_B.repeat(scores_BK.shape[1])])
        order = np.argsort(-scores, kind="stable")
        _, first = np.unique(classes[order], return_index=True)
        best = order[np.sort(first)[: self._k]]
        self.scores, self.classes, self.tiles = scores[best], classes[best], tiles[best]

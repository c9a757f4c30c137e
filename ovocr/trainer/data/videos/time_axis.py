"""A video's time axis: virtual frames spread evenly over the real ones, and which of them a clip takes."""

import numpy as np
from numpy.typing import NDArray

from ovocr.trainer.data.hashing import mix, seed_key


def clip_times(frames: int, sampled_frames: int, *, seed: int, position: int | None) -> NDArray[np.int64]:
    """A clip's virtual frames, one of each of ``frames`` equal bins of consecutive ones: int64 [frames], ascending.

    sampled_frames: virtual frames of a video, numbered from 0; a multiple of ``frames``.
    position: of the sample in the course of a run; with the seed it decides what is drawn of each bin, by a hash of
        (seed, position, bin). None: the middle one of each bin (of an even number the later of the two).

    Raises ValueError for numbers that do not fit each other.
    """
    if frames < 1 or sampled_frames < 1 or sampled_frames % frames:
        raise ValueError(f"{sampled_frames} virtual frames cannot be put into {frames} equal bins")
    width = sampled_frames // frames
    bins = np.arange(frames, dtype=np.int64)
    if position is None:
        return bins * width + width // 2
    key = mix(seed_key(seed) ^ np.uint64(position))
    drawn = mix(key ^ bins.astype(np.uint64)) % np.uint64(width)
    return bins * width + drawn.astype(np.int64)


def real_frames(times: NDArray[np.int64], sampled_frames: int, count: int) -> NDArray[np.int64]:
    """The real frame, of ``count`` in the order they are shown, that stands at each virtual one: int64 like ``times``.

    Virtual frame 0 is the first real one, the last is the last, and v is v * (count - 1) / (sampled_frames - 1) to the
    nearest whole number, halves upwards; it is computed in integers. Of fewer real frames some stand several times.
    """
    steps = max(1, sampled_frames - 1)
    return (2 * times * (count - 1) + steps) // (2 * steps)

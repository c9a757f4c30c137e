"""A video's time axis: virtual frames spread evenly over the real ones, and the virtual frames of a clip."""

import numpy as np
from numpy.typing import NDArray

from ovocr.base.hashing import mix, seed_key


def clip_times(frames: int, sampled_frames: int, *, seed: int, position: int | None) -> NDArray[np.int64]:
    """Returns a clip's virtual frames, one from each of ``frames`` equal bins: int64 [frames], ascending.

    sampled_frames: virtual frames of a video, numbered from 0; a multiple of ``frames``.
    position: position of the sample in the run. The frame of each bin is drawn by a hash of (seed, position, bin). None
        selects the middle frame of each bin (the later one if the number is even).

    Raises ValueError if sampled_frames is not a multiple of frames.
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
    """Returns the real frame, out of ``count`` in the order shown, at each virtual frame: int64 like ``times``.

    Virtual frame v is at v * (count - 1) / (sampled_frames - 1), rounded to the nearest integer, halves upwards, in
    integer arithmetic: the first is the first real frame, the last the last. If there are fewer real frames, some
    repeat.
    """
    steps = max(1, sampled_frames - 1)
    return (2 * times * (count - 1) + steps) // (2 * steps)

"""Finds each frame of a video and the key frame to decode it from in the container's packets, without decoding."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from ovocr.trainer.data.images import DecodeError

# Larger videos are refused: their index alone needs tens of megabytes.
MAX_PACKETS = 1_000_000

_NO_TIME = np.iinfo(np.int64).min
_SHOWN_BIT_OF_VP8 = 0x10  # show_frame in the first byte of a frame (RFC 6386, section 9.1)


class Packets(NamedTuple):
    """The packets of a video stream in decoding order, int64 or bool [P].

    times: presentation time in units of the stream; the smallest int64 if the container does not give it.
    keys: whether decoding can start at the packet.
    shown: whether its frame is shown; an edit list may hide it.
    damaged: whether the packet is known to be incomplete.
    """

    times: NDArray[np.int64]
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    damaged: NDArray[np.bool_]


class FrameIndex(NamedTuple):
    """Frames in the order shown: each one's time, and the time of the key frame to decode from. int64 [N]."""

    times: NDArray[np.int64]
    starts: NDArray[np.int64]


def list_packets(packets: Iterable[Packet], codec: str) -> Packets:
    """Reads all packets of a stream. Raises DecodeError if there are too many."""
    times: list[int] = []
    keys: list[bool] = []
    shown: list[bool] = []
    damaged: list[bool] = []
    for packet in packets:
        if not packet.size:  # PyAV ends a stream with an empty packet
            continue
        if codec == "vp8" and not memoryview(packet)[0] & _SHOWN_BIT_OF_VP8:
            continue  # a reference frame, never shown
        if len(times) == MAX_PACKETS:
            raise DecodeError(f"a video of more than {MAX_PACKETS} frames")
        times.append(_NO_TIME if packet.pts is None else packet.pts)
        keys.append(packet.is_keyframe)
        shown.append(not packet.is_discard)
        damaged.append(packet.is_corrupt)
    return Packets(np.array(times, np.int64), *(np.array(flags, np.bool_) for flags in (keys, shown, damaged)))


def index_frames(packets: Packets) -> FrameIndex | None:
    """Returns the frames if their times are distinct and each has a key frame, else None: decode from the start.

    A frame is decoded from the last key frame before it in decoding order. If it is shown before that key frame (an
    open GOP, predicted from the previous one), it is decoded from the preceding key frame.
    """
    times, order = packets.times, np.arange(len(packets.times))
    if not packets.shown.any() or _NO_TIME in times or len(np.unique(times)) < len(times):
        return None
    last_key = np.maximum.accumulate(np.where(packets.keys, order, -1))
    previous_key = np.concatenate([[-1], last_key[:-1]])
    starts = np.where(times < times[last_key], previous_key[last_key], last_key)
    if (last_key < 0).any() or (starts < 0).any() or (times < times[starts]).any():
        return None
    by_time = np.argsort(times)
    by_time = by_time[packets.shown[by_time]]
    return FrameIndex(times[by_time], times[starts[by_time]])

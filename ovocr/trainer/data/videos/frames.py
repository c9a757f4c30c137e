"""Frames of a video file by their numbers, as a decoder that starts at the beginning shows them (PyAV, FFmpeg)."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.images import MAX_PIXELS, DecodeError, letterbox
from ovocr.trainer.data.videos.frame_index import FrameIndex, Packets, index_frames, list_packets
from ovocr.trainer.data.videos.time_axis import real_frames

# FFmpeg's readers that are let near a file. Others take pictures for videos, or open what a file names: playlists.
_FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
# Those that store of every frame when it is shown. In AVI, MPEG and others FFmpeg has to guess it, at times wrongly.
_TIMED_FORMATS = ("mov", "matroska")

Pictures = dict[int, NDArray[np.uint8]]


class _Video(NamedTuple):
    container: InputContainer
    stream: VideoStream


class _SeekingFailedError(Exception):
    """Decoding from a key frame did not show what it should; from the beginning is the way that always holds."""


def load_frames(path: Path, times: NDArray[np.int64], *, sampled_frames: int, size: int) -> NDArray[np.uint8]:
    """Decode the frames at these places of a video's time axis, upright and letterboxed.

    times: virtual frames, int64 [F], ascending, of ``sampled_frames`` that are spread over the video's real frames.
    size: side of the square, pixels.

    Returns uint8 [3, F, size, size], RGB. Pixels count as square; of several video streams the best by FFmpeg's
    judgement is taken. Decoding is on one thread, so that worker processes do not get into each other's way.

    Raises OvocrError, one line that names the file: DecodeError where it is no whole video of at most MAX_PIXELS a
    frame.
    """
    if not path.is_file():
        raise OvocrError(f"{path}: no such file")
    try:
        pictures, numbers = _load(path, times, sampled_frames, size)
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: a broken video, or cut short: {error.strerror}") from error
    return np.stack([pictures[number] for number in numbers], axis=1)


def _load(path: Path, times: NDArray[np.int64], sampled_frames: int, size: int) -> tuple[Pictures, list[int]]:
    """The letterboxed pictures by number of frame, and the numbers at the times."""
    with _opened(path) as video:
        packets = list_packets(video.container.demux(video.stream), video.stream.codec_context.name)
        _check_whole(video, packets)
        index = index_frames(packets)
        if index is not None and video.container.format.name.startswith(_TIMED_FORMATS):
            numbers = real_frames(times, sampled_frames, len(index.times)).tolist()
            try:
                return _decode_from_keys(video, index, numbers, size), numbers
            except (_SeekingFailedError, av.FFmpegError):
                pass  # what is broken in truth is so from the beginning, too
    count = int(packets.shown.sum())
    while True:  # at most twice: the second time by the true count
        numbers = real_frames(times, sampled_frames, count).tolist()
        pictures, found = _decode_in_sequence(path, set(numbers), size)
        if found == 0:
            raise DecodeError("a video without a frame")
        if found == count:
            return pictures, numbers
        count = found


@contextmanager
def _opened(path: Path) -> Iterator[_Video]:
    """The file and its video stream, before anything of it is decoded. Raises DecodeError where there is none."""
    limit = {"max_pixels": str(MAX_PIXELS)}  # for the decoders: a frame may be larger than the header says
    options = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "file", **limit}
    try:  # an absolute path: no text of a list is taken for a protocol of FFmpeg
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except PermissionError as error:
        raise OvocrError(f"{path}: cannot be read: {error.strerror}") from error
    except av.FFmpegError as error:
        raise DecodeError(
            f"not a video of a kind that is read here ({', '.join(_FORMATS)}), or a broken one"
        ) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise DecodeError("no video in it")  # sound, with the picture of a cover at most
        if stream.codec_context is None:
            raise DecodeError("a video of an unknown codec")
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise DecodeError(f"a video of {width} x {height} pixels: at most {MAX_PIXELS} are decoded")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = limit
        yield _Video(container, stream)


def _check_whole(video: _Video, packets: Packets) -> None:
    """Raises DecodeError where an mp4 or mov has not all of the packets that its header lists; others have no list."""
    if video.container.format.name.startswith("mov"):
        listed, found = len(video.stream.index_entries), len(packets.times)
        if found < listed:  # unless they are those of size 0, which are none
            listed = sum(entry.size > 0 for entry in video.stream.index_entries)
        if found < listed or packets.damaged.any():
            raise DecodeError(f"a video cut short: it has {found - packets.damaged.sum()} of {listed} frames")


def _decode_from_keys(video: _Video, index: FrameIndex, numbers: Iterable[int], size: int) -> Pictures:
    """Seek to each key frame that wanted frames are decoded from, and decode as far as the last of them.

    Raises _SeekingFailedError unless every frame comes out, at its time and undamaged.
    """
    pictures: Pictures = {}
    for start, group in itertools.groupby(sorted(set(numbers)), key=lambda number: int(index.starts[number])):
        video.container.seek(start, stream=video.stream)
        pending = list(group)
        for frame in _frames_from(video, start):
            due = int(index.times[pending[0]])
            if frame.pts is None or frame.pts > due or (frame.is_corrupt and frame.pts >= start):
                raise _SeekingFailedError
            if frame.pts == due:
                pictures[pending.pop(0)] = letterbox(_upright(frame), size)
            if not pending:
                break
        if pending:
            raise _SeekingFailedError
    return pictures


def _frames_from(video: _Video, start: int) -> Iterator[VideoFrame]:
    """Decode from the packet of this time on, wherever before it the container's seeking has led."""
    packets = video.container.demux(video.stream)
    for packet in itertools.dropwhile(lambda packet: packet.pts != start, packets):
        if packet.is_corrupt:
            raise _SeekingFailedError
        yield from packet.decode()


def _decode_in_sequence(path: Path, wanted: set[int], size: int) -> tuple[Pictures, int]:
    """Decode all of a video: the wanted pictures, as far as they are there, and the number of its frames."""
    pictures: Pictures = {}
    count = 0
    with _opened(path) as video:
        for frame in video.container.decode(video.stream):
            if frame.is_corrupt:
                raise DecodeError(f"a broken video, or cut short: frame {count} is damaged")
            if count in wanted:
                pictures[count] = letterbox(_upright(frame), size)
            count += 1
    return pictures, count


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """A frame as players show it, uint8 [H, W, 3], RGB: turned and mirrored as its display matrix says.

    The matrix (a, b, u; c, d, v; x, y, w) puts the stored pixel (p, q) at (a p + c q, b p + d q): ISO/IEC 14496-12,
    section 8.3.2. An angle in between is taken for the nearest quarter turn.
    """
    picture = np.asarray(frame.reformat(format="rgb24", threads=1).to_ndarray(), np.uint8)
    matrix = cast(Mapping[str, Any], frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, across, down = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])

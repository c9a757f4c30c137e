"""Decodes frames of a video file by number (PyAV, FFmpeg), equal to decoding the video from the start."""

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

# FFmpeg demuxers that are allowed. Others accept still images as videos, or open other files that a file names, such as
# playlists.
_FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
# Containers that store every frame's presentation time. For AVI, MPEG and others FFmpeg has to guess it, sometimes
# wrongly.
_TIMED_FORMATS = ("mov", "matroska")

Frames = dict[int, NDArray[np.uint8]]


class _Video(NamedTuple):
    container: InputContainer
    stream: VideoStream


class _SeekingFailedError(Exception):
    """Decoding from a key frame did not give the expected frame; decode from the start instead."""


def load_frames(path: Path, times: NDArray[np.int64], *, sampled_frames: int, size: int) -> NDArray[np.uint8]:
    """Decodes the frames at these positions of a video's time axis, upright and letterboxed.

    times: virtual frames, int64 [F], ascending, out of ``sampled_frames`` spread over the video's real frames.
    size: side of the square, pixels.

    Returns uint8 [3, F, size, size], RGB. Pixels are assumed square. If a file has several video streams, FFmpeg's best
    stream is used. Decoding uses one thread, so worker processes do not compete.

    Raises OvocrError, one line naming the file: DecodeError if it is not a complete video with at most MAX_PIXELS per
    frame.
    """
    if not path.is_file():
        raise OvocrError(f"{path}: no such file")
    try:
        frames, numbers = _load(path, times, sampled_frames, size)
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: a broken or truncated video: {error.strerror}") from error
    return np.stack([frames[number] for number in numbers], axis=1)


def _load(path: Path, times: NDArray[np.int64], sampled_frames: int, size: int) -> tuple[Frames, list[int]]:
    """Returns the letterboxed frames by number, and the frame numbers at the times."""
    with _open_video(path) as video:
        packets = list_packets(video.container.demux(video.stream), video.stream.codec_context.name)
        _check_whole(video, packets)
        index = index_frames(packets)
        if index is not None and video.container.format.name.startswith(_TIMED_FORMATS):
            numbers = real_frames(times, sampled_frames, len(index.times)).tolist()
            try:
                return _decode_from_keys(video, index, numbers, size), numbers
            except (_SeekingFailedError, av.FFmpegError):
                pass  # a real defect appears again from the start
    count = int(packets.shown.sum())
    while True:  # at most twice; the second time with the true count
        numbers = real_frames(times, sampled_frames, count).tolist()
        frames, found = _decode_in_sequence(path, set(numbers), size)
        if found == 0:
            raise DecodeError("a video without frames")
        if found == count:
            return frames, numbers
        count = found


@contextmanager
def _open_video(path: Path) -> Iterator[_Video]:
    """Opens the file and its video stream without decoding anything. Raises DecodeError if there is no video."""
    limit = {"max_pixels": str(MAX_PIXELS)}  # also limits the decoders: a frame may be larger than the header says
    options = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "file", **limit}
    try:  # an absolute path cannot be mistaken for a protocol of FFmpeg
        container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
    except PermissionError as error:
        raise OvocrError(f"{path}: cannot be read: {error.strerror}") from error
    except av.FFmpegError as error:
        raise DecodeError(f"not a video of a supported kind ({', '.join(_FORMATS)}), or a broken one") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise DecodeError("contains no video")  # audio, perhaps with a cover image
        if stream.codec_context is None:
            raise DecodeError("a video of an unknown codec")
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_PIXELS:
            raise DecodeError(f"a video of {width} x {height} pixels; the limit is {MAX_PIXELS}")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = limit
        yield _Video(container, stream)


def _check_whole(video: _Video, packets: Packets) -> None:
    """Raises DecodeError if an mp4 or mov lacks packets listed in its header; other containers have no list."""
    if video.container.format.name.startswith("mov"):
        listed, found = len(video.stream.index_entries), len(packets.times)
        if found < listed:  # packets of size 0 do not count
            listed = sum(entry.size > 0 for entry in video.stream.index_entries)
        if found < listed or packets.damaged.any():
            raise DecodeError(f"a truncated video: it has {found - packets.damaged.sum()} of {listed} frames")


def _decode_from_keys(video: _Video, index: FrameIndex, numbers: Iterable[int], size: int) -> Frames:
    """Seeks to each key frame that wanted frames depend on, and decodes up to the last of them.

    Raises _SeekingFailedError unless every frame is found, at its time and undamaged.
    """
    frames: Frames = {}
    for start, group in itertools.groupby(sorted(set(numbers)), key=lambda number: int(index.starts[number])):
        video.container.seek(start, stream=video.stream)
        pending = list(group)
        for frame in _frames_from(video, start):
            due = int(index.times[pending[0]])
            if frame.pts is None or frame.pts > due or (frame.is_corrupt and frame.pts >= start):
                raise _SeekingFailedError
            if frame.pts == due:
                frames[pending.pop(0)] = letterbox(_upright(frame), size)
            if not pending:
                break
        if pending:
            raise _SeekingFailedError
    return frames


def _frames_from(video: _Video, start: int) -> Iterator[VideoFrame]:
    """Yields decoded frames from the packet with this time on; seeking may have led to an earlier packet."""
    packets = video.container.demux(video.stream)
    for packet in itertools.dropwhile(lambda packet: packet.pts != start, packets):
        if packet.is_corrupt:
            raise _SeekingFailedError
        yield from packet.decode()


def _decode_in_sequence(path: Path, wanted: set[int], size: int) -> tuple[Frames, int]:
    """Decodes a whole video; returns the wanted frames that exist, and the number of all frames."""
    frames: Frames = {}
    count = 0
    with _open_video(path) as video:
        for frame in video.container.decode(video.stream):
            if frame.is_corrupt:
                raise DecodeError(f"a broken or truncated video: frame {count} is damaged")
            if count in wanted:
                frames[count] = letterbox(_upright(frame), size)
            count += 1
    return frames, count


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """Returns a frame as players show it, uint8 [H, W, 3], RGB: rotated and mirrored by its display matrix.

    The matrix (a, b, u; c, d, v; x, y, w) maps the stored pixel (p, q) to (a p + c q, b p + d q): ISO/IEC 14496-12,
    section 8.3.2. Other angles are rounded to a quarter turn.
    """
    image = np.asarray(frame.reformat(format="rgb24", threads=1).to_ndarray(), np.uint8)
    matrix = cast(Mapping[str, Any], frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, across, down = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])

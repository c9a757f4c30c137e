"""Clips of real videos: the right frames of every kind of file, drawn by position; one-line errors otherwise."""

import re
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.images import GROUND_RGB, DecodeError, letterbox
from ovocr.trainer.data.videos.time_axis import clip_times, real_frames

av = pytest.importorskip("av", reason="PyAV is not installed")
from ovocr.trainer.data.videos import frame_index, frames  # noqa: E402
from ovocr.trainer.data.videos.frames import load_frames  # noqa: E402

Maker = Callable[..., Path]
Image = NDArray[np.uint8]
MIDDLES = clip_times(8, 64, seed=0, position=None)


def number_of(image: Image) -> int:
    """Returns the number encoded by the bars of a letterboxed frame [3, S, S]."""
    size = image.shape[1]
    bars = image[0, size // 2, size // 16 :: size // 8]
    return int(((bars > 120) << np.arange(8)).sum())


def numbers_of(clip: Image) -> list[int]:
    return [number_of(clip[:, frame]) for frame in range(clip.shape[1])]


def load(path: Path, times: NDArray[np.int64] = MIDDLES, sampled_frames: int = 64, size: int = 64) -> Image:
    return load_frames(path, times, sampled_frames=sampled_frames, size=size)


# ---- the time axis ----


def test_one_virtual_frame_is_drawn_from_each_bin() -> None:
    assert MIDDLES.tolist() == [4, 12, 20, 28, 36, 44, 52, 60]
    assert clip_times(4, 12, seed=3, position=None).tolist() == [1, 4, 7, 10]
    drawn = np.stack([clip_times(8, 64, seed=5, position=position) for position in range(4000)])
    assert drawn.dtype == np.int64
    assert (drawn // 8 == np.arange(8)).all()
    counts = np.stack([np.bincount(drawn[:, b] % 8, minlength=8) for b in range(8)])
    assert ((counts - 500) ** 2 / 500).sum() < 110  # chi-square with 56 degrees of freedom: 2 in 100,000 exceed this
    assert np.unique(drawn, axis=0).shape[0] > 3990
    assert clip_times(8, 64, seed=5, position=17).tolist() == drawn[17].tolist()
    assert clip_times(8, 64, seed=6, position=17).tolist() != drawn[17].tolist()
    assert clip_times(64, 64, seed=5, position=9).tolist() == list(range(64))


def test_draws_never_change_between_releases() -> None:
    assert clip_times(8, 64, seed=0, position=0).tolist() == [1, 8, 22, 27, 33, 44, 53, 60]
    assert clip_times(8, 64, seed=-1, position=2**40).tolist() == [7, 15, 20, 31, 38, 41, 51, 59]


def test_unequal_bins_raise() -> None:
    with pytest.raises(ValueError, match="64 virtual frames cannot be put into 7 equal bins"):
        clip_times(7, 64, seed=0, position=0)


@pytest.mark.parametrize("count", [1, 2, 5, 63, 64, 65, 100, 1_000_000])
def test_virtual_frames_are_spread_evenly_over_the_real_ones(count: int) -> None:
    frames = real_frames(np.arange(64), 64, count)
    assert frames.tolist() == [int(v * (count - 1) / 63 + 0.5) for v in range(64)]
    assert (frames[0], frames[-1]) == (0, count - 1)
    assert set(frames.tolist()) == set(range(count)) or count > 64
    assert real_frames(np.arange(1), 1, count).tolist() == [0]


# ---- the frames ----


def textured(number: int, size: tuple[int, int]) -> Image:
    """Returns moving texture with a cut every 30 frames, which encoders predict from other frames."""
    width, height = size
    ground = np.random.default_rng(number // 30).integers(0, 256, (height + 60, width + 60, 3), np.uint8)
    shift = number % 30
    return np.ascontiguousarray(cv2.GaussianBlur(ground, (0, 0), 2)[shift : shift + height, 2 * shift :][:, :width])


# File name, encoder, its options, and whether frames are found by seeking.
KINDS = [
    ("b.mp4", "libx264", {"bf": "3"}, True),
    ("b.mkv", "libx264", {"bf": "3"}, True),
    ("open.mp4", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=12"}, True),
    ("open.mkv", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=12"}, True),
    ("hevc.mp4", "libx265", {"x265-params": "open-gop=1:bframes=4:keyint=12:log-level=none"}, True),
    ("refresh.mp4", "libx264", {"x264-params": "intra-refresh=1:bframes=0:keyint=24"}, False),
    ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}, True),
    ("vp9.webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}, True),
    ("mpeg4.mp4", "mpeg4", {"bf": "2"}, True),
    ("b.avi", "libx264", {"bf": "3"}, False),
    ("b.mpg", "mpeg2video", {"bf": "2"}, False),
    ("b.ts", "libx264", {"bf": "3"}, False),
]


@pytest.mark.parametrize(("name", "codec", "options", "seeks"), KINDS, ids=[kind[0] for kind in KINDS])
def test_every_frame_equals_sequential_decoding(
    make_video: Maker,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    codec: str,
    options: dict[str, str],
    seeks: bool,
) -> None:
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"FFmpeg has no encoder {codec}")
    path = make_video(name, frames=70, codec=codec, options=options, paint=textured)
    with av.open(str(path)) as container:
        expected = [letterbox(frame.to_ndarray(format="rgb24"), 64) for frame in container.decode(video=0)]
    assert len(expected) == 70
    in_sequence = []
    decode = frames._decode_in_sequence
    monkeypatch.setattr(frames, "_decode_in_sequence", lambda *arguments: in_sequence.append(1) or decode(*arguments))
    for number in range(70):
        assert np.array_equal(load(path, np.array([number]), 70)[:, 0], expected[number]), number
    for position in range(5):
        times = clip_times(8, 64, seed=0, position=position)
        wanted = np.stack([expected[number] for number in real_frames(times, 64, 70)], axis=1)
        assert np.array_equal(load(path, times), wanted)
    assert bool(in_sequence) != seeks


def test_clip_has_the_frames_at_its_times(make_video: Maker) -> None:
    clip = load(make_video("a.mp4", frames=200))
    assert clip.shape == (3, 8, 64, 64)
    assert clip.dtype == np.uint8
    assert numbers_of(clip) == real_frames(MIDDLES, 64, 200).tolist() == [13, 38, 63, 88, 114, 139, 164, 190]


@pytest.mark.parametrize(("frames", "numbers"), [(1, [0] * 8), (3, [0, 0, 1, 1, 1, 1, 2, 2]), (64, MIDDLES.tolist())])
def test_short_videos_repeat_frames(make_video: Maker, frames: int, numbers: list[int]) -> None:
    assert numbers_of(load(make_video("a.mp4", frames=frames))) == numbers


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_are_counted_regardless_of_their_times(make_video: Maker, name: str) -> None:
    """A variable frame rate, and with mkv a container that does not store the number of frames."""
    steps = np.random.default_rng(1).integers(10, 400, 150)
    path = make_video(name, frames=150, times_ms=np.cumsum(steps).tolist(), fps=1000)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == (150 if name == "a.mp4" else 0)
    assert numbers_of(load(path, np.arange(0, 150, 7), 150)) == list(range(0, 150, 7))


def test_frames_cut_off_by_an_edit_list_do_not_count(make_video: Maker, tmp_path: Path) -> None:
    """Cut without re-encoding inside a group of frames: the frames before the cut exist but are not shown."""
    whole, part = make_video("whole.mp4", frames=60, options={"bf": "0"}), tmp_path / "part.mp4"
    with av.open(str(whole)) as source, av.open(str(part), "w", options={"avoid_negative_ts": "disabled"}) as target:
        old = source.streams.video[0]
        new = target.add_stream_from_template(old)
        for packet in source.demux(old):
            if packet.size:
                shift = int(5 / 25 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, new
                target.mux(packet)
    with av.open(str(part)) as container:
        shown = len(list(container.decode(video=0)))
    assert shown == 55
    assert numbers_of(load(part, np.arange(55), 55)) == list(range(5, 60))


def test_decoding_corrects_a_wrong_packet_count(make_video: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video("a.avi", frames=40, codec="mpeg4")
    real = frame_index.list_packets

    def one_too_many(*arguments: object) -> frame_index.Packets:
        return frame_index.Packets(*(np.append(column, column[-1]) for column in real(*arguments)))

    monkeypatch.setattr(frames, "list_packets", one_too_many)
    assert numbers_of(load(path, np.arange(40), 40)) == list(range(40))


@pytest.mark.parametrize("size", [(64, 36), (36, 64), (50, 50)])
def test_frames_are_letterboxed_and_not_mirrored(make_video: Maker, size: tuple[int, int]) -> None:
    def corner(number: int, size: tuple[int, int]) -> Image:
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[: size[1] // 4, : size[0] // 4] = 255
        return image

    frame = load(make_video("a.mp4", frames=4, size=size, paint=corner))[:, 3].transpose(1, 2, 0).astype(int)
    width, height = (round(side * 64 / max(size)) for side in size)
    left, top = (64 - width) // 2, (64 - height) // 2
    inner = frame[top : top + height, left : left + width, 0].copy()
    assert inner[2, 2] > 230
    assert max(inner[2, -3], inner[-3, 2], inner[-3, -3]) < 25
    frame[top : top + height, left : left + width] = GROUND_RGB
    assert (frame == GROUND_RGB).all()


# The display matrix in a file (a, b, c, d), and the corner at which the stored frame's top left corner is shown.
DISPLAY_MATRICES = [
    ((1, 0, 0, 1), (0, 0)),
    ((0, 1, -1, 0), (0, -1)),
    ((-1, 0, 0, -1), (-1, -1)),
    ((0, -1, 1, 0), (-1, 0)),
    ((-1, 0, 0, 1), (0, -1)),
    ((1, 0, 0, -1), (-1, 0)),
    ((0, 1, 1, 0), (0, 0)),
    ((0, -1, -1, 0), (-1, -1)),
]


@pytest.mark.parametrize(("matrix", "corner"), DISPLAY_MATRICES)
def test_frames_are_oriented_by_the_display_matrix(
    make_video: Maker, matrix: tuple[int, int, int, int], corner: tuple[int, int]
) -> None:
    def marked(number: int, size: tuple[int, int]) -> Image:
        image = np.full((size[1], size[0], 3), 128, np.uint8)
        image[:16, :16] = 255
        return image

    path = make_video("a.mp4", frames=3, size=(64, 32), paint=marked)
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    frame = load(path)[0, 4].astype(int)
    inner = frame[16:48] if matrix[0] else frame[:, 16:48]
    row, column = corner
    ends = {(y, x): inner[7 if y == 0 else -8, 7 if x == 0 else -8] for y in (0, -1) for x in (0, -1)}
    assert ends.pop((row, column)) > 230
    assert all(abs(value - 128) < 10 for value in ends.values())


def test_size_change_within_a_video(make_video: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grows.webm"
    parts = [make_video(f"{width}.webm", frames=20, size=(width, width), codec="libvpx-vp9") for width in (64, 128)]
    with av.open(str(path), "w") as target:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                stream = stream or target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + 800 * number
                        packet.stream = stream
                        target.mux(packet)
    assert numbers_of(load(path, np.arange(40), 40)) == [*range(20), *range(20)]
    monkeypatch.setattr(frames, "MAX_PIXELS", 100 * 100)
    with pytest.raises(DecodeError, match=r"grows.webm: a broken or truncated video: "):
        load(path)


# ---- invalid files ----


def jpeg() -> bytes:
    return cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no video" * 1000,
        jpeg(),
        b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile a.mp4\n",
    ],
    ids=["empty", "text", "jpeg", "playlist", "concat"],
)
def test_files_of_other_formats_raise(tmp_path: Path, make_video: Maker, data: bytes) -> None:
    make_video("a.mp4", frames=3)
    path = tmp_path / "b.mp4"
    path.write_bytes(data)
    with pytest.raises(DecodeError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: not a video of a supported kind (mov, matroska, avi, mpegts, mpeg, flv, asf, ogg), or a broken one"
    )


def test_audio_without_video_raises(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DecodeError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: contains no video"


def test_missing_files_and_folders_raise(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.mp4", Path("/dev/zero"), tmp_path / "a\0.mp4"):
        with pytest.raises(OvocrError, match="no such file"):
            load(path)


def test_truncated_video_raises(make_video: Maker) -> None:
    path = make_video("a.mp4", frames=100, paint=textured)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match="a.mp4: not a video of a supported kind .* or a broken one"):
        load(path)
    front = make_video("front.mp4", frames=100, paint=textured)
    faststart = {"movflags": "faststart"}
    with av.open(str(front)) as source, av.open(str(path), "w", options=faststart) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    whole = path.read_bytes()
    assert whole.index(b"moov") < whole.index(b"mdat")
    path.write_bytes(whole[:-1])
    with pytest.raises(DecodeError, match="a.mp4: a truncated video: it has 99 of 100 frames"):
        load(path)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DecodeError) as caught:
        load(path)
    assert re.fullmatch(rf"{path}: a truncated video: it has [4-9]\d of 100 frames", str(caught.value))


@pytest.mark.parametrize("every", [7, 97, 800])
def test_damaged_video_raises(make_video: Maker, capfd: pytest.CaptureFixture[str], every: int) -> None:
    path = make_video("a.mp4", frames=100, paint=textured)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 1500, data.index(b"moov") - 100
    for at in range(start, end, every):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"a.mp4: a broken or truncated video: "):
        load(path)
    assert capfd.readouterr() == ("", "")


def test_too_large_frames_and_too_many_packets_raise(make_video: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video("a.mp4", frames=11)
    monkeypatch.setattr(frame_index, "MAX_PACKETS", 11)
    load(path)
    monkeypatch.setattr(frame_index, "MAX_PACKETS", 10)
    with pytest.raises(DecodeError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: a video of more than 10 frames"
    monkeypatch.setattr(frames, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(DecodeError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: a video of 64 x 48 pixels; the limit is 3071"

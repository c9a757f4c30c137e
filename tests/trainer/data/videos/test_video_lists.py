"""Lists of videos: their lines, errors, and batches independent of workers and ranks."""

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.trainer.data.loader import Batch, build_loader
from ovocr.trainer.data.mixing import ShuffledList
from ovocr.trainer.data.videos import list_lines, video_lists
from ovocr.trainer.data.videos.list_lines import ListLines
from ovocr.trainer.data.videos.time_axis import clip_times
from ovocr.trainer.data.videos.video_lists import VideoSamples, parse_line

pytest.importorskip("av", reason="PyAV is not installed")

Maker = Callable[..., Path]
CLASSES = {"labels_stored": 2, "num_classes": 10}


def write_list(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture
def videos_list(tmp_path: Path, make_video: Maker) -> Path:
    """Writes a list of five videos of 20 to 60 frames."""
    for number in range(5):
        make_video(f"clips/{number}.mp4", frames=20 + 10 * number, key_every=5)
    return write_list(tmp_path / "list.txt", "".join(f"clips/{number}.mp4 {number} 9\n" for number in range(5)))


# ---- lines ----


@pytest.mark.parametrize(
    ("line", "path", "ids"),
    [
        ("a.mp4 1 22 333", "a.mp4", [1, 22, 333]),
        ("  my clips/take 2.mp4  7   8 ", "my clips/take 2.mp4", [7, 8]),
        ("take 2 of 3\t7 8\t9", "take 2 of 3", [7, 8, 9]),
        ("猫 の動画.mp4 5", "猫 の動画.mp4", [5]),
        ("a.mp4 -1", "a.mp4", [-1]),
        ("a.mp4", "a.mp4", []),
        ("a.mp4 3 x", "a.mp4 3 x", []),
        ("a.mp4\t", "a.mp4", []),
    ],
)
def test_line_is_a_path_and_ids(line: str, path: str, ids: list[int]) -> None:
    assert parse_line(line.encode()) == (path, ids)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1 2 3", "no path before the class ids"),
        (b" \t1 2", "no path before the class ids"),
        (b"a.mp4\t1 x", "'x' is not a class id"),
        (b"a.mp4\t1 2.5", "'2.5' is not a class id"),
        (b"a.mp4 " + b"1" * 5000, "'1{5000}' is not a class id"),
        (b"a\xff.mp4 1", "not UTF-8 text: byte 1 of the line"),
    ],
)
def test_error_describes_an_invalid_line(line: bytes, message: str) -> None:
    with pytest.raises(OvocrError, match=message):
        parse_line(line)


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 23])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_found_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, end: str) -> None:
    monkeypatch.setattr(list_lines, "_CHUNK", chunk)
    monkeypatch.setattr(list_lines, "_STRIDE", 4)
    rng = np.random.default_rng(0)
    lines = [["", "   ", "# comment", " a", "b" * 50, f"line {n}"][rng.integers(6)] for n in range(300)]
    path = write_list(tmp_path / "list.txt", "\ufeff" + end.join(lines))
    expected = [(n, line.encode()) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    found = ListLines(path)
    assert len(found) == len(expected)
    assert list(found) == [found[n] for n in range(len(found))] == expected
    with pytest.raises(IndexError):
        found[len(found)]


def test_pickled_list_contains_no_text(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.txt", "some/video/of/some/name.mp4 1 2\n" * 100_000)
    samples = VideoSamples([path], **CLASSES)
    samples.name(5)
    data = pickle.dumps(samples)
    assert len(data) < 30_000 < path.stat().st_size / 100
    again = pickle.loads(data)
    assert again.name(99_999) == f"{path}:100000 (some/video/of/some/name.mp4)"
    path.write_text("another.mp4 1 2\n")
    with pytest.raises(OvocrError, match="list.txt: changed since the start; start the command again"):
        pickle.loads(data).name(0)


# ---- samples ----


def test_samples_follow_lists_in_order(videos_list: Path, make_video: Maker, tmp_path: Path) -> None:
    elsewhere = make_video("elsewhere/a b 1.mp4", frames=30)
    (tmp_path / "other").mkdir()
    text = f"# absolute, then relative\n\n{elsewhere}\t3 4 5\n../clips/0.mp4 6 7 8\n"
    other = write_list(tmp_path / "other" / "list.tsv", text)
    samples = VideoSamples([videos_list, str(other)], **CLASSES, label_select=0, image_size=32)
    assert (len(samples), samples.parts, samples.vocabulary_path) == (7, [5, 2], None)
    assert samples.name(4) == f"{videos_list}:5 (clips/4.mp4)"
    assert samples.name(5) == f"{other}:3 ({elsewhere})"
    pixels, labels, times, _ = samples.load(6)
    assert (pixels.shape, pixels.dtype) == ((3, 8, 32, 32), np.uint8)
    assert (labels.tolist(), labels.dtype) == ([6, 7], np.int64)
    assert times is not None
    assert times.tolist() == [4, 12, 20, 28, 36, 44, 52, 60]
    assert np.array_equal(pixels, samples.load(0).pixels)
    assert samples.class_counts().tolist() == [1, 1, 1, 2, 2, 0, 1, 1, 0, 5]
    assert (samples.class_counts(0, 2) + samples.class_counts(1, 2)).tolist() == [1, 1, 1, 2, 2, 0, 1, 1, 0, 5]
    assert samples.image_keys() == [*(f"clips/{number}.mp4" for number in range(5)), str(elsewhere), "../clips/0.mp4"]
    for index in (7, -1):
        with pytest.raises(IndexError, match="of 7"):
            samples.load(index)


def test_clips_are_drawn_by_seed_and_position(videos_list: Path) -> None:
    samples = VideoSamples([videos_list], **CLASSES, image_size=32, frames=4, sampled_frames=32, seed=3)
    sample = samples.load(4, 17)
    assert sample.times is not None
    assert sample.times.tolist() == clip_times(4, 32, seed=3, position=17).tolist()
    assert np.array_equal(sample.pixels, samples.load(4, 17).pixels)
    assert not np.array_equal(sample.pixels, samples.load(4, 18).pixels)


def test_every_used_class_of_a_video_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_lists, "_COUNT_CHUNK", 3)
    path = write_list(tmp_path / "list.txt", "".join(f"a.mp4 8 {n % 5} {n % 5} 9\n" for n in range(20)))
    assert VideoSamples([path], **CLASSES, label_select=1).class_counts().tolist() == [4] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "list.txt: no such file"),
        ("", "list.txt: an empty file"),
        ("\n# nothing\n \n", "list.txt: contains only blank lines and comments"),
        ("#\na.mp4 1\n", "list.txt:2: has 1 class id, but ids 0 to 1 are needed; see label_select and labels_stored"),
        ("a.mp4 1 10\n", "list.txt:1: 10 is not a class; class ids are 0 to 9"),
        ("a.mp4 -1 1\n", "list.txt:1: -1 is not a class; class ids are 0 to 9"),
        ("1 2\n", "list.txt:1: no path before the class ids"),
    ],
)
def test_invalid_list_raises_at_the_start(tmp_path: Path, text: str | None, message: str) -> None:
    good = write_list(tmp_path / "good.txt", "a.mp4 1 2\n")
    path = tmp_path / "list.txt"
    if text is not None:
        write_list(path, text)
    with pytest.raises(OvocrError) as caught:
        VideoSamples([good, path], **CLASSES)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_no_lists_raise() -> None:
    with pytest.raises(OvocrError, match="no lists of videos: at least one is needed"):
        VideoSamples([], **CLASSES)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"a.mp4 1 99", "99 is not a class; class ids are 0 to 9"),
        (b"a.mp4 1", "has 1 class id, but ids 0 to 1 are needed; see label_select and labels_stored"),
        (b"\t1 2", "no path before the class ids"),
        (b"\xff\xfe.mp4 1 2", "not UTF-8 text: byte 0 of the line"),
        (b"gone.mp4 1 2", "{0}/gone.mp4: no such file"),
        (b"list.txt 1 2", "{0}/list.txt: not a video of a supported kind (mov, matroska"),
    ],
)
def test_error_on_reading_names_list_and_line(videos_list: Path, line: bytes, message: str) -> None:
    videos_list.write_bytes(b"# first\n" + videos_list.read_bytes() + line)
    samples = VideoSamples([videos_list], **CLASSES)
    with pytest.raises(OvocrError) as caught:
        samples.load(5)
    assert str(caught.value).startswith(f"{videos_list}:7: {message.format(videos_list.parent)}")
    assert samples.name(5).startswith(f"{videos_list}:7")


def test_missing_pyav_names_the_extra(videos_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_lists, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        VideoSamples([videos_list], **CLASSES)
    assert str(caught.value) == (
        "reading videos needs packages that are not installed; "
        "install the extra \"video\": pip install '.[video]' in a checkout of ovocr"
    )


# ---- loader ----


def batches_of(path: Path, *, rank: int = 0, world: int = 1, workers: int = 0) -> list[Batch]:
    samples = VideoSamples([path], **CLASSES, image_size=32, seed=5)
    options = {"pass_batch": 3, "rank": rank, "world": world, "passes": range(1, 5), "workers": workers, "prefetch": 2}
    return list(build_loader(samples, ShuffledList(len(samples), 5), **options))


def assert_same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_workers_and_ranks_do_not_change_samples(videos_list: Path) -> None:
    batches = batches_of(videos_list)
    assert batches[0].pixels.shape == (3, 3, 8, 32, 32)
    assert batches[0].times is not None
    assert batches[0].times.tolist() == [
        clip_times(8, 64, seed=5, position=position).tolist() for position in range(3, 6)
    ]
    assert_same(batches, batches_of(videos_list, workers=2))
    assert multiprocessing.active_children() == []
    ranks = [batches_of(videos_list, rank=rank, world=2) for rank in range(2)]
    assert_same(
        [
            Batch(*(torch.cat(part) for part in zip(*(batch[:4] for batch in parts), strict=True)))
            for parts in zip(*ranks, strict=True)
        ],
        batches,
    )


def test_spawned_workers_read_the_same_samples(videos_list: Path) -> None:
    samples = VideoSamples([videos_list], **CLASSES, image_size=32)
    local = samples.load(3, 4)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        remote = pool.apply(samples.load, (3, 4))
    assert all(np.array_equal(x, y) for x, y in zip(local, remote, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_video_is_skipped_and_named(videos_list: Path, workers: int) -> None:
    video = videos_list.parent / "clips" / "3.mp4"
    video.write_bytes(b"no video")
    reasons = {reason for batch in batches_of(videos_list, workers=workers) for reason in batch.skipped}
    (reason,) = reasons
    assert reason.startswith(f"{videos_list}:4: {video}: not a video of a supported kind")
    assert multiprocessing.active_children() == []

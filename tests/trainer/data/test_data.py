"""From shards to batches: records, whole images, and batches independent of workers and ranks."""

import json
import multiprocessing
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.dataset.access import disk_records
from ovocr.dataset.layout import OldFormatError
from ovocr.trainer.data import images
from ovocr.trainer.data.images import DecodeError, decode, encoded_size, letterbox, load_image, normalise
from ovocr.trainer.data.loader import Batch, PassLoader, build_loader
from ovocr.trainer.data.mixing import ShuffledList
from ovocr.trainer.data.order import sample_index
from ovocr.trainer.data.records import RecordSamples
from tests.old_format import make_old
from tests.trainer.placed_words import BOXES, flat, write_placed

Maker = Callable[..., Path]
Image = NDArray[np.uint8]


def encoded(image: Image, ending: str = ".jpg", *options: int) -> bytes:
    """Encodes RGB pixels; JPEG with the best quality and full colour resolution."""
    if ending == ".jpg":
        options = (cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111, *options)
    done, data = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert done
    return data.tobytes()


def plain(height: int, width: int, colour: tuple[int, int, int] = (200, 40, 90)) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


# ---- records ----


def test_samples_follow_shards_and_data_sets_in_order(make_data_set: Maker) -> None:
    first, second = make_data_set("first", [3, 0, 2]), make_data_set("second", [4], first_colour=100)
    samples = RecordSamples([first, second], labels_stored=4, label_select=2, num_classes=50)
    assert len(samples) == 9
    image, labels = samples[4]
    assert labels.dtype == np.int64
    assert labels.tolist() == [6, 7, 8, 9]
    assert abs(int(decode(image)[0, 0, 0]) - 12) <= 1
    assert abs(int(decode(samples[5][0])[0, 0, 0]) - 100) <= 1
    assert samples.name(4) == f"{first}/rec/00002.rec id 1 (1.jpg of source2.tar)"
    assert samples.name(8) == f"{second}/rec/00000.rec id 3 (3.jpg of source0.tar)"
    assert samples.vocabulary_path == first / "vocab.txt"
    for index in (9, -1):
        with pytest.raises(IndexError, match="of 9"):
            samples[index]


def test_name_contains_the_source_image(make_data_set: Maker) -> None:
    root = make_data_set("set", [2])
    rows = [
        {"source": "pages.tar", "key": "dropped.jpg", "record_id": None, "tags": []},
        {"source": "pages.tar", "key": "a/first.jpg", "record_id": 0, "tags": [{"id": 0}]},
        {"source": "pages.tar", "key": "a/second.jpg", "record_id": 1, "tags": [{"id": 1}]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "records" / "00000.parquet")
    samples = RecordSamples([root], labels_stored=10, num_classes=50)
    assert samples.name(1) == f"{root}/rec/00000.rec id 1 (a/second.jpg of pages.tar)"


def test_image_keys_follow_the_samples(make_data_set: Maker, tmp_path: Path) -> None:
    roots = [make_data_set("a", [3, 2]), make_data_set("b", [1])]
    samples = RecordSamples(roots, labels_stored=10, num_classes=50)
    assert samples.image_keys() == ["0.jpg", "1.jpg", "2.jpg", "0.jpg", "1.jpg", "0.jpg"]
    # Rows of images without a record have no sample.
    placed = write_placed(tmp_path / "placed", [(encoded(plain(240, 240)), [0], [flat(BOXES[0])])] * 2)
    assert RecordSamples([placed], labels_stored=1, num_classes=9).image_keys() == ["0.png", "1.png"]


def test_image_keys_of_other_records_raise(make_data_set: Maker) -> None:
    root = make_data_set("a", [3])
    samples = RecordSamples([root], labels_stored=10, num_classes=50)
    path = root / "records" / "00000.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(OvocrError, match=rf"^{path}: has other record ids than its .rec; run `ovocr verify`$"):
        samples.image_keys()


def test_every_data_set_is_checked_at_the_start(make_data_set: Maker) -> None:
    first, second = make_data_set("first", [3]), make_data_set("second", [0, 2], tags=4)
    with pytest.raises(
        OvocrError,
        match=r"second/rec/00001.rec id 0 \(0.jpg of source1.tar\): 4 slots, but label_select and labels_stored select "
        r"slots 0 to 9",
    ):
        RecordSamples([first, second], labels_stored=10, num_classes=50)


def test_samples_can_be_pickled_after_use(make_data_set: Maker) -> None:
    samples = RecordSamples([make_data_set("set", [2])], labels_stored=10, num_classes=50)
    again = pickle.loads(pickle.dumps(samples))
    assert again[1][0] == samples[1][0]


def test_more_shards_than_open_files(make_data_set: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_records, "_MAX_OPEN_FILES", 2)
    root = make_data_set("set", [1] * 5)
    samples = RecordSamples([root], labels_stored=1, num_classes=50)
    open_files = []
    for index in (0, 1, 2, 3, 4, 2, 0):
        assert samples[index][1].tolist() == [index]
        links = [path for path in Path("/proc/self/fd").iterdir() if path.exists()]
        open_files.append(sum(str(root) in str(path.resolve()) for path in links))
    assert max(open_files) == 2


def test_unfinished_data_set_raises(make_data_set: Maker) -> None:
    root = make_data_set("set", [2, 2, 2], finished=1)
    with pytest.raises(OvocrError) as caught:
        RecordSamples([root], labels_stored=10, num_classes=50)
    assert str(caught.value) == f"{root}: only 1 of 3 shards are finished; finish it with `ovocr build-labels`"


def test_vocabulary_that_differs_from_the_manifest_raises(make_data_set: Maker) -> None:
    root = make_data_set("swapped", [1])
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "vocabulary": {"size": 50, "sha256": "0" * 64}}))
    with pytest.raises(OvocrError, match=r"vocab.txt: does not match manifest.json"):
        RecordSamples([root], labels_stored=10, num_classes=50)


def test_data_sets_with_two_vocabularies_raise(make_data_set: Maker) -> None:
    first, second = make_data_set("first", [1]), make_data_set("second", [1], words=["a", "b"])
    with pytest.raises(OvocrError) as caught:
        RecordSamples([first, second], labels_stored=10, num_classes=50)
    assert str(caught.value) == (
        f"{second}: has a different vocabulary than {first}; "
        "use one head per data set, or relabel one with the vocab.txt of the other"
    )


def test_too_few_tags_raise_at_the_start(make_data_set: Maker) -> None:
    root = make_data_set("set", [1], tags=10)
    with pytest.raises(OvocrError) as caught:
        RecordSamples([root], labels_stored=8, label_select=3, num_classes=50)
    assert str(caught.value) == (
        f"{root}/rec/00000.rec id 0 (0.jpg of source0.tar): 10 slots, but label_select and labels_stored select "
        "slots 3 to 10"
    )


def test_ranks_share_the_counting_of_classes(make_data_set: Maker) -> None:
    root = make_data_set("set", [9, 8, 2], tags=3)
    samples = RecordSamples([root], labels_stored=3, num_classes=50)
    shares = [samples.class_counts(rank, 2) for rank in range(2)]
    assert [share.tolist() for share in shares] == [
        [1, 2, *[3] * 7, 2, 1, *[0] * 6, 1, 2, 2, 1],  # images 0 to 8, 17 and 18
        [*[0] * 9, 1, 2, *[3] * 6, 2, 1],  # images 9 to 16
    ]
    assert samples.class_counts(4, 5).tolist() == []


def test_packed_data_set_of_format_2_is_read_and_a_labelled_one_is_refused(make_data_set: Maker) -> None:
    packed = make_old(make_data_set("numbers", [3], words=None), rows=False).root
    samples = RecordSamples([packed], labels_stored=10, num_classes=50)
    assert samples[2][1].tolist() == list(range(2, 12))
    assert samples.class_counts()[:4].tolist() == [1, 2, 3, 3]
    with pytest.raises(OldFormatError, match="/set: format 2; make a data set of format 3 from its stored text"):
        RecordSamples([make_old(make_data_set("set", [3]), rows=False).root], labels_stored=10, num_classes=50)


def test_error_of_an_invalid_tag_names_its_record(make_data_set: Maker) -> None:
    root = make_data_set("set", [30], tags=10)
    samples = RecordSamples([root], labels_stored=10, num_classes=20)
    assert samples[10][1].max() == 19
    with pytest.raises(OvocrError) as caught:
        samples[11]
    assert (
        str(caught.value)
        == f"{root}/rec/00000.rec id 11 (11.jpg of source0.tar): tag 20 is not a class id from 0 to 19"
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "vocab.txt").unlink(), "vocab.txt: cannot be read: No such file or directory"),
        (lambda root: (root / "manifest.json").unlink(), "not a labelled data set"),
        (
            lambda root: (root / "manifest.json").write_text("{}"),
            "manifest.json: format None; this version of ovocr reads format 3",
        ),
        (lambda root: (root / "rec" / "00000.idx").unlink(), "00000.idx: no such file"),
        (lambda root: (root / "rec" / "00000.rec").write_bytes(b""), "00000.rec that has 0 bytes|00000.idx:1"),
    ],
)
def test_error_of_a_damaged_data_set_names_the_file(
    make_data_set: Maker, spoil: Callable[[Path], object], message: str
) -> None:
    root = make_data_set("set", [2])
    spoil(root)
    with pytest.raises(OvocrError, match=message):
        RecordSamples([root], labels_stored=10, num_classes=50)


def test_no_records_or_no_data_sets_raise(make_data_set: Maker) -> None:
    root = make_data_set("set", [0, 0])
    with pytest.raises(OvocrError, match=f"{root}: contains no records"):
        RecordSamples([root], labels_stored=10, num_classes=50)
    with pytest.raises(OvocrError, match="no data sets"):
        RecordSamples([], labels_stored=10, num_classes=50)


# ---- images ----


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_images_are_rgb(ending: str) -> None:
    data = encoded(plain(30, 50), ending)
    assert encoded_size(data) == (50, 30)
    image = decode(data)
    assert image.shape == (30, 50, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[15, 25], (200, 40, 90), atol=6)


def test_size_of_all_kinds_of_webp() -> None:
    lossless = encoded(plain(30, 16_000), ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)
    assert lossless[12:16] == b"VP8L"
    assert encoded_size(lossless) == (16_000, 30)
    with_alpha = cv2.imencode(".webp", np.zeros((70, 300, 4), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 50])[1].tobytes()
    assert with_alpha[12:16] == b"VP8X"
    assert encoded_size(with_alpha) == (300, 70)


@pytest.mark.parametrize("options", [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)])
def test_size_of_all_kinds_of_jpeg(options: tuple[int, ...]) -> None:
    data = encoded(plain(70, 300), ".jpg", *options)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 11) + b"\xff\xc0 no frame"
    assert encoded_size(data[:2] + comment + b"\xff" + data[2:]) == (300, 70)


@pytest.mark.parametrize(("longest", "decoded"), [(127, 127), (128, 64), (255, 128), (256, 64), (511, 128), (512, 64)])
def test_jpeg_is_decoded_at_the_smallest_sufficient_scale(longest: int, decoded: int) -> None:
    data = encoded(plain(longest // 4, longest))
    assert decode(data, at_least=64).shape[1] == decoded
    assert decode(data).shape[1] == longest


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (40, 64), (1200, 90), (90, 1200), (33, 7), (1, 1), (3, 5000), (5000, 3), (700, 701)]
)
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_letterbox_keeps_everything_and_the_aspect_ratio(height: int, width: int, ending: str) -> None:
    """Each side that is long enough has coloured bands at its ends, which are all found in place."""
    size = 64
    band = max(1, round(max(height, width) / size * 2))
    image = plain(height, width, (255, 255, 255))
    expected = {}
    if width >= 3 * band:
        image[:, :band], image[:, -band:] = (0, 0, 255), (255, 255, 0)
        expected |= {(0.5, 0.0): (0, 0, 255), (0.5, 1.0): (255, 255, 0)}
    if height >= 3 * band:
        image[:band], image[-band:] = (255, 0, 0), (0, 255, 0)
        expected |= {(0.0, 0.5): (255, 0, 0), (1.0, 0.5): (0, 255, 0)}
    square = load_image(encoded(image, ending), size).transpose(1, 2, 0).astype(int)
    inner_height, inner_width = (max(1, round(side * size / max(height, width))) for side in (height, width))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    inner = square[top : top + inner_height, left : left + inner_width]
    for (down, right), colour in expected.items():
        pixel = inner[int(down * (inner_height - 1)), int(right * (inner_width - 1))]
        np.testing.assert_allclose(pixel, colour, atol=70)
    assert expected or max(height, width) < 3
    assert (np.abs(inner - (123, 117, 104)).max(-1) > 60).all()  # the image fills its area
    square[top : top + inner_height, left : left + inner_width] = (123, 117, 104)
    assert (square == (123, 117, 104)).all()  # the mean colour surrounds it


def test_shrinking_averages_areas_and_enlarging_interpolates() -> None:
    stripes = np.zeros((4, 4, 3), np.uint8)
    stripes[:, 1::2] = 200
    assert (letterbox(stripes, 2) == 100).all()
    lines = np.zeros((8, 8, 3), np.uint8)
    lines[:, ::4] = 200
    assert (letterbox(lines, 2) == 50).all()  # thin lines of text remain, because every pixel contributes
    assert letterbox(stripes[:1, :2], 8)[0, 3].tolist() == [0, 0, 25, 75, 125, 175, 200, 200]
    assert np.array_equal(letterbox(stripes, 4), stripes.transpose(2, 0, 1))


def test_image_is_never_mirrored() -> None:
    image = plain(20, 20, (0, 0, 0))
    image[:5, :5] = 250
    square = load_image(encoded(image, ".png"), 20)
    assert square[:, 0, 0].min() == 250
    assert square[:, 0, -1].max() == square[:, -1, 0].max() == 0


def test_normalise_by_hand() -> None:
    values = torch.tensor([0, 255], dtype=torch.uint8).repeat(1, 3, 1).unsqueeze(-1)
    expected = torch.tensor([[-1.7922626, 1.9303361], [-1.7520971, 2.0748837], [-1.4802198, 2.1458993]])
    torch.testing.assert_close(normalise(values)[0, :, :, 0], expected)
    assert normalise(values, torch.bfloat16).dtype == torch.bfloat16
    video = values.unsqueeze(2)
    torch.testing.assert_close(normalise(video)[0, :, 0, :, 0], expected)
    ground = torch.tensor(images.GROUND_RGB, dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(ground).abs().max() < 0.01


JPEG = encoded(plain(30, 50))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JPEG, PNG or WebP image"),
        (b"GIF89a\x01\x00\x01\x00", "not a JPEG, PNG or WebP image"),
        (JPEG[:3], "its header is truncated"),
        (JPEG[:2] + b"\xff\xe0\x00\x10" + b"\x00" * 20, "no JPEG marker at byte 20"),
        (JPEG[:200], "broken image"),
        (encoded(plain(9, 9), ".png")[:40], "broken image|cannot be decoded"),
        (b"RIFF\x10\x00\x00\x00WEBPVP9 " + bytes(20), "a WebP of an unknown kind"),
        (b"\x89PNG\r\n\x1a\n" + bytes(16), "it has no pixels"),
        (
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 50_000, 50_000) + bytes(9),
            "an image of 50000 x 50000 pixels; the limit is 200000000",
        ),
    ],
)
def test_invalid_image_raises(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load_image(data, 64)


# ---- loader ----


def loader_of(root: Path, *, start: int = 0, stop: int = 7, pass_batch: int = 4, **options: int) -> PassLoader:
    samples = RecordSamples([root], labels_stored=10, num_classes=50, image_size=16)
    order = ShuffledList(len(samples), seed=5)
    defaults = {"rank": 0, "world": 1, "workers": 0, "prefetch": 2}
    return build_loader(samples, order, pass_batch=pass_batch, passes=range(start, stop), **{**defaults, **options})


def assert_same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a.times, b.times) == (None, None)
        for x, y in zip(a[:3], b[:3], strict=True):
            assert x.dtype == y.dtype
            assert torch.equal(x, y)


def test_batch_has_the_samples_of_its_positions(make_data_set: Maker) -> None:
    loader = loader_of(make_data_set("set", [6, 5]), stop=6)
    assert len(loader) == 6
    batches = list(loader)
    assert torch.cat([batch.sample_ids for batch in batches]).tolist() == sample_index(np.arange(24), 11, 5).tolist()
    for batch in batches:
        assert batch.pixels.shape == (4, 3, 16, 16)
        assert batch.pixels.dtype == torch.uint8
        assert batch.labels.tolist() == [[(n + i) % 50 for i in range(10)] for n in batch.sample_ids.tolist()]
        levels = batch.pixels[:, 0, 8, 8].long()
        assert ((levels - 3 * batch.sample_ids).abs() <= 1).all()


def test_workers_do_not_change_batches_and_end_with_the_iteration(make_data_set: Maker) -> None:
    root = make_data_set("set", [6, 5])
    assert_same(list(loader_of(root)), list(loader_of(root, workers=2)))
    assert multiprocessing.active_children() == []
    begun = iter(loader_of(root, workers=2))
    next(begun)
    assert len(multiprocessing.active_children()) == 2
    begun.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_see_the_samples_of_one_rank(make_data_set: Maker, world: int) -> None:
    root = make_data_set("set", [11])
    ranks = [list(loader_of(root, rank=rank, world=world)) for rank in range(world)]
    together = [
        Batch(*(torch.cat(parts) for parts in zip(*(batch[:3] for batch in step), strict=True)))
        for step in zip(*ranks, strict=True)
    ]
    assert_same(together, list(loader_of(root)))


def test_every_epoch_has_every_sample_once_over_ranks_and_workers(make_data_set: Maker) -> None:
    root = make_data_set("set", [7, 4])  # 11 samples in steps of 4: epochs end within a step
    ranks = [list(loader_of(root, rank=rank, world=3, workers=2, stop=11)) for rank in range(3)]
    ids = [int(n) for step in zip(*ranks, strict=True) for batch in step for n in batch.sample_ids]
    assert len(ids) == 44
    for epoch in range(4):
        assert sorted(ids[11 * epoch : 11 * (epoch + 1)]) == list(range(11))


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_has_the_same_batches(make_data_set: Maker, workers: int) -> None:
    root = make_data_set("set", [11])
    whole = list(loader_of(root, workers=workers))
    assert_same(whole[3:], list(loader_of(root, workers=workers, start=3)))
    assert list(loader_of(root, workers=workers, start=7)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_rank_without_positions_gets_empty_batches(make_data_set: Maker, workers: int) -> None:
    root = make_data_set("set", [3])
    batches = list(loader_of(root, pass_batch=2, rank=2, world=3, workers=workers, stop=2))
    assert [tuple(map(tuple, (b.pixels.shape, b.labels.shape, b.sample_ids.shape))) for b in batches] == [
        ((0, 3, 16, 16), (0, 10), (0,))
    ] * 2


def test_loading_does_not_change_the_random_state(make_data_set: Maker) -> None:
    loader = loader_of(make_data_set("set", [3]))
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(torch.get_rng_state(), before)

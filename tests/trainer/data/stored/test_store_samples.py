"""Samples of a data set in an object store are those of the same data set on a disk."""

import multiprocessing
import pickle
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from benchmarks.slow_store import SlowStore
from ovocr.base.errors import OvocrError
from ovocr.dataset.access.block_cache import BlockCache
from ovocr.dataset.access.stored_records import Reading
from ovocr.dataset.layout import LabelledDataSet
from ovocr.recordio import RecordError
from ovocr.trainer.data.evaluation_batches import load_batches
from ovocr.trainer.data.evaluation_data import CroppedSamples
from ovocr.trainer.data.loader import Batch, PassBatches, build_loader
from ovocr.trainer.data.mixing import make_order
from ovocr.trainer.data.records import RecordSamples
from ovocr.views.text_crops import RangeSchedule, TextCrops

SIZES = [17, 0, 10, 13]  # records of each shard
BLOCK = 5
PASS_BATCH = 6


def crops() -> TextCrops:
    heights, context = (RangeSchedule(end=end, start=None, steps=1, samples_per_step=1) for end in ((4, 12), (0, 1)))
    return TextCrops(share=0.5, heights=heights, context=context, max_upscale=2.0, seed=3)


def opened(*roots: Path | str, block: int = BLOCK, cache: BlockCache | None = None) -> RecordSamples:
    reading = Reading(cache, block)
    return RecordSamples(roots, labels_stored=10, num_classes=50, image_size=32, crops=crops(), reading=reading)


def batches(samples: RecordSamples, *, workers: int = 0, ranks: int = 1, read_ahead: int = 4) -> list[list[Batch]]:
    """Returns the batches of two epochs, of each rank."""
    passes = range(1, 2 * len(samples) // PASS_BATCH)
    order = make_order(samples.parts, None, 7)
    options = {"pass_batch": PASS_BATCH, "passes": passes, "workers": workers, "prefetch": 2, "read_ahead": read_ahead}
    return [list(build_loader(samples, order, rank=rank, world=ranks, **options)) for rank in range(ranks)]


def assert_same(found: list[list[Batch]], wanted: list[list[Batch]]) -> None:
    for own, others in zip(found, wanted, strict=True):
        for one, other in zip(own, others, strict=True):
            assert one.sample_ids.tolist() == other.sample_ids.tolist()
            assert one.labels.tolist() == other.labels.tolist()
            assert np.array_equal(one.pixels.numpy(), other.pixels.numpy())
            assert one.skipped == other.skipped


@pytest.fixture
def root(make_data_set: Callable[..., Path]) -> Path:
    return make_data_set("labels", SIZES, patterned=True)


def blocks(server: SlowStore) -> list[tuple[str, str]]:
    """Returns the requests for more than one record."""
    single = 1400  # bytes; a record has about 920
    found = []
    for path, wanted in server.reads():
        first, last = map(int, wanted.split("-"))
        if last - first > single:
            found.append((path, wanted))
    return found


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_the_same(root: Path, bucket, workers: int, ranks: int):
    samples = opened(bucket.upload(root, "labels"))
    found = batches(samples, workers=workers, ranks=ranks)
    assert_same(found, batches(opened(root), ranks=ranks))
    assert not [thread for thread in threading.enumerate() if thread.name == "ovocr-fetch"]


def test_samples_are_the_same_through_a_store_that_fails(root: Path, bucket, proxy: SlowStore):
    url = bucket.upload(root, "labels")
    proxy.failures = 0.2
    assert_same(batches(opened(url), workers=2), batches(opened(root)))
    assert {each.failure for each in proxy.requests} == {"", "500", "503", "cut"}


def test_two_data_sets_in_a_store_and_on_a_disk(root: Path, bucket, make_data_set: Callable[..., Path]):
    other = make_data_set("other", [8, 3], first_colour=9)
    url, other_url = bucket.upload(root, "labels"), bucket.upload(other, "other")
    wanted = batches(opened(root, other))
    assert_same(batches(opened(url, other_url)), wanted)
    assert_same(batches(opened(root, other_url)), wanted)


def test_evaluation_batches_are_the_same(root: Path, bucket):
    url = bucket.upload(root, "labels")
    for workers in (0, 2):
        for count in (0, 2):
            found, wanted = (
                load_batches(CroppedSamples(samples, count) if count else samples, np.arange(30), workers=workers)
                for samples in (opened(url), opened(root))
            )
            for one, other in zip(found, wanted, strict=True):
                assert np.array_equal(one.batch.pixels.numpy(), other.batch.pixels.numpy())
                assert [own.ids.tolist() for own in one.shown] == [own.ids.tolist() for own in other.shown]


def test_keys_hashes_and_counts_are_the_same(root: Path, bucket):
    found, wanted = opened(bucket.upload(root, "labels")), opened(root)
    assert found.image_keys() == wanted.image_keys()
    for rank in range(3):
        hashes, expected = (np.concatenate(list(samples.image_hashes(rank, 3))) for samples in (found, wanted))
        assert hashes.tolist() == expected.tolist()
        assert found.class_counts(rank, 3).tolist() == wanted.class_counts(rank, 3).tolist()
    assert found.name(20).startswith(f"{bucket.url}/labels/rec/00002.rec id 3")


@pytest.mark.parametrize("workers", [0, 2])
def test_each_block_is_fetched_once(root: Path, bucket, proxy: SlowStore, workers: int):
    samples = opened(bucket.upload(root, "labels"))
    proxy.latency = 0.02  # processes meet at the same block
    batches(samples, workers=workers, ranks=2)
    found = blocks(proxy)
    assert len(found) == len(set(found))
    # Blocks of 5 records of a list, cut at the ends of the shards: 17 = 5 + 5 + 5 + 2, 10 = 3 + 5 + 2, 13 = 3 + 5 + 5
    assert len(found) == 10


def load(samples: PassBatches, number: int, results: "multiprocessing.Queue[list[int]]") -> None:
    batch = samples[number]
    assert isinstance(batch, Batch)
    assert min(batch.fetched) >= 0  # spawned processes count from 0, forked ones from what their parent has fetched
    results.put(batch.sample_ids.tolist())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_blocks(root: Path, bucket, proxy: SlowStore, method: str):
    samples = opened(bucket.upload(root, "labels"))
    order = make_order(samples.parts, None, 7)
    own = PassBatches(samples, order, pass_batch=PASS_BATCH, rank=0, world=1, read_ahead=9, end=9)
    proxy.latency = 0.02
    context = multiprocessing.get_context(method)
    results = context.Queue()
    processes = [context.Process(target=load, args=(own, number, results)) for number in (0, 0, 3)]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    wanted = [batch.sample_ids.tolist() for (batch,) in ([own[0]], [own[0]], [own[3]])]
    assert found == sorted(wanted)
    samples.close()
    assert len(blocks(proxy)) == len(set(blocks(proxy)))


def test_a_copy_reads_the_same(root: Path, bucket):
    samples = opened(bucket.upload(root, "labels"))
    copy = pickle.loads(pickle.dumps(samples))
    assert_same(batches(copy), batches(samples))


def test_a_record_that_is_not_announced_is_fetched_alone(root: Path, bucket, proxy: SlowStore):
    samples = opened(bucket.upload(root, "labels"))
    proxy.requests.clear()
    samples.load(20)
    (request,) = proxy.reads()
    first, end = LabelledDataSet(root).rec_prefix(2).with_suffix(".idx").read_text().splitlines()[3:5]
    assert request[1] == f"{first.split()[1]}-{int(end.split()[1]) - 1}"
    assert samples.fetched.requests == 2  # the first one when the samples were opened
    assert samples.fetched.bytes > 0


def test_limit_of_the_cache_is_kept(root: Path, bucket, tmp_path: Path):
    largest = max(path.stat().st_size for path in (root / "rec").iterdir())
    limit = 2 * largest  # of about 40 records
    cache = BlockCache(tmp_path / "blocks", limit)
    samples = opened(bucket.upload(root, "labels"), cache=cache, block=2)
    sizes = []

    def watch() -> None:
        while not done.wait(0.002):
            with suppress(FileNotFoundError):  # a file was renamed or removed meanwhile
                files = sorted((tmp_path / "blocks").glob("*/*"))
                size = sum(path.stat().st_size for path in files)
                if files == sorted((tmp_path / "blocks").glob("*/*")):  # else the sum is of no one moment
                    sizes.append(size)

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = batches(samples, workers=2)
    finally:
        done.set()
        watcher.join()
    assert_same(found, batches(opened(root)))
    assert limit / 2 < max(sizes) <= limit


@pytest.mark.parametrize("damage", ["bit", "short", "empty"])
def test_damaged_block_is_fetched_again(root: Path, bucket, proxy: SlowStore, own_cache: Path, damage: str):
    url = bucket.upload(root, "labels")
    wanted = batches(opened(root))
    assert_same(batches(opened(url)), wanted)
    kept = sorted((own_cache / "blocks").glob("*/*.block"))
    data = bytearray(kept[3].read_bytes())
    data[len(data) // 2] ^= 1
    kept[3].write_bytes({"bit": bytes(data), "short": bytes(data[:-7]), "empty": b""}[damage])
    proxy.requests.clear()
    samples = opened(url)
    found = batches(samples)
    assert_same(found, wanted)
    assert len(blocks(proxy)) == 1
    assert sum(batch.fetched.damaged for batch in found[0]) == 1


def test_files_that_are_not_those_of_the_statistics_are_errors(root: Path, bucket):
    url = bucket.upload(root, "labels")
    rec, idx = (LabelledDataSet(root).rec_prefix(2).with_suffix(suffix) for suffix in (".rec", ".idx"))
    bucket.put("labels/idx", b"")
    bucket.put("labels/rec/00002.idx", idx.read_bytes()[:-4] + b"0000")
    with pytest.raises(OvocrError, match=rf"^{url}/rec/00002\.idx: does not match the shard's statistics; restore"):
        opened(url)
    bucket.put("labels/rec/00002.idx", idx.read_bytes())
    bucket.put("labels/rec/00002.rec", rec.read_bytes() + b"\0\0\0\0")
    with pytest.raises(OvocrError, match=rf"^{url}/rec/00002\.rec: has [\d,]+ bytes, but [\d,]+ in the shard's stat"):
        opened(url)
    bucket.remove("labels/rec/00002.rec")
    with pytest.raises(OvocrError, match=rf"^{url}/rec/00002\.rec: no such file; restore the file"):
        opened(url)


def test_blocks_of_an_object_that_was_damaged_for_a_while(root: Path, bucket):
    """A record that the store has undamaged now is not read from the cache."""
    url = bucket.upload(root, "labels")
    whole = bucket.get("labels/rec/00002.rec")
    samples = opened(url)
    bucket.put("labels/rec/00002.rec", bytes(len(whole)))
    numbers = range(17, 27)  # the third shard
    samples.prefetch(numbers)
    for number in numbers:
        with pytest.raises(RecordError, match=r"labels/rec/00002\.rec: record \d+: .*; run `ovocr verify`$"):
            samples.load(number)
    bucket.put("labels/rec/00002.rec", whole)
    on_disk = opened(root)
    for again in (samples, opened(url)):
        again.prefetch(numbers)
        assert all(again.load(n).labels.tolist() == on_disk.load(n).labels.tolist() for n in numbers)
    assert samples.fetched.damaged >= 1


def test_cache_folder_that_is_deleted_is_made_again(root: Path, bucket, own_cache: Path):
    samples, on_disk = opened(bucket.upload(root, "labels")), opened(root)
    for number in range(0, len(samples), 5):
        samples.prefetch([number])
        assert samples.load(number).labels.tolist() == on_disk.load(number).labels.tolist()
        shutil.rmtree(own_cache / "blocks")


def test_damaged_records_are_skipped_and_named(root: Path, bucket):
    data = bytearray(LabelledDataSet(root).rec_prefix(2).with_suffix(".rec").read_bytes())
    data[0] ^= 1  # the magic of the first record
    url = bucket.upload(root, "labels")
    bucket.put("labels/rec/00002.rec", bytes(data))
    found = batches(opened(url))
    named = [name for batch in found[0] for name in batch.skipped]
    assert named
    assert all(name.startswith(f"{url}/rec/00002.rec: record 0: 0xced7230b at byte 0 is not") for name in named)
    assert_ids = [batch.sample_ids.tolist() for batch in batches(opened(root))[0]]
    assert [batch.sample_ids.tolist() for batch in found[0]] == assert_ids


def test_missing_data_set(bucket):
    with pytest.raises(OvocrError, match=rf"^{bucket.url}/nothing: not a labelled data set \(no manifest.json\)"):
        opened(f"{bucket.url}/nothing")


def test_store_that_does_not_answer_is_an_error(root: Path, bucket, proxy: SlowStore, monkeypatch: pytest.MonkeyPatch):
    url = bucket.upload(root, "labels")
    samples = opened(url)
    monkeypatch.setattr("ovocr.base.attempts._PAUSES_S", (0.01,))
    monkeypatch.setattr("ovocr.base.attempts._ATTEMPT_S", 0.3)
    proxy.latency = 3.0
    with pytest.raises(OvocrError, match=rf"^{url}/rec/00002\.rec: no answer within 0.3 s \(2 attempts in \d+ s\)$"):
        samples.load(20)
    proxy.latency = 0.0
    assert samples.load(20).labels.tolist() == opened(root).load(20).labels.tolist()

"""Damaged samples are replaced, equally on every rank and worker, and counted and named."""

import json
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.recordio import RecordReader
from ovocr.trainer.config.file import load_config
from ovocr.trainer.data.loader import Batch, build_loader
from ovocr.trainer.data.mixing import ShuffledList
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.training.loop import train
from tests.trainer.damage import damage_images

Maker = Callable[..., Path]


def batches_of(root: Path, **options: int) -> list[Batch]:
    samples = RecordSamples([root], labels_stored=10, num_classes=50, image_size=16)
    defaults: dict[str, Any] = {"rank": 0, "world": 1, "workers": 0, "prefetch": 2, "pass_batch": 4}
    order = ShuffledList(len(samples), seed=5)
    return list(build_loader(samples, order, passes=range(6), **{**defaults, **options}))


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_sample_is_replaced(make_data_set: Maker, workers: int) -> None:
    root = make_data_set("set", [11])
    sound = batches_of(root)
    damage_images(root, 3)
    found = batches_of(root, workers=workers)
    reasons = [reason for batch in found for reason in batch.skipped]
    assert (
        reasons == [f"{root}/rec/00000.rec id 3 (3.jpg of source0.tar): not a JPEG, PNG or WebP image"] * 2
    )  # in two epochs
    replaced = 0
    for before, after in zip(sound, found, strict=True):
        assert torch.equal(before.sample_ids, after.sample_ids)
        for row, number in enumerate(before.sample_ids.tolist()):
            same = torch.equal(before.labels[row], after.labels[row])
            assert same == (number != 3)
            if number == 3:
                stand_in = int(after.labels[row][0])  # a record's first tag is its number
                assert abs(int(after.pixels[row, 0, 8, 8]) - 3 * stand_in) <= 1
                replaced += 1
    assert replaced == 2
    assert multiprocessing.active_children() == []


def test_ranks_together_skip_what_one_rank_skips(make_data_set: Maker) -> None:
    root = make_data_set("set", [11])
    damage_images(root, 2, 3, 7)
    alone = batches_of(root)
    ranks = [batches_of(root, rank=rank, world=3) for rank in range(3)]
    for number, batch in enumerate(alone):
        assert torch.equal(batch.labels, torch.cat([of_rank[number].labels for of_rank in ranks]))
        assert torch.equal(batch.pixels, torch.cat([of_rank[number].pixels for of_rank in ranks]))
        assert list(batch.skipped) == [reason for of_rank in ranks for reason in of_rank[number].skipped]


def test_truncated_shard_loses_only_its_missing_records(make_data_set: Maker) -> None:
    root = make_data_set("set", [11])
    samples = RecordSamples([root], labels_stored=10, num_classes=50, image_size=16)
    loader = build_loader(
        samples, ShuffledList(11, seed=5), passes=range(6), pass_batch=4, rank=0, world=1, workers=0, prefetch=2
    )
    os.truncate(root / "rec" / "00000.rec", int(RecordReader(root / "rec" / "00000").offsets[9]) + 20)
    reasons = [reason for batch in loader for reason in batch.skipped]
    assert len({reason for reason in reasons if "truncated at byte" in reason or "00000.rec" in reason}) == 2


@pytest.mark.parametrize("tag", [500_000.0, float("nan"), 3.5, -1.0])
def test_record_with_an_invalid_tag_is_skipped(make_data_set: Maker, tag: float) -> None:
    root = make_data_set("set", [11])
    path = root / "rec" / "00000.rec"
    data = bytearray(path.read_bytes())
    with RecordReader(root / "rec" / "00000") as reader:
        start = reader.offsets.item(4) + 8 + 24  # after the headers of the record and of its payload
    assert data[start : start + 4] == np.float32(4).tobytes()
    data[start : start + 4] = np.float32(tag).tobytes()
    path.write_bytes(data)
    reasons = {reason for batch in batches_of(root) for reason in batch.skipped}
    assert reasons == {f"{root}/rec/00000.rec id 4 (4.jpg of source0.tar): tag {tag:g} is not a class id from 0 to 49"}


def test_only_damaged_samples_raise(make_data_set: Maker) -> None:
    root = make_data_set("set", [3])
    damage_images(root, 0, 1, 2)
    with pytest.raises(
        OvocrError, match=r"^the first 3 samples are all damaged, the last one: .*00000\.rec id 2 \(.*\): not a J"
    ):
        batches_of(root)
    root = make_data_set("large", [40])
    damage_images(root, *range(1, 40))
    with pytest.raises(
        OvocrError, match=r"^8 samples in a row are damaged, the last one: .*00000\.rec id \d+ \(.*\): not a J"
    ):
        batches_of(root)


def test_missing_file_ends_the_run(make_data_set: Maker) -> None:
    root = make_data_set("set", [11])
    samples = RecordSamples([root], labels_stored=10, num_classes=50, image_size=16)
    samples = pickle.loads(pickle.dumps(samples))  # without open files
    (root / "rec" / "00000.rec").unlink()
    with pytest.raises(OvocrError, match=r"00000\.rec: cannot be opened: No such file"):
        build_loader(
            samples, ShuffledList(11, seed=5), passes=range(6), pass_batch=4, rank=0, world=1, workers=0, prefetch=2
        )


def test_run_counts_and_names_skipped_samples(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage_images(tmp_path / "labels", 4)
    train(load_config(config_file))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    named = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert sum(line["skipped"] for line in lines) == len(named) == 3  # 12 steps of 6 over 24 images: three epochs
    wrong = f"{tmp_path}/labels/rec/00000.rec id 4 (4.jpg of source0.tar): not a JPEG, PNG or WebP image"
    assert all((line["head"], line["sample"]) == ("ocr", wrong) for line in named)
    assert [line["step"] for line in named] == [line["step"] for line in lines if line["skipped"]]
    assert capsys.readouterr().err.count(f"head ocr: skipped: {wrong}\n") == 3


def test_resumed_run_names_each_skipped_sample_once(config_file: Path, tmp_path: Path) -> None:
    damage_images(tmp_path / "labels", 4)
    train(load_config(config_file))
    path = tmp_path / "run" / "skipped.jsonl"
    whole = path.read_text()
    for newer in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        newer.rename(tmp_path / newer.name)
    train(load_config(config_file))
    assert path.read_text() == whole


def test_too_many_damaged_samples_end_the_run(config_file: Path, tmp_path: Path) -> None:
    damage_images(tmp_path / "labels", *range(1, 10))
    with pytest.raises(OvocrError) as caught:
        train(load_config(config_file))
    message = str(caught.value)
    assert int(message.split()[0]) > 10
    assert message.endswith(
        f"samples are damaged, see {tmp_path}/run/skipped.jsonl; make their shards again, or raise loader.max_skipped"
    )
    train(load_config(config_file, ["loader.max_skipped=1"]))

"""From images and a table of class ids to a trained image head, with the commands alone."""

import json
from pathlib import Path

import pytest

from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet

CONFIG = """
[run]
output = "{root}/run"
steps = 3
device = "cpu"

[tracking]
trackers = []

[backbone]
hidden_size = 64
intermediate_size = 96
num_hidden_layers = 1
num_attention_heads = 2
image_size = 32
patch_size = 16

[optimizer]
lr = 1e-3
warmup_steps = 1

[heads.image]
kind = "image"
data = ["{root}/packed"]
global_batch = 4
"""


def test_packed_images_train_a_head(tmp_path: Path, example_shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("PIL", reason="the extra ocr, whose decoders pack-labels uses, is not installed")
    keys = [f"{number:05d}.jpg" for number in range(6)]
    rows = [{"key": key, "labels": [number, number + 10, 500]} for number, key in enumerate(keys)]
    (tmp_path / "clusters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    packed, shard = tmp_path / "packed", example_shards / "pages-00000.tar"
    arguments = [str(shard), "--labels", str(tmp_path / "clusters.jsonl"), "--out", str(packed)]
    main(["pack-labels", *arguments, "--workers", "1"], standalone_mode=False)
    assert LabelledDataSet.open(packed).manifest().num_classes == 501
    assert "6 ok" in capsys.readouterr().out

    (tmp_path / "config.toml").write_text(CONFIG.format(root=tmp_path))
    main(["train", str(tmp_path / "config.toml")], standalone_mode=False)
    main(["eval", str(tmp_path / "run"), "--data", str(packed), "--json", "-"], standalone_mode=False)
    figures = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert figures["heads"]["image"]["images"] == 6
    assert figures["heads"]["image"]["classes"] == 501
    assert figures["heads"]["image"]["scripts"] == {}


def test_a_data_set_that_grew_trains_a_head_on_all_its_images(
    tmp_path: Path, example_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL", reason="the extra ocr, whose decoders pack-labels uses, is not installed")
    first, second = (str(example_shards / f"pages-0000{number}.tar") for number in range(2))
    keys = [f"{number:05d}.jpg" for number in range(100)]
    (tmp_path / "clusters.csv").write_text("key,label\n" + "".join(f"{key},{id}\n" for id, key in enumerate(keys)))
    arguments = ["--labels", str(tmp_path / "clusters.csv"), "--out", str(tmp_path / "packed"), "--workers", "1"]
    main(["pack-labels", first, *arguments], standalone_mode=False)
    main(["pack-labels", first, second, *arguments], standalone_mode=False)
    data_set = LabelledDataSet.open(tmp_path / "packed")
    images = [data_set.counts(number).ok for number in data_set.finished_shards()]
    assert len(images) == len(data_set.manifest().history) == 2

    (tmp_path / "config.toml").write_text(CONFIG.format(root=tmp_path))
    main(["train", str(tmp_path / "config.toml")], standalone_mode=False)
    capsys.readouterr()
    main(["eval", str(tmp_path / "run"), "--data", str(data_set.root), "--json", "-"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["heads"]["image"]["images"] == sum(images)

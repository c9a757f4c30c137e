"""The disk space of checkpoints: the size is that of real ones, and a run without room does not start."""

import sys
from pathlib import Path

import pytest
import torch

from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import RowShard, Tensors, save_checkpoint
from ovocr.trainer.runs.checkpoint_space import CheckpointSpace, free_bytes
from ovocr.trainer.training.dry_run import dry_run
from ovocr.trainer.training.loop import train
from tests.small_disk import in_small_disk


def size_on_disk(checkpoint: Path) -> int:
    return sum(path.stat().st_size for path in checkpoint.iterdir())


@pytest.mark.parametrize(
    "tensors",
    [
        {f"optimizer.backbone.encoder.layers.{n}.weight.exp_avg": torch.ones(3) for n in range(200)},
        {"centers": RowShard(torch.ones(1000, 64), 0, 1000), "counts": RowShard(torch.ones(1000).long(), 0, 1000)},
        {"half": torch.ones(1000, 100, dtype=torch.bfloat16), "number": torch.tensor(1.0)},
    ],
    ids=["many small", "rows", "half"],
)
def test_size_is_that_of_the_files(config_file: Path, tmp_path: Path, tensors: Tensors) -> None:
    save_checkpoint(tmp_path / "7", tensors, {"step": 7}, Ranks())
    size = CheckpointSpace.of(tensors, load_config(config_file), Ranks()).size
    assert size_on_disk(tmp_path / "7") <= size <= 1.3 * size_on_disk(tmp_path / "7") + 2**14


def test_rows_of_all_ranks_count(config_file: Path) -> None:
    part = {"centers": RowShard(torch.ones(10, 64), 0, 1000)}
    space = CheckpointSpace.of(part, load_config(config_file), Ranks(rank=1, world=100))
    assert 1000 * 64 * 4 + 100 * 1577 < space.size < 1000 * 64 * 4 + 100 * 3000 + 2**14


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ((), 4),
        (("run.keep_checkpoints=1",), 2),
        (("optimizer.schedule=wsd", "optimizer.cooldown_steps=2"), 5),
        (("evaluation.every=2", 'evaluation.data=["DATA"]'), 5),
    ],
)
def test_the_best_and_the_start_of_the_cooldown_are_kept_too(
    config_file: Path, tmp_path: Path, settings: tuple[str, ...], most: int
) -> None:
    config = load_config(config_file, [setting.replace("DATA", str(tmp_path / "labels")) for setting in settings])
    assert CheckpointSpace.of({"a": torch.ones(1)}, config, Ranks()).most == most


def test_free_space_of_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(free_bytes(tmp_path), rel=0.1)


def test_a_dry_run_says_if_there_is_no_room_for_one(config_file: Path) -> None:
    config = load_config(config_file)
    assert CheckpointSpace(1, 4).format(config).endswith(f" free at {config.run.output}")
    assert CheckpointSpace(2**60, 4).format(config).endswith(", too little for one: the run would not start")


@pytest.mark.slow
def test_dry_run_prints_the_size_of_a_real_checkpoint(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file, ["run.steps=2"])
    (line,) = (line for line in dry_run(config) if line.startswith("checkpoints: "))
    train(config)
    actual = size_on_disk(tmp_path / "run" / "checkpoints" / "00000002")
    assert float(line.split()[1]) * 1e6 == pytest.approx(actual, rel=0.1)


def command(config_file: Path, config: RunConfig, *settings: str) -> str:
    options = " ".join(f"--set {setting}" for setting in (f"run.output={config.run.output}", *settings))
    return f"{sys.executable} -m ovocr train {config_file} {options}"


@pytest.mark.slow
def test_a_run_needs_room_for_a_checkpoint(config_file: Path, tmp_path: Path) -> None:
    """On a real file system that has less space than one checkpoint, then room for one, then for all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    config = load_config(config_file, [f"run.output={disk / 'run'}"])
    train(load_config(config_file, ["run.steps=1", "optimizer.warmup_steps=0"]))
    size = size_on_disk(tmp_path / "run" / "checkpoints" / "00000001") // 1024  # KiB
    start = command(config_file, config, "run.tensorboard=false")
    done = in_small_disk(
        disk,
        f"{size - 50}k",
        f"{start} 2> {tmp_path}/refused; code=$?",
        f"test -e {disk}/run/metrics.jsonl && exit 98",
        f"mount -o remount,size={2 * size}k {disk}",
        f"{start} 2> {tmp_path}/full; ls {disk}/run/checkpoints > {tmp_path}/kept",
        f"mount -o remount,size={8 * size}k {disk}",
        f"{start} 2> {tmp_path}/enough || exit 99",
        "exit $code",
    )
    assert done.returncode == 1, done.stderr
    refused, full, enough = ((tmp_path / name).read_text() for name in ("refused", "full", "enough"))
    assert refused.count("\n") == 1
    assert refused.startswith(f"ovocr: {disk}/run: a checkpoint takes ")
    assert refused.endswith(" MB are free; free disk space, or choose another run.output\n")
    warning = f"ovocr: {disk}/run: 4 more checkpoints of "
    assert full.count(warning) == 1
    assert "may be kept or written at a time, but only" in full
    assert full.splitlines()[-1].endswith("No space left on device")
    assert (tmp_path / "kept").read_text() == "00000004\n"
    assert "more checkpoint" not in enough
    assert "12 steps" not in enough
    assert "8 steps (from step 4)" in done.stdout

"""Checkpoints, weights and a run of a few steps, as inputs that the search begins with."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.parsers import bundle
from tests.faults.parsers.mutate_checkpoints import CHECKPOINT, RUN, RUN_FILES, WEIGHT_FILES, WEIGHTS


def checkpoints() -> list[bytes]:
    """Returns a checkpoint, and weights."""
    return [_checkpoint(), _weights()]


def _checkpoint() -> bytes:
    import zlib

    from tests.faults.parsers.parse_runs import intact

    files = intact()
    evaluation = {
        "mean_word_auc": 0.5,
        "word_auc": {"ocr": {"held": 0.5}},
        "images": {"ocr": {"held": 7}},
        "min_text_height": 8.0,
        "crop_text_height": [8.0, 16.0],
    }
    checksums = {"__0_0.distcp": zlib.crc32(files["__0_0.distcp"])}
    state = json.dumps({"step": 4, "crc32": checksums, "evaluation": evaluation}).encode()
    return CHECKPOINT + bundle.join(state, files[".metadata"], files["__0_0.distcp"])


def _weights() -> bytes:
    from tests.faults.parsers.parse_runs import backbone

    with tempfile.TemporaryDirectory() as folder:
        backbone().save_pretrained(folder)
        return WEIGHTS + bundle.join(*((Path(folder) / name).read_bytes() for name in WEIGHT_FILES))


def runs() -> list[bytes]:
    """Returns a run of four steps that has evaluated itself, and files that runs may have beside."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subprocess.run(
            [sys.executable, "-m", "tests.faults.parsers.seeds_of_runs", folder],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        run = root / "run"
        found = {name: (run / name).read_bytes() for name in RUN_FILES if (run / name).is_file()}
    found["tracking.json"] = json.dumps({"wandb": {"run": "abc", "last": {"loss": 3}}}).encode()
    extension: dict[str, Any] = {"date": "2026-01-01", "old_schedule": "wsd", "schedule": "wsd", "superseded": None}
    extension |= {"old_steps": 4, "steps": 8, "from_step": 4, "trained_steps": 4, "cooldown_steps": 2}
    extension["schedule_start"] = 0
    found["extensions.jsonl"] = json.dumps(extension).encode()
    found["vocab/ocr.frequencies.tsv"] = b"word\timages\n\t9\nfox\t3\n"
    config = found["config.toml"].decode()
    pending = {"extension": extension | {"superseded": "superseded/00000004", "steps": 9}, "config": config}
    pending |= {"superseded_config": config, "moved": [], "shared": ["00000004"]}
    extended = found | {"extension.pending.json": json.dumps(pending).encode()}
    return [RUN + bundle.join(*(files.get(name, b"") for name in RUN_FILES)) for files in (found, extended)]


def _train(root: Path) -> None:
    """Trains the run, and evaluates it as `ovocr eval --json` does."""
    from ovocr.cli import main
    from ovocr.trainer.config.file import load_config
    from ovocr.trainer.training.loop import train
    from tests.faults.parsers.parse_runs import SIZES
    from tests.trainer.conftest import write_run_config

    path = write_run_config(root)
    settings = [f"backbone.{key}={value}" for key, value in SIZES.items()]
    settings += ["run.steps=4", "evaluation.every=4", f"evaluation.data=[{str(root / 'labels')!r}]"]
    train(load_config(path, settings))
    _leave_out_optimizer(root / "run")
    main(
        ["eval", str(root / "run"), "--data", str(root / "labels"), "--json", str(root / "run" / "measures.json")],
        standalone_mode=False,
    )


def _leave_out_optimizer(run: Path) -> None:
    """Writes the checkpoint again with what a trained model needs: inputs are then small."""
    import torch

    from ovocr.trainer.ranks.distributed import Ranks
    from ovocr.trainer.runs.checkpoint import read_state, save_checkpoint
    from ovocr.trainer.training.model import TrainedRun

    trained = TrainedRun.load(run, torch.device("cpu"))
    checkpoint = trained.folder.checkpoint(trained.step)
    state = read_state(checkpoint)
    state.pop("crc32")
    save_checkpoint(checkpoint, trained.model.tensors(), state, Ranks())


if __name__ == "__main__":
    _train(Path(sys.argv[1]))

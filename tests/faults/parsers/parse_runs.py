"""Loads checkpoints, weights and runs from any bytes, as `ovocr train`, `eval`, `read` and `export` load them."""

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ovocr.base.errors import OvocrError
from ovocr.pages.rendering import environment
from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.config.sections import BackboneConfig
from ovocr.trainer.export.measures import Measures, read_measures
from ovocr.trainer.export.model_card import model_card
from ovocr.trainer.prior.prior import Prior
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.best_checkpoint import best_checkpoint, read_evaluation
from ovocr.trainer.runs.checkpoint import (
    RowShard,
    Tensors,
    checkpoint_hash,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from ovocr.trainer.runs.extension import finish_extension, read_extensions
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.tracking.record import TrackingRecord
from ovocr.trainer.training.model import TrainedRun
from ovocr.vocab.word_frequencies import WordFrequencies
from tests.faults.parsers import bundle
from tests.faults.parsers.mutate_checkpoints import CHECKPOINT, FILES, RUN, WEIGHTS

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 16,
    "patch_size": 8,
}


def tensors() -> Tensors:
    """Returns the tensors of a checkpoint: whole, by rows, a number and one of half precision."""
    return {
        "whole": torch.arange(6.0).reshape(2, 3),
        "rows": RowShard(torch.arange(20.0).reshape(5, 4), 0, 5),
        "number": torch.tensor(7.0),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }


@functools.cache
def prepare() -> None:
    """Loads the modules that torch and others load when they are first used."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in intact().items():
            (Path(folder) / name).write_bytes(content)
        (Path(folder) / "state.json").write_text('{"step": 4}')
        _load(Path(folder))
        backbone().save_pretrained(folder)
        backbone().read_weights(folder)
    environment("ovocr.trainer.export")


@functools.cache
def backbone() -> Backbone:
    """Returns the network that weights are for."""
    torch.set_num_threads(1)
    return Backbone(BackboneConfig(**SIZES))


def parse(data: bytes, folder: Path) -> None:
    """Reads an input of the target "checkpoint"."""
    kind = data[:1] if data[:1] in FILES else CHECKPOINT
    names = FILES[kind]
    if kind == RUN:  # reading it may move files
        folder = folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
    for name, content in zip(names, bundle.split(data[1:], len(names)), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content or kind != RUN:  # a run lacks most of the files
            path.write_bytes(content)
    if kind == CHECKPOINT:
        _all(lambda: read_evaluation(folder), lambda: checkpoint_hash(folder), lambda: _load(folder))
    elif kind == WEIGHTS:
        found = backbone().read_weights(folder)
        assert found.keys() == backbone().state_dict().keys()
    else:
        _read_run(folder)


def _load(folder: Path) -> None:
    given = tensors()
    for value in given.values():
        (value.local if isinstance(value, RowShard) else value).fill_(-77.0)
    load_checkpoint(folder, given, Ranks())
    if all((folder / name).read_bytes() == content for name, content in intact().items()):
        expected = tensors()
        for name, value in given.items():
            one, other = (each.local if isinstance(each, RowShard) else each for each in (value, expected[name]))
            assert torch.equal(one, other), f"{name} is wrong"


@functools.cache
def intact() -> dict[str, bytes]:
    """Returns the files of the checkpoint of ``tensors`` whose content gives the tensors."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "4", tensors(), {"step": 4}, Ranks())
        return {name: (Path(folder) / "4" / name).read_bytes() for name in (".metadata", "__0_0.distcp")}


def _read_run(root: Path) -> None:
    folder = RunFolder(root)
    tracking, frequencies, prior = folder.tracking_path, folder.frequencies_path("ocr"), folder.prior_path("ocr")
    _all(
        lambda: read_extensions(folder),
        lambda: best_checkpoint(folder.checkpoints),
        lambda: _read_tracking(tracking),
        lambda: Prior.load(prior),
        lambda: WordFrequencies.load(frequencies) if frequencies.is_file() else None,
        lambda: read_state(folder.checkpoint(4)),
    )
    finish_extension(folder)
    trained = TrainedRun.load(root, torch.device("cpu"))
    _all(
        lambda: _card(trained, None),
        lambda: _card(trained, read_measures(root / "measures.json", trained)),
    )


def _read_tracking(path: Path) -> None:
    record = TrackingRecord(path, is_new=False)
    for tracker in ("tensorboard", "wandb", "mlflow"):
        record.run_id(tracker)
        record.last_step(tracker)
        record.last_step(tracker, "loss")


def _card(trained: TrainedRun, measures: Measures | None) -> None:
    model_card(trained, measures, name="export", with_onnx=False)


def _all(*readers: Callable[[], object]) -> None:
    """Calls all of them. Raises the last OvocrError."""
    last = None
    for read in readers:
        try:
            read()
        except OvocrError as error:
            last = error
    if last is not None:
        raise last

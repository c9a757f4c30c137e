"""A run with planted class centers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovocr.trainer.config.file import load_config
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import save_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.model import build_model
from ovocr.vocab import Vocabulary
from tests.trainer.evaluation.planted_run import CPU, IMAGES, TRAINING_IMAGES, WORDS, plant


@pytest.fixture
def planted(tmp_path: Path, config_file: Path, make_data_set: Callable[..., Path]) -> NDArray[np.int64]:
    """Creates a run in tmp_path / "run", trained on "training", and data "labels".

    Returns the order of all 50 classes that the run answers to each image, [IMAGES, 50].
    """
    labels = make_data_set("labels", [17, 7], patterned=True, words=WORDS)
    training = make_data_set("training", [TRAINING_IMAGES], words=WORDS)
    config = load_config(config_file, [f'heads.ocr.data=["{training}"]'])
    model = build_model(config, {"ocr": len(WORDS)}, Ranks(), CPU)
    samples = RecordSamples([labels], labels_stored=10, num_classes=len(WORDS), image_size=32)
    order = np.stack([np.random.default_rng(n).permutation(len(WORDS)) for n in range(IMAGES)])
    plant(model, torch.from_numpy(np.stack([samples.load(n).pixels for n in range(IMAGES)])), order)
    folder = RunFolder(tmp_path / "run")
    folder.prepare(config, {"ocr": Vocabulary(WORDS)})
    save_checkpoint(folder.checkpoint(7), model.tensors(), {"step": 7, "num_classes": {"ocr": len(WORDS)}}, Ranks())
    return order

"""The course of a run over its checkpoints: begun with weights of its own or another run, saved, gone on with."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.backbone.vision_transformer import check_same_network
from ovocr.trainer.config.sections import RUN_CONFIG, RunConfig
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import fill, incomplete_checkpoints, load_checkpoint, read_state, save_checkpoint
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.initial_centers import SourceHead, begin_centers
from ovocr.trainer.training.model import Model, Optimizers, saved_per_head


@dataclass(frozen=True)
class Course:
    """What a checkpoint is made of and filled from: a run's folder, its trained things, and its data."""

    folder: RunFolder
    config: RunConfig
    model: Model
    optimizers: Optimizers
    data: dict[str, HeadData]
    ranks: Ranks
    device: torch.device

    def begin(self) -> int:
        """Load the newest checkpoint, or else what the configuration says to start from.

        Returns how many steps are done. Raises OvocrError naming what is missing or does not fit.
        """
        newest = self.folder.newest_checkpoint() if self.ranks.rank == 0 else None
        done = self.ranks.agree(0 if newest is None else read_state(newest)["step"], self.device)
        if self.ranks.rank == 0:
            for path in incomplete_checkpoints(self.folder.checkpoints):
                print(f"{path}: not a complete checkpoint, left aside", file=sys.stderr)
        if done:
            self._resume(self.folder.checkpoint(done))
        else:
            self._start()
        return done

    def save(self, done: int) -> None:
        """Save a checkpoint of so many steps; every rank calls this."""
        state: dict[str, Any] = {
            "step": done,
            "ranks": self.ranks.world,
            "seed": self.config.run.seed,  # all random draws are functions of it and of the counters below
            "num_classes": {name: data.num_classes for name, data in self.data.items()},
            "samples": {name: len(data.samples) for name, data in self.data.items()},
            "draws": {name: head.step for name, head in self.model.heads.items()},
            "positions": {name: done * head.global_batch for name, head in self.config.heads.items()},
            "configuration": dump_config(self.config),
        }
        tensors = self.model.tensors() | self.optimizers.tensors(self.model)
        save_checkpoint(self.folder.checkpoint(done), tensors, state, self.ranks)

    def _resume(self, checkpoint: Path) -> None:
        for name, count in saved_per_head(checkpoint, "samples", self.config).items():
            found = len(self.data[name].samples)
            if count != found:
                raise OvocrError(
                    f"{self.folder.root}: head {name} was trained on {count} samples, its data hold "
                    f"{found} now; choose another run.output, or the old data to go on with it "
                    "(in a list of videos, replace the line of a broken one by another's)"
                )
        load_checkpoint(checkpoint, self.model.tensors() | self.optimizers.tensors(self.model), self.ranks)
        for name, draws in saved_per_head(checkpoint, "draws", self.config).items():
            self.model.heads[name].step = draws

    def _start(self) -> None:
        if self.config.backbone.init_from is not None:
            try:
                self._start_backbone(self.config.backbone.init_from)
            except OvocrError as error:
                raise OvocrError(f"backbone.init_from: {error}") from error
        for name, head in self.config.heads.items():
            if head.init_from is not None:
                self._say(begin_centers(SourceHead.open(name, head.init_from), head, self.data[name], self.model))

    def _start_backbone(self, source: Path) -> None:
        """Weights of another run, or of a folder with config.json and model.safetensors."""
        if (source / RUN_CONFIG).is_file():
            run = RunFolder.open(source)
            check_same_network(run.config().backbone, self.config.backbone, run.config_path)
            source = run.trained_checkpoint()
            load_checkpoint(source, self.model.backbone_tensors(), self.ranks)
        else:
            fill(self.model.backbone_tensors(), self.model.backbone.read_weights(source), prefix="backbone.")
        self._say(f"backbone: from {source}")

    def _say(self, text: str) -> None:
        if self.ranks.rank == 0:
            print(text, file=sys.stderr)

"""The state of a run: starts from initial or another run's weights, saves checkpoints and resumes from them."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.trainer.backbone.vision_transformer import check_same_network
from ovocr.trainer.config.sections import RUN_CONFIG, RunConfig
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.data.head_data import HeadData
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.best_checkpoint import SavedEvaluation
from ovocr.trainer.runs.checkpoint import (
    Tensors,
    fill,
    incomplete_checkpoints,
    load_checkpoint,
    read_state,
    save_checkpoint,
)
from ovocr.trainer.runs.checkpoint_space import CheckpointSpace
from ovocr.trainer.runs.folder import RunFolder
from ovocr.trainer.training.initial_centers import SourceHead, load_initial_centers
from ovocr.trainer.training.model import Model, Optimizers, saved_per_head


@dataclass(frozen=True)
class RunState:
    """The folder, model, optimizers and data of a run, which checkpoints save and restore."""

    folder: RunFolder
    config: RunConfig
    model: Model
    optimizers: Optimizers
    data: dict[str, HeadData]
    ranks: Ranks
    device: torch.device

    def start_or_resume(self, from_step: int | None = None) -> int:
        """Loads the newest checkpoint, or else the initial weights that the configuration names.

        from_step: on rank 0, load the checkpoint after this number of steps instead of the newest one.

        Returns the number of finished steps. Raises OvocrError naming the file or setting that is missing or does not
        match.
        """
        if from_step is None:
            newest = self.folder.newest_checkpoint() if self.ranks.rank == 0 else None
            from_step = 0 if newest is None else read_state(newest)["step"]
        done = self.ranks.from_first_rank(from_step, self.device)
        if self.ranks.rank == 0:
            for path in incomplete_checkpoints(self.folder.checkpoints):
                print(f"{path}: incomplete checkpoint, ignored", file=sys.stderr)
        if done:
            self._resume(self.folder.checkpoint(done))
        else:
            self._start()
        return done

    def save(self, done: int, evaluation: SavedEvaluation | None = None) -> None:
        """Saves a checkpoint after ``done`` steps, with the evaluation after them; every rank calls this."""
        state: dict[str, Any] = {
            "step": done,
            "ranks": self.ranks.world,
            "seed": self.config.run.seed,  # all random draws depend only on the seed and the counters below
            "num_classes": {name: data.num_classes for name, data in self.data.items()},
            "samples": {name: len(data.samples) for name, data in self.data.items()},
            "draws": {name: head.step for name, head in self.model.heads.items()},
            "positions": {name: done * head.global_batch for name, head in self.config.heads.items()},
            "configuration": dump_config(self.config),
            **({} if evaluation is None else evaluation.to_state()),
        }
        save_checkpoint(self.folder.checkpoint(done), self._tensors(), state, self.ranks)

    def check_space(self, done: int) -> None:
        """Checks on rank 0 that there is room for the next checkpoint; warns if there is none for all that are kept.

        done: number of finished steps. Raises OvocrError if there is no room for one.
        """
        if done == self.config.run.steps or self.ranks.rank != 0:
            return
        warning = CheckpointSpace.of(self._tensors(), self.config, self.ranks).check(self.folder, self.config, done)
        if warning is not None:
            self._log(f"ovocr: {warning}")

    def _tensors(self) -> Tensors:
        return self.model.tensors() | self.optimizers.tensors(self.model)

    def _resume(self, checkpoint: Path) -> None:
        for name, count in saved_per_head(checkpoint, "samples", self.config).items():
            found = len(self.data[name].samples)
            if count != found:
                raise OvocrError(
                    f"{self.folder.root}: head {name} was trained on {counted(count, 'sample')}, but its data have "
                    f"{found:,} now; choose another run.output, or restore the old data to resume "
                    "(in a list of videos, replace the line of a broken video by another video's line)"
                )
        load_checkpoint(checkpoint, self._tensors(), self.ranks, may_lack=self.model.sample_counts())
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
                self._log(
                    load_initial_centers(SourceHead.open(name, head.init_from), head, self.data[name], self.model)
                )

    def _start_backbone(self, source: Path) -> None:
        """Loads the weights of another run, or of a folder with config.json and model.safetensors."""
        if (source / RUN_CONFIG).is_file():
            run = RunFolder.open(source)
            check_same_network(run.config().backbone, self.config.backbone, run.config_path)
            source = run.trained_checkpoint()
            load_checkpoint(source, self.model.backbone_tensors(), self.ranks)
        else:
            fill(self.model.backbone_tensors(), self.model.backbone.read_weights(source), prefix="backbone.")
        self._log(f"backbone: from {source}")

    def _log(self, text: str) -> None:
        if self.ranks.rank == 0:
            print(text, file=sys.stderr)

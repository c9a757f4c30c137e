"""The folder of a training run: what was asked for, with which versions, what came of it."""

import json
import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ovocr import __version__
from ovocr.base.errors import OvocrError
from ovocr.base.files import locked, write_text
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import RUN_CONFIG, LoaderConfig, RunConfig
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.vocab import Vocabulary

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pyarrow", "safetensors", "av")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run: config.toml (resolved), versions.json, metrics.jsonl, skipped.jsonl and folders."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "RunFolder":
        """The run in ``root``. Raises OvocrError where there is none."""
        folder = cls(Path(root))
        if not folder.config_path.is_file():
            raise OvocrError(f"{root}: not a training run (no config.toml); make one with `ovocr train`")
        return folder

    @property
    def config_path(self) -> Path:
        """The resolved configuration, TOML."""
        return self.root / RUN_CONFIG

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line and step."""
        return self.root / "metrics.jsonl"

    @property
    def skipped_path(self) -> Path:
        """One JSON object a line and sample that was damaged; there is none where none was."""
        return self.root / "skipped.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, each named by the number of steps done."""
        return self.root / "checkpoints"

    def vocabulary_path(self, head: str) -> Path:
        """A copy of the vocabulary that a head's class ids stand for."""
        return self.root / "vocab" / f"{head}.txt"

    def checkpoint(self, step: int) -> Path:
        """The checkpoint after ``step`` steps."""
        return self.checkpoints / f"{step:08d}"

    def newest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint, if there is one."""
        complete = complete_checkpoints(self.checkpoints)
        return complete[-1] if complete else None

    def trained_checkpoint(self, step: int | None = None) -> Path:
        """The checkpoint after ``step`` steps, or the newest complete one. Raises OvocrError where there is none."""
        complete = complete_checkpoints(self.checkpoints)
        if not complete:
            raise OvocrError(f"{self.root}: no complete checkpoint yet; let `ovocr train` go on")
        if step is None:
            return complete[-1]
        if self.checkpoint(step) not in complete:
            steps = ", ".join(str(int(path.name)) for path in complete)
            raise OvocrError(f"{self.root}: no checkpoint after {step} steps; there are those after {steps}")
        return self.checkpoint(step)

    def config(self) -> RunConfig:
        """The run's configuration; what it names need not be there any more."""
        return load_config(self.config_path, check_paths=False)

    def prepare(self, config: RunConfig, vocabularies: dict[str, Vocabulary | None]) -> None:
        """Make the folder, or check that what has been trained in it was of the same configuration, to go on with.

        vocabularies: of each head; None where its class ids are mere numbers.

        Raises OvocrError naming the first difference otherwise.
        """
        if self.config_path.is_file() and self.newest_checkpoint() is not None:
            difference = _difference(self.config(), config)
            if difference:
                raise OvocrError(
                    f"{self.root}: holds a run of another configuration ({difference}); "
                    "choose another run.output, or the old settings to go on with it"
                )
            for head, vocabulary in vocabularies.items():
                self._check_vocabulary(head, vocabulary)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for head, vocabulary in vocabularies.items():
            if vocabulary is not None:
                vocabulary.save(self.vocabulary_path(head))
        write_text(self.root / "versions.json", json.dumps(_versions(), indent=1, sort_keys=True) + "\n")
        write_text(self.config_path, dump_config(config))

    def lock(self) -> AbstractContextManager[None]:
        """Held while a run is trained in the folder. Raises OvocrError where another process does so."""
        return locked(self.root / ".lock", f"{self.root}: another process is training in this folder")

    def _check_vocabulary(self, head: str, vocabulary: Vocabulary | None) -> None:
        path = self.vocabulary_path(head)
        before = Vocabulary.load(path).sha256 if path.is_file() else None
        if before != (None if vocabulary is None else vocabulary.sha256):
            raise OvocrError(
                f"{self.root}: head {head} was trained on another vocabulary than its data have now; "
                "choose another run.output, or the old data to go on with it"
            )


def _versions() -> dict[str, str]:
    found = {"ovocr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # opencv has several distributions; which one is not ours to choose
            continue
    return found


def _difference(old: RunConfig, new: RunConfig) -> str:
    """The first setting in which two configurations differ in anything that changes what a step computes."""
    there, asked = (_flat(_computed(config).model_dump()) for config in (old, new))
    for key in {**there, **asked}:
        if there.get(key) != asked.get(key):
            found, wanted = (_shown(key, values) for values in (there, asked))
            return f"{key}: there {found}, asked for {wanted}"
    return ""


def _flat(tables: dict[str, Any], section: str = "") -> dict[str, object]:
    """Returns every setting by its dotted name."""
    flat: dict[str, object] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{section}{key}.") if isinstance(value, dict) else {f"{section}{key}": value}
    return flat


def _shown(key: str, settings: dict[str, object]) -> str:
    value = settings.get(key)
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "nothing" if value is None else str(value)


def _computed(config: RunConfig) -> RunConfig:
    """Returns the configuration with fixed values for all settings that do not change what a step computes."""
    run = config.run.model_copy(
        update={
            "output": Path(),
            "log_every": 1,
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
            "tensorboard": False,
            "device": "auto",
            "backbone_parallel": "ddp",
            "compile": False,
            "activation_checkpointing": False,
            "collective_timeout_s": 1.0,
        }
    )
    heads = {
        # Data may move, and checkpoints hold the initial centers. Changed data are found by other checks.
        name: head.model_copy(
            update={"data": tuple(Path(path.name) for path in head.data), "init_from": None, "init_map": None}
        )
        for name, head in config.heads.items()
    }
    backbone = config.backbone.model_copy(update={"init_from": None})
    return config.model_copy(update={"run": run, "backbone": backbone, "loader": LoaderConfig(), "heads": heads})

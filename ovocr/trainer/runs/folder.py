"""The folder of a training run: configuration, versions, metrics and checkpoints."""

import json
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from ovocr import __version__
from ovocr.base.errors import OvocrError
from ovocr.base.files import locked, write_text
from ovocr.base.plural import counted
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig
from ovocr.trainer.config.sections import RUN_CONFIG, LoaderConfig, RunConfig
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.runs.best_checkpoint import best_checkpoint
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pyarrow", "safetensors", "av")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run: config.toml (resolved), versions.json, metrics.jsonl, skipped.jsonl and subfolders."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "RunFolder":
        """Returns the run in ``root``. Raises OvocrError if it is not a run."""
        folder = cls(Path(root))
        if not folder.config_path.is_file():
            raise OvocrError(f"{root}: not a training run (no config.toml); create one with `ovocr train`")
        return folder

    @property
    def config_path(self) -> Path:
        """The resolved configuration, TOML."""
        return self.root / RUN_CONFIG

    @property
    def metrics_path(self) -> Path:
        """JSON lines, one object per step."""
        return self.root / "metrics.jsonl"

    @property
    def skipped_path(self) -> Path:
        """JSON lines, one object per damaged sample; the file exists only if samples were damaged."""
        return self.root / "skipped.jsonl"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, each named by its number of finished steps."""
        return self.root / "checkpoints"

    def vocabulary_path(self, head: str) -> Path:
        """Returns the path of the copy of a head's vocabulary."""
        return self.root / "vocab" / f"{head}.txt"

    def prior_path(self, head: str) -> Path:
        """Returns the path of what the run keeps of a head's training data: class counts and hashes of images."""
        return self.priors / f"{head}.npz"

    @property
    def priors(self) -> Path:
        """Folder of what the run keeps of its training data."""
        return self.root / "prior"

    def frequencies_path(self, head: str) -> Path:
        """Returns the path of the copy of the word frequencies from which a head's tags get weights."""
        return self.root / "vocab" / f"{head}.frequencies.tsv"

    def checkpoint(self, step: int) -> Path:
        """Returns the path of the checkpoint after ``step`` steps."""
        return self.checkpoints / f"{step:08d}"

    def newest_checkpoint(self) -> Path | None:
        """Returns the newest complete checkpoint, or None."""
        complete = complete_checkpoints(self.checkpoints)
        return complete[-1] if complete else None

    def trained_checkpoint(self, step: int | Literal["best"] | None = None) -> Path:
        """Returns the checkpoint after ``step`` steps, the best one, or the newest complete one.

        Raises OvocrError if it is missing.
        """
        complete = complete_checkpoints(self.checkpoints)
        if not complete:
            raise OvocrError(f"{self.root}: no complete checkpoint yet; continue the run with `ovocr train`")
        if step is None:
            return complete[-1]
        if step == "best":
            best = best_checkpoint(self.checkpoints)
            if best is None:
                raise OvocrError(
                    f"{self.root}: no checkpoint has a word AUC, so none is the best; choose one by its step, or let "
                    "the run evaluate held-out data: [evaluation] in its configuration"
                )
            return best
        if self.checkpoint(step) not in complete:
            steps = ", ".join(str(int(path.name)) for path in complete)
            raise OvocrError(f"{self.root}: no checkpoint after {counted(step, 'step')}, only after {steps}")
        return self.checkpoint(step)

    def config(self) -> RunConfig:
        """Returns the run's configuration; the paths in it need not exist any more."""
        return load_config(self.config_path, check_paths=False)

    def prepare(
        self,
        config: RunConfig,
        vocabularies: dict[str, Vocabulary | None],
        frequencies: Mapping[str, WordFrequencies] | None = None,
    ) -> None:
        """Creates the folder, or checks that its run can be resumed with this configuration.

        vocabularies: vocabulary of each head; None if its class ids have no vocabulary. frequencies: word frequencies
        of the heads whose tags have weights.

        Raises OvocrError naming the first difference.
        """
        if self.config_path.is_file() and self.newest_checkpoint() is not None:
            difference = _difference(self.config(), config)
            if difference:
                raise OvocrError(
                    f"{self.root}: contains a run with a different configuration ({difference}); "
                    "choose another run.output, or restore the old settings to resume it"
                )
            for head, vocabulary in vocabularies.items():
                self._check_vocabulary(head, vocabulary)
            for head, own in (frequencies or {}).items():
                self._check_frequencies(head, own)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for head, vocabulary in vocabularies.items():
            if vocabulary is not None:
                vocabulary.save(self.vocabulary_path(head))
        for head, own in (frequencies or {}).items():
            own.save(self.frequencies_path(head))
        write_text(self.root / "versions.json", json.dumps(_versions(), indent=1, sort_keys=True) + "\n")
        write_text(self.config_path, dump_config(config))

    def lock(self) -> AbstractContextManager[None]:
        """Returns a lock to hold while training in the folder. Raises OvocrError if another process holds it."""
        return locked(self.root / ".lock", f"{self.root}: another process is training in this folder")

    def _check_vocabulary(self, head: str, vocabulary: Vocabulary | None) -> None:
        path = self.vocabulary_path(head)
        before = Vocabulary.load(path).sha256 if path.is_file() else None
        if before != (None if vocabulary is None else vocabulary.sha256):
            raise OvocrError(
                f"{self.root}: head {head} was trained with a different vocabulary than its data have now; "
                "choose another run.output, or restore the old data to resume it"
            )

    def _check_frequencies(self, head: str, frequencies: WordFrequencies) -> None:
        path = self.frequencies_path(head)
        if WordFrequencies.load(path).sha256 != frequencies.sha256:
            raise OvocrError(
                f"{self.root}: head {head} was trained with different word frequencies than its tag_frequencies has "
                f"now; choose another run.output, or set tag_frequencies to {path}, the copy of the old file"
            )


def _versions() -> dict[str, str]:
    found = {"ovocr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # OpenCV has several distributions, and any of them may be installed
            continue
    return found


def _difference(old: RunConfig, new: RunConfig) -> str:
    """Describes the first different setting that affects what a step computes; empty if all are equal."""
    old_settings, new_settings = (_flat(_relevant_to_steps(config).model_dump()) for config in (old, new))
    for key in {**old_settings, **new_settings}:
        if old_settings.get(key) != new_settings.get(key):
            old_value, new_value = (_format_setting(key, settings) for settings in (old_settings, new_settings))
            return f"{key} was {old_value}, is now {new_value}"
    return ""


def _flat(tables: dict[str, Any], section: str = "") -> dict[str, object]:
    """Returns every setting by its dotted name."""
    flat: dict[str, object] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{section}{key}.") if isinstance(value, dict) else {f"{section}{key}": value}
    return flat


def _format_setting(key: str, settings: dict[str, object]) -> str:
    value = settings.get(key)
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "not set" if value is None else str(value)


def _relevant_to_steps(config: RunConfig) -> RunConfig:
    """Resets settings that do not affect what a step computes: logging, loading, evaluation and locations."""
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
    heads = {name: _without_locations(head) for name, head in config.heads.items()}
    backbone = config.backbone.model_copy(update={"init_from": None})
    unused = {"loader": LoaderConfig(), "evaluation": EvaluationConfig()}
    return config.model_copy(update={"run": run, "backbone": backbone, "heads": heads, **unused})


def _without_locations(head: HeadConfig) -> HeadConfig:
    """Resets the paths of a head: files may have moved, and the initial weights are in the checkpoints.

    Changed data, vocabularies and frequencies are detected elsewhere.
    """
    update: dict[str, object] = {"data": tuple(Path(path.name) for path in head.data)}
    update |= {"init_from": None, "init_map": None}
    if isinstance(head, OcrHeadConfig):
        update["tag_frequencies"] = None
    return head.model_copy(update=update)

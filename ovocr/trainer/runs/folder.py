"""The folder of a training run: configuration, versions, metrics and checkpoints."""

import json
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from ovocr import __version__
from ovocr.base.errors import OvocrError
from ovocr.base.files import locked, make_folder, write_text
from ovocr.base.plural import counted
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import RUN_CONFIG, RunConfig
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.runs.best_checkpoint import best_checkpoint
from ovocr.trainer.runs.checkpoint import complete_checkpoints
from ovocr.vocab import Vocabulary
from ovocr.vocab.word_frequencies import WordFrequencies

_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pyarrow", "safetensors", "av")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run: config.toml (resolved), versions.json, JSON lines and subfolders."""

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
    def extensions_path(self) -> Path:
        """JSON lines, one object per extension; the file exists only if the run was extended."""
        return self.root / "extensions.jsonl"

    @property
    def pending_extension_path(self) -> Path:
        """JSON, an extension that is being carried out; the file exists only meanwhile."""
        return self.root / "extension.pending.json"

    @property
    def superseded(self) -> Path:
        """Folder of the runs that extensions replaced, each a run folder itself."""
        return self.root / "superseded"

    @property
    def lock_path(self) -> Path:
        """The lock file of the process that trains in the folder."""
        return self.root / ".lock"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.root / "tensorboard"

    @property
    def tracking_path(self) -> Path:
        """JSON: the runs of the experiment trackers that this run is."""
        return self.root / "tracking.json"

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
        """Creates the folder, or checks that its run can be resumed with these data.

        config: a configuration with which the run can be resumed (runs/extension_plan.py).
        vocabularies: vocabulary of each head; None if its class ids have no vocabulary. frequencies: word frequencies
        of the heads whose tags have weights.

        Raises OvocrError naming the first head that differs.
        """
        if self.config_path.is_file() and self.newest_checkpoint() is not None:
            self.check_data(vocabularies, frequencies)
        else:
            self.extensions_path.unlink(missing_ok=True)  # of a run whose checkpoints the user has removed
        make_folder(self.checkpoints)
        for head, vocabulary in vocabularies.items():
            if vocabulary is not None:
                vocabulary.save(self.vocabulary_path(head))
        for head, own in (frequencies or {}).items():
            own.save(self.frequencies_path(head))
        write_text(self.root / "versions.json", json.dumps(package_versions(), indent=1, sort_keys=True) + "\n")
        write_text(self.config_path, dump_config(config))

    def check_data(
        self, vocabularies: Mapping[str, Vocabulary | None], frequencies: Mapping[str, WordFrequencies] | None = None
    ) -> None:
        """Checks that a run can be resumed with these data; see ``prepare``. Raises OvocrError naming the head."""
        for head, vocabulary in vocabularies.items():
            self._check_vocabulary(head, vocabulary)
        for head, own in (frequencies or {}).items():
            self._check_frequencies(head, own)

    def lock(self) -> AbstractContextManager[None]:
        """Returns a lock to hold while training in the folder. Raises OvocrError if another process holds it."""
        return locked(self.lock_path, f"{self.root}: another process is training in this folder")

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


def package_versions() -> dict[str, str]:
    """Returns the versions of ovocr, Python and the packages that compute a run, as installed now."""
    found = {"ovocr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # OpenCV has several distributions, and any of them may be installed
            continue
    return found

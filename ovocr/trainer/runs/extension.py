"""Carries out the extension of a run, keeps the run that it supersedes, and records it.

``carry_out`` first writes the whole extension into one file of the run's folder, the point of no return. Everything
after it can be repeated, so ``finish_extension`` completes the work of a killed process when the run starts again.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.files import PARTIAL_SUFFIX, fsync, fsync_tree, make_folder, partial_path, write_text
from ovocr.base.plural import counted
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.runs.checkpoint import remove_checkpoint
from ovocr.trainer.runs.folder import RunFolder

# As an extension names the folder of a run that it replaces (runs/extension_plan.py).
_SUPERSEDED = re.compile(r"superseded/[0-9]+(-[0-9]+)?")


@dataclass(frozen=True)
class Extension:
    """The record of an extension, a line of extensions.jsonl.

    date: UTC.
    from_step: number of finished steps from which the run goes on.
    trained_steps: number of finished steps when it was extended.
    old_steps, steps: run.steps before and after.
    old_schedule, schedule: optimizer.schedule before and after.
    cooldown_steps: of the new schedule.
    schedule_start: step at which the new schedule begins.
    superseded: the folder of the run as it was, relative to the run's folder; None if nothing of it was replaced.
    """

    date: str
    from_step: int
    trained_steps: int
    old_steps: int
    steps: int
    old_schedule: str
    schedule: str
    cooldown_steps: int
    schedule_start: int
    superseded: str | None

    def format(self, root: Path) -> str:
        """Returns a clause that describes the extension of the run in ``root``."""
        kept = ""
        if self.superseded is not None:
            kept = f"; the run of {counted(self.trained_steps, 'step')} is kept in {root / self.superseded}"
        return f"from {self.old_steps:,} to {counted(self.steps, 'step')}, going on from step {self.from_step:,}{kept}"


def read_extensions(folder: RunFolder) -> list[Extension]:
    """Returns the extensions of a run, oldest first. Raises OvocrError if the file cannot be read."""
    path = folder.extensions_path
    if not path.is_file():
        return []
    try:
        return [_extension(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise OvocrError(f"{path}: not the extensions of a run: {error}; restore the file, or remove it") from error


def carry_out(
    folder: RunFolder, extension: Extension, old: RunConfig, new: RunConfig, moved: list[Path], shared: list[Path]
) -> None:
    """Extends a run whose folder this process has locked.

    moved: checkpoints that move to the superseded run. shared: further ones that it gets, which the run keeps.

    Raises OvocrError if a file cannot be written; starting the run again then completes the extension.
    """
    superseded_config = ""
    if extension.superseded is not None:
        run = old.run.model_copy(update={"output": old.run.output / extension.superseded})
        superseded_config = dump_config(old.model_copy(update={"run": run}))
    pending = {
        "extension": asdict(extension),
        "config": dump_config(new),
        "superseded_config": superseded_config,
        "moved": [path.name for path in moved],
        "shared": [path.name for path in shared],
    }
    with _errors_of(folder):
        write_text(folder.pending_extension_path, json.dumps(pending, indent=1) + "\n")
    finish_extension(folder)


def finish_extension(folder: RunFolder) -> Extension | None:
    """Completes an extension that was interrupted, if there is one, and returns it.

    Raises OvocrError if a file cannot be written.
    """
    path = folder.pending_extension_path
    if not path.is_file():
        return None
    with _errors_of(folder):
        pending = _read_pending(path)
        extension = _extension(pending["extension"])
        if extension.superseded is not None:
            _keep_superseded(folder, folder.root / extension.superseded, pending)
            if extension.from_step < extension.trained_steps:
                # Trackers cannot take steps back: the steps of the old cooldown stay in their runs, new ones begin.
                folder.tracking_path.unlink(missing_ok=True)
        write_text(folder.config_path, pending["config"])
        extensions = read_extensions(folder)
        if extension not in extensions:
            lines = [json.dumps(asdict(each)) + "\n" for each in (*extensions, extension)]
            write_text(folder.extensions_path, "".join(lines))
        path.unlink()
        fsync(folder.root)
    return extension


def _extension(entry: Any) -> Extension:
    """Returns the extension in a JSON object. Raises TypeError or ValueError if it is none."""
    names = {field.name for field in fields(Extension)}
    if not isinstance(entry, dict) or entry.keys() != names:
        raise ValueError(f"expected {', '.join(sorted(names))}")
    extension = Extension(**entry)
    for field in fields(Extension):
        value = getattr(extension, field.name)
        if field.name.endswith(("step", "steps", "start")):
            is_valid = type(value) is int
        else:
            is_valid = isinstance(value, str) or (value is None and field.name == "superseded")
        if not is_valid:
            raise ValueError(f"{field.name} is a {type(value).__name__}")
    if extension.superseded is not None and not _SUPERSEDED.fullmatch(extension.superseded):
        raise ValueError("superseded is not the folder of a superseded run")
    return extension


def _read_pending(path: Path) -> dict[str, Any]:
    """Returns the extension that is being carried out, with all that is needed to complete it.

    The run may come from a stranger: names in the file must not lead out of the run's folder. Raises OvocrError.
    """
    try:
        pending = json.loads(path.read_text(encoding="utf-8"))
        _extension(pending["extension"])
        for name in (*pending["moved"], *pending["shared"]):
            if not (isinstance(name, str) and name.isdecimal()):
                raise ValueError("a checkpoint's name is not its number of steps")
        for name in ("config", "superseded_config"):
            if not isinstance(pending[name], str):
                raise ValueError("it has no configuration")
            pending[name].encode("utf-8")  # JSON may have halves of characters
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise OvocrError(
            f"{path}: not an extension of a run: {type(error).__name__}: {error}; restore the file"
        ) from error
    return {name: pending[name] for name in ("extension", "moved", "shared", "config", "superseded_config")}


@contextmanager
def _errors_of(folder: RunFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OvocrError(
            f"{error.filename or folder.root}: the run cannot be extended: {error.strerror}; run the same command to "
            "complete the extension"
        ) from error


def _keep_superseded(folder: RunFolder, superseded: Path, pending: dict[str, Any]) -> None:
    if superseded.exists():
        return
    kept = RunFolder(partial_path(superseded))
    make_folder(kept.checkpoints)
    for name in pending["moved"]:
        _move(folder.checkpoints / name, kept.checkpoints / name)
    for name in pending["shared"]:
        _share(folder.checkpoints / name, kept.checkpoints / name)
    own = {folder.config_path, folder.checkpoints, folder.superseded, folder.lock_path, folder.pending_extension_path}
    for path in sorted({*folder.root.iterdir()} - own):
        if path.is_dir():
            _share(path, kept.root / path.name)
        elif path.suffix != PARTIAL_SUFFIX:
            shutil.copy2(path, kept.root / path.name)  # no link: the run adds lines to its files in place
            fsync(kept.root / path.name)
    write_text(kept.config_path, pending["superseded_config"])
    fsync(kept.checkpoints)
    fsync(kept.root)
    kept.root.rename(superseded)
    fsync(superseded.parent)


def _move(source: Path, target: Path) -> None:
    """Moves a checkpoint, unless that has been done."""
    if not source.exists():
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # the folder of the checkpoints may be a link to another file system
            raise
        _share(source, target)
        remove_checkpoint(source)


def _share(source: Path, target: Path) -> None:
    """Makes a folder appear at a second place, unless that has been done.

    Its files are linked: files in folders of a run are written once, or replaced by other files. They are copied where
    the file system has no links.
    """
    if target.exists():
        return
    partial = partial_path(target)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, copy_function=_link)
    fsync_tree(partial)
    partial.rename(target)
    fsync(target.parent)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

"""Decides whether a run can go on with a configuration: as it is, by an extension, or not at all."""

from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.files import partial_path
from ovocr.base.plural import counted
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.runs.best_checkpoint import best_checkpoint
from ovocr.trainer.runs.checkpoint import complete_checkpoints, read_state
from ovocr.trainer.runs.configuration_difference import find_differences
from ovocr.trainer.runs.extension import Extension, carry_out
from ovocr.trainer.runs.folder import RunFolder

# What an extension may change if the run keeps its schedule wsd, and if it gets one after a polynomial schedule.
_LENGTH = frozenset({"run.steps", "optimizer.cooldown_steps"})
_NEW_SCHEDULE = _LENGTH | {f"optimizer.{key}" for key in ("schedule", "warmup_steps", "decay_power", "schedule_start")}
_START_KEY = "optimizer.schedule_start"


@dataclass(frozen=True)
class PlannedExtension:
    """An extension that was checked and has changed nothing yet.

    old, new: the configurations before and after.
    moved: checkpoints that belong to the old length only. shared: further ones that the superseded run keeps.
    """

    folder: RunFolder
    extension: Extension
    old: RunConfig
    new: RunConfig
    moved: list[Path]
    shared: list[Path]

    def carry_out(self) -> None:
        """Extends the run, whose folder this process has locked. Raises OvocrError if a file cannot be written."""
        carry_out(self.folder, self.extension, self.old, self.new, self.moved, self.shared)

    def format(self) -> str:
        """Returns a clause that describes the extension."""
        return self.extension.format(self.folder.root)


class ExtensionError(UsageError):
    """A run that cannot be extended. ``reason`` is the message without the option and the folder."""

    def __init__(self, folder: RunFolder, reason: str) -> None:
        super().__init__(f"--extend: {folder.root}: {reason}")
        self.reason = reason


def check_configuration(
    folder: RunFolder, config: RunConfig, *, extend: bool
) -> tuple[RunConfig, PlannedExtension | None]:
    """Checks that the run in the folder, if there is one, can go on with a configuration; changes nothing.

    extend: whether the run may be extended.

    Returns the configuration with the run's ``schedule_start``, and the extension if one is needed. Raises OvocrError
    naming the first difference, or UsageError naming the option or setting that cannot be used.
    """
    newest = folder.newest_checkpoint()
    done = 0 if newest is None else _step(newest)
    planned = None
    if newest is not None and folder.config_path.is_file():
        old = folder.config()
        config = _with_start_of_run(config, old)
        differences = find_differences(old, config)
        if differences and extend:
            planned = _plan(folder, old, config, done, differences)
            config = planned.new
        elif differences:
            raise OvocrError(_different(folder, old, config, done, differences))
    elif extend:
        raise ExtensionError(folder, "has no run with a checkpoint; start the run without --extend")
    _check_start(folder, config, done)
    return config, planned


def with_schedule_start(config: RunConfig, start: int) -> RunConfig:
    """Returns the configuration with another start of its schedule. Raises UsageError if the schedule is too long."""
    changed = config.model_copy(
        update={"optimizer": config.optimizer.model_copy(update={"schedule_start": start or None})}
    )
    for key, problem in changed.conflicts():
        raise UsageError(f"{key}: {problem}")
    return changed


def _with_start_of_run(config: RunConfig, old: RunConfig) -> RunConfig:
    """Takes ``schedule_start`` from the run: users need not give it after an extension."""
    start = old.optimizer.schedule_start
    if start is None or config.optimizer.schedule != "wsd" or config.optimizer.schedule_start is not None:
        return config
    return with_schedule_start(config, start)


def _check_start(folder: RunFolder, config: RunConfig, done: int) -> None:
    start = config.optimizer.schedule_start or 0
    if done < start:
        raise UsageError(
            f"{_START_KEY}: {start:,} is after the newest checkpoint in {folder.root}, of {counted(done, 'step')}; "
            f"restore {folder.checkpoint(start)} to resume an extended run, or leave the setting out of a new one"
        )


def _different(folder: RunFolder, old: RunConfig, config: RunConfig, done: int, differences: dict[str, str]) -> str:
    """Returns the message about the first difference, with what an extension would do if it may be wanted."""
    difference = next(iter(differences.values()))
    advice = "choose another run.output, or restore the old settings to resume it"
    if differences.keys() <= _NEW_SCHEDULE:
        try:
            planned = _plan(folder, old, config, done, differences)
            advice += f", or add --extend to change its length {planned.format()}"
        except UsageError as error:
            reason = error.reason if isinstance(error, ExtensionError) else error
            advice += f"; --extend cannot change it: {reason}"
    return f"{folder.root}: contains a run with a different configuration ({difference}); {advice}"


def _plan(
    folder: RunFolder, old: RunConfig, config: RunConfig, done: int, differences: dict[str, str]
) -> PlannedExtension:
    """Returns the extension that leads to a configuration. Raises UsageError if there is none."""
    old_schedule, schedule = old.optimizer.schedule, config.optimizer.schedule
    is_new_schedule = old_schedule == "polynomial" and schedule == "wsd"
    allowed = _NEW_SCHEDULE if is_new_schedule else _LENGTH
    for key, difference in differences.items():
        if key not in allowed:
            problem = f"{difference}; --extend changes only {' and '.join(sorted(_LENGTH, reverse=True))}"
            raise ExtensionError(folder, f"{problem}; restore the old setting")
    if config.run.steps < done:
        trained = f"{counted(done, 'step')} are trained, more than run.steps, {config.run.steps:,}"
        raise ExtensionError(folder, f"{trained}; choose more steps")
    if old_schedule == "polynomial":
        config = _continue_polynomial(folder, old, config, done)
        from_step = done
    else:
        from_step = _step_before_cooldown(folder, old, config)
    checkpoints = complete_checkpoints(folder.checkpoints)
    moved = [path for path in checkpoints if _step(path) > from_step]
    kept: set[Path] = set()
    if moved or is_new_schedule:
        kept = {path for path in (checkpoints[-1], best_checkpoint(folder.checkpoints)) if path is not None}
    extension = Extension(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        from_step=from_step,
        trained_steps=done,
        old_steps=old.run.steps,
        steps=config.run.steps,
        old_schedule=old_schedule,
        schedule=schedule,
        cooldown_steps=config.optimizer.cooldown_steps or 0,
        schedule_start=config.optimizer.schedule_start or 0,
        superseded=_free_name(folder, done) if kept else None,
    )
    return PlannedExtension(folder, extension, old, config, moved, sorted(kept - {*moved}))


def _continue_polynomial(folder: RunFolder, old: RunConfig, config: RunConfig, done: int) -> RunConfig:
    """Returns the configuration whose schedule begins after a finished polynomial one."""
    if done < old.run.steps:
        raise ExtensionError(
            folder,
            f"{done:,} of {counted(old.run.steps, 'step')} are done, and a polynomial schedule depends on its length; "
            "finish the run with its old settings first",
        )
    if config.optimizer.schedule == "polynomial":
        raise ExtensionError(
            folder,
            "its polynomial schedule has ended at a learning rate of 0; give the added steps another schedule: "
            "--set optimizer.schedule=wsd --set optimizer.cooldown_steps=N",
        )
    if config.run.steps == done:
        raise ExtensionError(folder, f"{counted(done, 'step')} are done, and run.steps adds none; choose more steps")
    if config.optimizer.schedule_start not in (None, done):
        given = config.optimizer.schedule_start
        raise ExtensionError(folder, f"{_START_KEY} is {given}, but the schedule begins at step {done}; leave it out")
    return with_schedule_start(config, done)


def _step_before_cooldown(folder: RunFolder, old: RunConfig, config: RunConfig) -> int:
    """Returns the step of the newest checkpoint that a run of the new length has in common with the old one."""
    if old.cooldown_start is None or config.cooldown_start is None:
        raise RuntimeError("the schedule has no cooldown")
    start = old.optimizer.schedule_start or 0
    steps = [_step(path) for path in complete_checkpoints(folder.checkpoints)]
    common = [step for step in steps if start <= step <= old.cooldown_start]
    if not common:
        began = f"from before its cooldown, which began at step {old.cooldown_start:,}"
        raise ExtensionError(folder, f"no checkpoint is {began}; only a new run can be longer")
    if config.cooldown_start < common[-1]:
        begins = f"the cooldown would begin at step {config.cooldown_start:,}"
        remedy = "choose more run.steps or fewer optimizer.cooldown_steps"
        raise ExtensionError(folder, f"{begins}, but the run goes on from step {common[-1]:,}; {remedy}")
    return common[-1]


def _free_name(folder: RunFolder, done: int) -> str:
    """Returns a path for the superseded run, relative to the folder, that no earlier extension has taken."""
    for number in count(1):
        path = folder.superseded / (f"{done:08d}" if number == 1 else f"{done:08d}-{number}")
        if not path.exists() and not partial_path(path).exists():
            return str(path.relative_to(folder.root))
    raise RuntimeError("every name is taken")


def _step(checkpoint: Path) -> int:
    step: int = read_state(checkpoint)["step"]
    return step

"""Extensions of run folders: what is refused, what is kept, and kills at every change of a file."""

import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import RunConfig
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs import extension as extension_module
from ovocr.trainer.runs.best_checkpoint import SavedEvaluation
from ovocr.trainer.runs.checkpoint import complete_checkpoints, save_checkpoint
from ovocr.trainer.runs.extension import Extension, finish_extension, read_extensions
from ovocr.trainer.runs.extension_plan import check_configuration
from ovocr.trainer.runs.folder import RunFolder
from ovocr.vocab import Vocabulary

# A run of 12 steps of the fixture config_file: its cooldown begins at step 8.
WSD = ("optimizer.schedule=wsd", "optimizer.cooldown_steps=4")


def make_run(config: RunConfig, *steps: int, best: int | None = None) -> RunFolder:
    """Writes a run folder with small checkpoints after these steps."""
    folder = RunFolder(config.run.output)
    folder.prepare(config, {"ocr": Vocabulary(["word"])})
    for step in steps:
        evaluation = SavedEvaluation(0.9 if step == best else 0.5, {}, {}, 8.0).to_state() if best else {}
        save_checkpoint(folder.checkpoint(step), {"a": torch.full((2,), step)}, {"step": step, **evaluation}, Ranks())
    folder.metrics_path.write_text("".join(f'{{"step": {step}}}\n' for step in range(max(steps))))
    folder.tensorboard.mkdir()
    (folder.tensorboard / "events").write_text("curves")
    return folder


def steps_of(folder: RunFolder) -> list[int]:
    return [int(path.name) for path in complete_checkpoints(folder.checkpoints)]


def failing(error: OSError) -> Callable[..., None]:
    """Returns a function that raises the error."""

    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


def extend(config: RunConfig) -> None:
    folder = RunFolder(config.run.output)
    _, planned = check_configuration(folder, config, extend=True)
    assert planned is not None
    planned.carry_out()


REFUSALS = {
    "other rate": (
        (WSD, (4, 8, 12), (*WSD, "run.steps=20", "optimizer.lr=2e-3")),
        r"optimizer.lr was 0.001, is now 0.002; --extend changes only run.steps and optimizer.cooldown_steps; restore ",
    ),
    "other batch": (
        (WSD, (4, 8, 12), (*WSD, "run.steps=20", "heads.ocr.global_batch=12")),
        r"heads.ocr.global_batch was 6, is now 12; --extend changes only ",
    ),
    "other warm-up": (
        (WSD, (4, 8, 12), (*WSD, "run.steps=20", "optimizer.warmup_steps=3")),
        r"optimizer.warmup_steps was 2, is now 3; --extend changes only ",
    ),
    "other schedule": (
        (WSD, (4, 8, 12), ("run.steps=20",)),
        r"optimizer.schedule was wsd, is now polynomial; --extend changes only ",
    ),
    "fewer steps": (
        (WSD, (4, 8, 12), (*WSD, "run.steps=11")),
        r"12 steps are trained, more than run.steps, 11; choose more steps$",
    ),
    "early cooldown": (
        (WSD, (4, 8, 12), (*WSD, "run.steps=13", "optimizer.cooldown_steps=6")),
        r"the cooldown would begin at step 7, but the run goes on from step 8; choose more run.steps or fewer ",
    ),
    "no checkpoint before the cooldown": (
        (WSD, (9, 12), (*WSD, "run.steps=20")),
        r"no checkpoint is from before its cooldown, which began at step 8; only a new run can be longer$",
    ),
    "unfinished polynomial": (
        ((), (4, 8), (*WSD, "run.steps=20")),
        r"8 of 12 steps are done, and a polynomial schedule depends on its length; finish the run with its old settin",
    ),
    "polynomial again": (
        ((), (8, 12), ("run.steps=20",)),
        r"its polynomial schedule has ended at a learning rate of 0; give the added steps another schedule: --set "
        r"optimizer.schedule=wsd --set optimizer.cooldown_steps=N$",
    ),
    "no added steps": (
        ((), (8, 12), WSD),
        r"12 steps are done, and run.steps adds none; choose more steps$",
    ),
    "other rate after polynomial": (
        ((), (8, 12), (*WSD, "run.steps=20", "optimizer.lr=2e-3")),
        r"optimizer.lr was 0.001, is now 0.002; --extend changes only ",
    ),
    "start set by hand": (
        ((), (8, 12), (*WSD, "run.steps=20", "optimizer.schedule_start=10")),
        r"optimizer.schedule_start is 10, but the schedule begins at step 12; leave it out$",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_is_one_line_and_changes_nothing(config_file: Path, tmp_path: Path, case: str) -> None:
    (old, steps, new), message = REFUSALS[case]
    folder = make_run(load_config(config_file, old), *steps)
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=f"^--extend: {tmp_path}/run: {message}") as caught:
        check_configuration(folder, load_config(config_file, new), extend=True)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before


def test_a_schedule_longer_than_the_added_steps_is_refused(config_file: Path) -> None:
    folder = make_run(load_config(config_file), 8, 12)
    end = "run.steps, 17, minus schedule_start, 12"
    with pytest.raises(UsageError, match=f"^optimizer.cooldown_steps: 4 plus warmup_steps, 2, is more than {end}$"):
        check_configuration(folder, load_config(config_file, [*WSD, "run.steps=17"]), extend=True)


def test_without_a_run_there_is_nothing_to_extend(config_file: Path, tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path / "run"), load_config(config_file, WSD)
    message = f"^--extend: {tmp_path}/run: has no run with a checkpoint; start the run without --extend$"
    with pytest.raises(UsageError, match=message):
        check_configuration(folder, config, extend=True)
    folder.prepare(config, {})
    with pytest.raises(UsageError, match=message):
        check_configuration(folder, config, extend=True)


def test_without_the_flag_the_hint_says_what_it_would_do(config_file: Path, tmp_path: Path) -> None:
    def message(*settings: str) -> str:
        with pytest.raises(OvocrError) as caught:
            check_configuration(folder, load_config(config_file, settings), extend=False)
        assert caught.value.exit_code == 1
        return str(caught.value)

    start = f"{tmp_path}/run: contains a run with a different configuration"
    folder = make_run(load_config(config_file, WSD), 4, 8, 12)
    assert message(*WSD, "run.steps=20") == (
        f"{start} (run.steps was 12, is now 20); choose another run.output, or restore the old settings to resume it, "
        "or add --extend to change its length from 12 to 20 steps, going on from step 8; the run of 12 steps is kept "
        f"in {tmp_path}/run/superseded/00000012"
    )
    assert message(*WSD, "run.steps=11").endswith(
        "; --extend cannot change it: 12 steps are trained, more than run.steps, 11; choose more steps"
    )
    assert "--extend" not in message(*WSD, "optimizer.lr=1")
    shutil.rmtree(folder.root)
    folder = make_run(load_config(config_file), 8, 12)
    assert message("run.steps=20").endswith(
        "; --extend cannot change it: its polynomial schedule has ended at a learning rate of 0; give the added steps "
        "another schedule: --set optimizer.schedule=wsd --set optimizer.cooldown_steps=N"
    )


def test_schedule_start_of_a_run_without_its_checkpoint_is_refused(config_file: Path, tmp_path: Path) -> None:
    settings = (*WSD, "optimizer.schedule_start=5")
    message = r"^optimizer.schedule_start: 5 is after the newest checkpoint in .*/run, of {}; restore .*/00000005 to "
    with pytest.raises(UsageError, match=message.format("0 steps")):
        check_configuration(RunFolder(tmp_path / "run"), load_config(config_file, settings), extend=False)
    folder = make_run(load_config(config_file, settings), 4)
    for given in (WSD, settings):
        with pytest.raises(UsageError, match=message.format("4 steps")):
            check_configuration(folder, load_config(config_file, given), extend=False)
    save_checkpoint(folder.checkpoint(5), {"a": torch.ones(1)}, {"step": 5}, Ranks())
    config, planned = check_configuration(folder, load_config(config_file, WSD), extend=False)
    assert (config.optimizer.schedule_start, planned) == (5, None)
    with pytest.raises(OvocrError, match=r"\(optimizer.schedule_start was 5, is now 3\)"):
        check_configuration(folder, load_config(config_file, [*WSD, "optimizer.schedule_start=3"]), extend=False)


def test_a_run_may_be_shortened_before_its_cooldown(config_file: Path) -> None:
    folder = make_run(load_config(config_file, [*WSD, "run.steps=1000"]), 4, 8)
    extend(load_config(config_file, WSD))
    assert folder.config().cooldown_start == 8
    assert steps_of(folder) == [4, 8]
    assert not folder.superseded.exists()


def test_the_superseded_run_keeps_its_best_and_last_checkpoint(config_file: Path, tmp_path: Path) -> None:
    folder = make_run(load_config(config_file, WSD), 4, 8, 10, 12, best=4)
    (folder.root / "notes.txt.partial").write_text("left by a kill")
    folder.tracking_path.write_text("{}")
    longer = load_config(config_file, [*WSD, "run.steps=20"])
    extend(longer)
    superseded = RunFolder(folder.superseded / "00000012")
    assert (steps_of(folder), steps_of(superseded)) == ([4, 8], [4, 10, 12])
    assert superseded.trained_checkpoint("best") == superseded.checkpoint(4)
    assert superseded.config().run.output == superseded.root
    assert superseded.config().run.steps == 12
    assert Vocabulary.load(superseded.vocabulary_path("ocr")).word(0) == "word"
    assert superseded.metrics_path.read_text() == folder.metrics_path.read_text()
    assert sorted(path.name for path in superseded.root.iterdir()) == [
        *("checkpoints", "config.toml", "metrics.jsonl", "tensorboard", "tracking.json", "versions.json", "vocab")
    ]
    assert not folder.tracking_path.exists()  # new runs of the trackers begin
    # The next one of as many steps gets another name.
    for step in (16, 20):
        save_checkpoint(folder.checkpoint(step), {"a": torch.ones(1)}, {"step": step}, Ranks())
    (folder.superseded / "00000020").mkdir()
    extend(load_config(config_file, [*WSD, "run.steps=30"]))
    assert [each.superseded for each in read_extensions(folder)] == ["superseded/00000012", "superseded/00000020-2"]
    assert steps_of(RunFolder(folder.superseded / "00000020-2")) == [4, 20]


def test_files_are_copied_where_there_are_no_links(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(load_config(config_file), 8, 12)
    monkeypatch.setattr(extension_module.os, "link", failing(OSError("no links")))
    extend(load_config(config_file, [*WSD, "run.steps=20"]))
    superseded = RunFolder(folder.superseded / "00000012")
    kept, own = (run.checkpoint(12) / "state.json" for run in (superseded, folder))
    assert kept.read_bytes() == own.read_bytes()
    assert kept.stat().st_nlink == 1


@pytest.mark.skipif(
    not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
    reason="needs a second file system",
)
def test_checkpoints_may_be_on_another_file_system(config_file: Path, request: pytest.FixtureRequest) -> None:
    folder = make_run(load_config(config_file, WSD), 8, 12)
    elsewhere = Path(f"/dev/shm/ovocr-test-{os.getpid()}")
    request.addfinalizer(lambda: shutil.rmtree(elsewhere))
    shutil.move(folder.checkpoints, elsewhere)
    folder.checkpoints.symlink_to(elsewhere)
    extend(load_config(config_file, [*WSD, "run.steps=20"]))
    assert steps_of(folder) == [8]
    assert sorted(path.name for path in elsewhere.iterdir()) == ["00000008"]
    assert steps_of(RunFolder(folder.superseded / "00000012")) == [12]


def test_a_full_disk_is_one_line_and_the_same_command_completes(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(load_config(config_file, WSD), 4, 8, 12)
    with monkeypatch.context() as patched:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "f")
        patched.setattr(extension_module.shutil, "copy2", failing(full))
        with pytest.raises(OvocrError, match=r"^f: the run cannot be extended: No space left on device; run the same "):
            extend(load_config(config_file, [*WSD, "run.steps=20"]))
    finish_extension(folder)
    assert folder.config().run.steps == 20
    assert steps_of(RunFolder(folder.superseded / "00000012")) == [12]


def tree(root: Path) -> dict[str, Any]:
    """Returns the contents of all files of a run; without the date of an extension."""
    found: dict[str, Any] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.name == "extensions.jsonl":
            found[name] = [replace(each, date="") for each in read_extensions(RunFolder(path.parent))]
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def kill_at(number: int, work: Callable[[], None]) -> bool:
    """Does the work in a child process and kills it before its ``number``-th change of files. Returns True if it was
    killed."""
    child = os.fork()
    if child == 0:
        changes = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal changes
            writes = event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wax"
            if writes or event in ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.utime"):
                changes += 1
                if changes == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("is_new_schedule", [False, True], ids=["cooldown", "new schedule"])
def test_a_kill_at_any_change_of_a_file_is_made_up_for(
    config_file: Path, tmp_path: Path, is_new_schedule: bool
) -> None:
    old, new = () if is_new_schedule else WSD, (*WSD, "run.steps=20")
    folder, before, wanted = make_run(load_config(config_file, old), 4, 8, 12, best=4), tmp_path / "a", tmp_path / "b"
    shutil.copytree(folder.root, before)
    extend(load_config(config_file, new))
    shutil.copytree(folder.root, wanted)
    number = 0
    while True:
        number += 1
        shutil.rmtree(folder.root)
        shutil.copytree(before, folder.root)
        if not kill_at(number, lambda: extend(load_config(config_file, new))):
            break
        # The same command.
        finish_extension(folder)
        config, planned = check_configuration(folder, load_config(config_file, new), extend=True)
        if planned is not None:
            planned.carry_out()
        assert tree(folder.root) == tree(wanted), number
        assert config.optimizer.schedule_start == (12 if is_new_schedule else None)
    assert number > 20
    assert tree(folder.root) == tree(wanted)


def test_records_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "extensions.jsonl").write_text('{"date": "x"}\n')
    with pytest.raises(OvocrError, match=r"^.*/extensions.jsonl: not the extensions of a run: .*; restore the file"):
        read_extensions(RunFolder(tmp_path))


def test_a_run_without_checkpoints_starts_without_old_extensions(config_file: Path) -> None:
    folder = make_run(load_config(config_file, WSD), 4, 8, 12)
    longer = load_config(config_file, [*WSD, "run.steps=20"])
    extend(longer)
    folder.prepare(longer, {"ocr": Vocabulary(["word"])})
    assert len(read_extensions(folder)) == 1
    assert json.loads(folder.extensions_path.read_text())["from_step"] == 8
    shutil.rmtree(folder.checkpoints)
    folder.prepare(longer, {"ocr": Vocabulary(["word"])})
    assert read_extensions(folder) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("extension", {"superseded": "../elsewhere"}),
        ("extension", {"superseded": "/elsewhere"}),
        ("extension", {"steps": "20"}),
        ("moved", ["../../secret"]),
        ("shared", ["../../secret"]),
        ("moved", None),
        ("config", 3),
        ("config", "\ud800"),
    ],
)
def test_a_pending_extension_of_a_stranger_reaches_nothing_outside_the_run(
    config_file: Path, tmp_path: Path, key: str, value: Any
) -> None:
    folder = make_run(load_config(config_file, WSD), 4, 8, 12)
    (tmp_path / "secret").mkdir()
    extension = Extension(
        date="2026-12-01",
        from_step=8,
        trained_steps=12,
        old_steps=12,
        steps=20,
        old_schedule="wsd",
        schedule="wsd",
        cooldown_steps=4,
        schedule_start=0,
        superseded="superseded/00000012",
    )
    pending = {"extension": asdict(extension), "config": "", "superseded_config": "", "moved": [], "shared": []}
    pending[key] = pending[key] | value if isinstance(value, dict) else value
    folder.pending_extension_path.write_text(json.dumps(pending))
    before = tree(tmp_path)
    with pytest.raises(OvocrError, match=r"extension.pending.json: not an extension of a run: .*; restore the file$"):
        finish_extension(folder)
    assert tree(tmp_path) == before

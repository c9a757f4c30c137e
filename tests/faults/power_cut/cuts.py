"""Records what a command does to a folder, and cuts its power at many moments."""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription, read_files
from tests.faults.power_cut.log import Begin, Entry, Link, Rename, Sync, read_log
from tests.faults.power_cut.mounting import mounted
from tests.faults.power_cut.replay import Disk, Everything, Rule, rule_of

CACHE_S = 60.0  # one mount: nobody else changes the folder
SEED = 2026


@dataclass
class Recording:
    """What a command did to a folder. moments: numbers of entries after which the power may fail."""

    folder: Path
    log: list[Entry]

    @property
    def begin(self) -> int:
        """Number of entries that describe the folder before the command."""
        return self.log.index(Begin()) + 1

    def cut(self, moment: int, rule: Rule) -> None:
        """Makes the folder what is left of it if the power fails after ``moment`` entries."""
        disk = Disk.after(self.log, moment)
        disk.cut(rule)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        disk.write_to(self.folder)

    def cut_at_end(self) -> None:
        """Makes the folder what is left if the power fails when the command has ended."""
        self.cut(len(self.log), Rule())

    def restore(self) -> None:
        """Makes the folder what the command left."""
        self.cut(len(self.log), Everything())

    def moments(self, count: int) -> list[int]:
        """Returns random moments of the command: a third right after a rename, a sixth right before an fsync."""
        chosen = random.Random(SEED)
        numbers = range(self.begin, len(self.log))
        renames = [number + 1 for number in numbers if isinstance(self.log[number], Rename | Link)]
        syncs = [number for number in numbers if isinstance(self.log[number], Sync)]
        near = [chosen.choice(renames) for _ in range(count // 3) if renames]
        near += [chosen.choice(syncs) for _ in range(count // 6) if syncs]
        return near + [chosen.randint(self.begin, len(self.log)) for _ in range(count - len(near))]

    def cuts(self, count: int) -> list[tuple[int, Rule]]:
        """Returns random moments and what of the unsynced changes is on disk then."""
        return [(moment, rule_of(seed)) for seed, moment in enumerate(self.moments(count))]

    def syncs(self) -> int:
        """Returns how often the command called fsync."""
        return sum(isinstance(entry, Sync) for entry in self.log[self.begin :])


def record(folder: Path, command: Callable[[], object]) -> Recording:
    """Runs a command while ``folder`` is on the recording file system; afterwards it has what the command left."""
    backing, log = folder.with_name(f"{folder.name}.backing"), folder.with_name(f"{folder.name}.log")
    folder.mkdir(exist_ok=True)
    folder.rename(backing)
    with mounted(backing, folder, cache_s=CACHE_S, log=log):
        command()
    folder.rmdir()
    backing.rename(folder)
    return Recording(folder, read_log(log))


def files_of(root: Path, content: Callable[[Path], bytes] = Path.read_bytes) -> dict[str, bytes]:
    """Returns the content of all files of a folder, without lock files: the lock of a dead process binds nobody."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.endswith(".lock"))
    return {path.relative_to(root).as_posix(): content(path) for path in paths}


def differing(found: dict[str, bytes], wanted: dict[str, bytes]) -> Sequence[str]:
    """Returns the names of files that are missing, not wanted, or different."""
    return [name for name in sorted({**found, **wanted}) if found.get(name) != wanted.get(name)]


def whole_shards(data_set: LabelledDataSet) -> int:
    """Returns the number of finished shards. Asserts that their files are those that the statistics describe."""
    finished = data_set.finished_shards()
    for number in finished:
        described = read_files(data_set.stats_path(number))
        for name, path in data_set.data_files(number, with_text=True).items():
            assert FileDescription.of(path) == described[name], f"shard {number}: {path.name}"
    return len(finished)

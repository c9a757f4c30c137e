"""Power cuts during the commands that write data sets. Each goes on and ends with the bytes of an uncut run."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovocr.cli import main
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.verification.verify import VerifyOptions, verify
from ovocr.vocab import Vocabulary
from tests.faults.conftest import MakeRow
from tests.faults.power_cut.cuts import Recording, differing, files_of, record
from tests.faults.power_cut.replay import Disk
from tests.labelgen.conftest import WORDS, draw, encode, write_tar

CUTS, FEW = 30, 3
SHARDS, IMAGES = 3, 2
EXPECTED = "finished shards whole, unfinished ones reported; the command goes on; bytes of an uncut run"


def ovocr(*arguments: object) -> None:
    """Runs a command to its end in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ovocr", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def ovocr_here(*arguments: object, exit_code: int = 0) -> None:
    """Runs a command to its end in this process, where the packages are loaded."""
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == exit_code, done.output


def content_of(path: Path) -> bytes:
    """Returns the bytes of a file of a data set, without the times in statistics."""
    if path.parent.name != "stats":
        return path.read_bytes()
    stats = json.loads(path.read_bytes())
    stats.pop("seconds", None)
    return json.dumps(stats).encode()


def write_sources(folder: Path, first: int, last: int) -> list[Path]:
    """Writes an archive for each shard from ``first`` to ``last`` - 1."""
    paths = []
    for shard in range(first, last):
        texts = [f"{WORDS[(shard + image) % len(WORDS)]} river violin {shard}" for image in range(IMAGES)]
        images = [(f"{shard}-{image}.png", encode(draw(text, (330, 70)), "PNG")) for image, text in enumerate(texts)]
        paths.append(write_tar(folder / f"{shard}.tar", images))
    return paths


def write_lines(folder: Path, shards: int) -> Path:
    """Writes a table of the lines of all images."""
    keys = [f"{shard}-{image}.png" for shard in range(shards) for image in range(IMAGES)]
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps({"key": key, "text": f"river violin {WORDS[3]}"}) + "\n" for key in keys))
    return path


@dataclass
class Cutting:
    """A recorded command and what an uncut run leaves. outs: the data sets that it writes, in the recorded folder."""

    recording: Recording
    arguments: list[object]
    outs: list[Path]
    shards: int
    reference: dict[str, bytes] = field(init=False)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.reference = files_of(self.recording.folder, content_of)

    def run(self, count: int) -> None:
        """Cuts the power at ``count`` moments, checks what is left, and repeats the command."""
        for moment, rule in self.recording.cuts(count):
            self.recording.cut(moment, rule)
            place = f"cut after entry {moment} of {len(self.recording.log)}, {type(rule).__name__}"
            for out in self.outs:
                self._check(out, place)
            ovocr_here(*self.arguments)
            others = differing(files_of(self.recording.folder, content_of), self.reference)
            assert others == [], place
            self.seen["cuts"] += 1

    def _check(self, out: Path, place: str) -> None:
        data_set = LabelledDataSet(out)
        finished = data_set.finished_shards() if data_set.manifest_path.exists() else []
        phase = "before" if not data_set.manifest_path.exists() else "after" if len(finished) == self.shards else "in"
        self.seen[phase] += 1
        if phase == "before":
            assert not list(data_set.shard_files()), f"{place}: shards without a manifest"
            return
        report = verify(VerifyOptions(root=out, workers=1), progress=False)
        assert not report.broken, f"{place}: {report.broken}"
        assert sorted({*range(report.shards)} - {*finished}) == report.unfinished, place

    def check_end(self) -> None:
        """Cuts the power right after the command: nothing is lost."""
        self.recording.cut_at_end()
        found = files_of(self.recording.folder, content_of)
        lost = [name for name in self.reference if found.get(name) != self.reference[name]]
        assert lost == [], "a power cut after the command loses files"

    def check_losses(self) -> None:
        """At any moment, at most one finished shard is lost: the one whose statistics are being written."""
        for disk in Disk.states(self.recording.log, self.recording.begin):
            seen, kept = (finished(disk.names(live=live)) for live in (True, False))
            assert len(seen - kept) <= 1, f"{seen} were finished, {kept} are left"

    def format(self) -> str:
        """Describes what happened, for the table of faults."""
        return (
            f"{self.seen['cuts']} of {self.seen['cuts']}: bytes equal ({self.seen['before']} before the manifest, "
            f"{self.seen['in']} between shards, {self.seen['after']} with all shards; "
            f"{self.recording.syncs()} fsyncs for {self.shards} shards)"
        )


def finished(names: Iterable[str]) -> set[str]:
    """Returns the statistics among the names of files."""
    return {name for name in names if "/stats/" in name and name.endswith(".json")}


def build(folder: Path, sources: Path) -> Cutting:
    """build-labels with the real engine and a vocabulary."""
    paths = write_sources(sources, 0, SHARDS)
    return _cutting(folder, ["build-labels", *paths, "--workers", 1], sources)


def build_lines(folder: Path, sources: Path) -> Cutting:
    """build-labels with given text."""
    paths = write_sources(sources, 0, SHARDS)
    return _cutting(folder, ["build-labels", *paths, "--workers", 2, "--lines", write_lines(sources, SHARDS)], sources)


def append(folder: Path, sources: Path) -> Cutting:
    """build-labels --append: two further sources."""
    lines = write_lines(sources, SHARDS + 2)
    old, new = write_sources(sources, 0, SHARDS), write_sources(sources, SHARDS, SHARDS + 2)
    options = ["--lines", lines, "--vocab", vocabulary(sources), "--out", folder / "labels"]
    ovocr_here("build-labels", *old, *options)
    return _cutting(folder, ["build-labels", *new, "--append", "--lines", lines], sources, shards=SHARDS + 2)


def retry(folder: Path, sources: Path) -> Cutting:
    """build-labels --retry-quarantined: the images timed out, and their shards are written anew."""
    paths = write_sources(sources, 0, SHARDS)
    lines = write_lines(sources, SHARDS)
    options = ["--lines", lines, "--vocab", vocabulary(sources), "--out", folder / "labels"]
    ovocr_here("build-labels", *paths, *options, "--image-timeout", "0.000001", exit_code=1)
    return _cutting(folder, ["build-labels", *paths, "--lines", lines, "--retry-quarantined"], sources)


def relabel(folder: Path, sources: Path) -> Cutting:
    """relabel --policy idf: a second data set with frequencies, from the text of the first."""
    paths = write_sources(sources, 0, SHARDS)
    lines = write_lines(sources, SHARDS)
    ovocr_here("build-labels", *paths, "--lines", lines, "--vocab", vocabulary(sources), "--out", sources / "labels")
    return _cutting(folder, ["relabel", sources / "labels", "--policy", "idf"], sources)


def pack(folder: Path, sources: Path) -> Cutting:
    """pack-labels: shards of class ids."""
    paths = write_sources(sources, 0, SHARDS)
    table = sources / "classes.jsonl"
    keys = [f"{shard}-{image}.png" for shard in range(SHARDS) for image in range(IMAGES)]
    table.write_text("".join(json.dumps({"key": key, "labels": [1, 2]}) + "\n" for key in keys))
    return _cutting(folder, ["pack-labels", *paths, "--labels", table, "--num-classes", 5], sources, vocab=False)


def vocabulary(folder: Path) -> Path:
    """Returns the path of a small vocabulary."""
    path = folder / "words.txt"
    Vocabulary(WORDS).save(path)
    return path


def _cutting(
    folder: Path, arguments: list[object], sources: Path, *, shards: int = SHARDS, vocab: bool = True
) -> Cutting:
    arguments = [*arguments, *(["--vocab", vocabulary(sources)] if vocab else []), "--out", folder / "labels"]
    recording = record(folder, lambda: ovocr(*arguments))
    return Cutting(recording, arguments, [folder / "labels"], shards)


COMMANDS = {
    "build-labels": build,
    "build-labels --lines": build_lines,
    "build-labels --append": append,
    "build-labels --retry-quarantined": retry,
    "relabel --policy idf": relabel,
    "pack-labels": pack,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns an empty folder to record."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_a_few_cuts_of_build_labels(folder: Path, tmp_path: Path):
    cutting = build_lines(folder, tmp_path)
    cutting.check_end()
    cutting.check_losses()
    cutting.run(FEW)


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS)
def test_cuts(command: str, folder: Path, tmp_path: Path, fault_row: MakeRow):
    row = fault_row("power cut", f"{command}: power cut at {CUTS} moments", EXPECTED)
    cutting = COMMANDS[command](folder, tmp_path)
    cutting.check_end()
    cutting.check_losses()
    cutting.run(CUTS)
    row.happened = cutting.format()

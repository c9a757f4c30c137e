"""A node that is not as the driver's refuses the work and says why; each actor here is a process, as on a cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovocr.labelgen.executors.ray.cluster import Need
from ovocr.labelgen.options import BuildOptions

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ovocr[ray]'")

# An actor with what the driver would tell it, changed by {change}; {method} is called and what it gives is printed.
ACTOR = """
import dataclasses, sys
from pathlib import Path
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.executors.ray.shard_actor import Assignment, ShardMaker
from ovocr.labelgen.sources import plan_shards
from ovocr.labelgen.workers.work import LabelWork

options = BuildOptions(sources={sources!r}, out=Path({out!r}), vocab={vocab!r}, tags=5)
work = LabelWork.plan(options)
shards = plan_shards(options.sources, options.shard_size)
told = Assignment(
    plan=work.elsewhere(), description=work.describe(), options=options, folder=Path({folder!r}),
    seen=options.sources, workers=1,
)
told = dataclasses.replace(told, **eval({change!r}))
maker = ShardMaker(told)
print({method})
"""


def answer(options: BuildOptions, out: Path, change: str = "{}", method: str = "maker.prepare()") -> str:
    script = ACTOR.format(
        sources=options.sources, out=str(out), vocab=options.vocab, folder=str(out.parent), change=change, method=method
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, cwd=out.parent
    )
    return done.stdout.strip()


def test_a_node_that_does_not_see_a_source_is_named(options: BuildOptions, tmp_path: Path):
    said = answer(options, tmp_path / "out", change="{'seen': ('/mnt/pictures/0.tar',)}")
    assert said.startswith(f"node {os.uname().nodename} (")
    assert said.endswith(
        "): does not see /mnt/pictures/0.tar, which the command sees; sources belong on a shared file system"
    )


def test_relative_paths_are_those_of_the_command(options: BuildOptions, tmp_path: Path):
    (tmp_path / "here.tar").touch()
    said = answer(options, tmp_path / "out", change="{'seen': ('here.tar',), 'folder': Path('/')}")
    assert "): does not see here.tar, which" in said


def test_a_node_with_another_version_is_refused(options: BuildOptions, tmp_path: Path):
    change = "{'description': {**work.describe(), 'versions': {**work.describe()['versions'], 'pillow': '0.1'}}}"
    said = answer(options, tmp_path / "out", change=change)
    assert "): would make other bytes: versions.pillow is '" in said
    assert said.endswith("' there, '0.1' in this run; install the same there")


def test_a_node_with_another_model_is_refused(options: BuildOptions, tmp_path: Path):
    change = "{'description': {**work.describe(), 'engine': {**work.describe()['engine'], 'models': {'det': 'x'}}}}"
    assert "): would make other bytes: engine.models.det is '" in answer(options, tmp_path / "out", change=change)


def test_a_node_that_does_not_see_what_the_driver_writes_is_named(options: BuildOptions, tmp_path: Path):
    out = tmp_path / "out"
    said = answer(options, out, method="maker.make((0, shards[0]), Path('nowhere/.starting-ray'), 0.0)")
    assert said.endswith(f"): does not see what the command writes to {out}: no shared file system")
    assert not out.exists()


def test_a_failing_disk_is_one_line(options: BuildOptions, tmp_path: Path):
    (tmp_path / "file").touch()
    said = answer(options, tmp_path / "file", method="maker.make((0, shards[0]), Path('.'), 0.0)")
    assert said == f"{tmp_path / 'file' / 'stats'}: Not a directory"


@pytest.mark.parametrize(
    ("need", "resources", "times"),
    [
        (Need(cpus=1), {"CPU": 3.0}, 3),
        (Need(cpus=2), {"CPU": 3.0, "GPU": 1.0}, 1),
        (Need(cpus=4), {"CPU": 3.0}, 0),
        (Need(cpus=1), {"memory": 9.0}, 0),
        (Need(cpus=4, gpus=1), {"CPU": 64.0, "GPU": 8.0}, 8),
        (Need(cpus=4, gpus=1), {"CPU": 6.0, "GPU": 8.0}, 1),
        (Need(cpus=4, gpus=1), {"CPU": 64.0}, 0),
    ],
)
def test_a_node_has_room_for_so_many_actors(need: Need, resources: dict[str, float], times: int):
    assert need.times_in(resources) == times


def test_without_ray_the_command_that_installs_it_is_named(options: BuildOptions, tmp_path: Path):
    script = (
        "import sys\n"
        "sys.modules['ray'] = None\n"
        "from ovocr.cli import main\n"
        f"main(['build-labels', *{options.sources!r}, '--out', {str(tmp_path / 'out')!r}, '--executor', 'ray'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ovocr: --executor ray needs packages that are not installed: pip install 'ovocr[ray]'\n"
    assert not (tmp_path / "out").exists()

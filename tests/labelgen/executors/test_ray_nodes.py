"""A node that differs from the driver's node refuses the task with a reason. Each actor in these tests is a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovocr.base.files import locked
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.executors.ray.cluster import ActorResources
from ovocr.labelgen.options import BuildOptions

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

# Makes an actor with the settings of the driver, changed by {change}, and prints the result of {method}.
ACTOR = """
import dataclasses, sys
from pathlib import Path
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.executors.ray.shard_actor import ActorSettings, ShardActor
from ovocr.labelgen.sources import plan_shards
from ovocr.labelgen.workers.tasks import LabelTask

options = BuildOptions(sources={sources!r}, out=Path({out!r}), vocab={vocab!r}, tags=5)
task = LabelTask.plan(options)
shards = plan_shards(options.sources, options.shard_size)
settings = ActorSettings(
    plan=task.planner(), description=task.describe(), options=options, folder=Path({folder!r}),
    visible=options.sources, workers=1,
)
settings = dataclasses.replace(settings, **eval({change!r}))
actor = ShardActor(settings)
print({method})
"""


def answer(options: BuildOptions, out: Path, change: str = "{}", method: str = "actor.prepare()") -> str:
    script = ACTOR.format(
        sources=options.sources, out=str(out), vocab=options.vocab, folder=str(out.parent), change=change, method=method
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=180, cwd=out.parent
    )
    return done.stdout.strip()


def test_a_node_that_does_not_see_a_source_is_an_error(options: BuildOptions, tmp_path: Path):
    message = answer(options, tmp_path / "out", change="{'visible': ('/mnt/images/0.tar',)}")
    assert message.startswith(f"node {os.uname().nodename} (")
    assert message.endswith(
        "): does not see /mnt/images/0.tar, which the command sees; put sources on a shared file system"
    )


def test_relative_paths_start_in_the_folder_of_the_command(options: BuildOptions, tmp_path: Path):
    (tmp_path / "here.tar").touch()
    message = answer(options, tmp_path / "out", change="{'visible': ('here.tar',), 'folder': Path('/')}")
    assert "): does not see here.tar, which" in message


def test_a_node_with_a_different_version_is_refused(options: BuildOptions, tmp_path: Path):
    change = "{'description': {**task.describe(), 'versions': {**task.describe()['versions'], 'pillow': '0.1'}}}"
    message = answer(options, tmp_path / "out", change=change)
    assert "): would write different bytes: versions.pillow is '" in message
    assert message.endswith("' there, '0.1' in this run; install the same there")


def test_a_node_with_a_different_model_is_refused(options: BuildOptions, tmp_path: Path):
    change = "{'description': {**task.describe(), 'engine': {**task.describe()['engine'], 'models': {'det': 'x'}}}}"
    assert "): would write different bytes: engine.models.det is '" in answer(options, tmp_path / "out", change=change)


def test_a_node_that_does_not_see_the_output_folder_is_an_error(options: BuildOptions, tmp_path: Path):
    out = tmp_path / "out"
    message = answer(options, out, method="actor.make((0, shards[0]), Path('nowhere/.starting-ray'), 0.0, False)")
    assert message.endswith(f"): does not see what the command writes to {out}: no shared file system")
    assert not out.exists()


def test_a_failing_disk_is_a_one_line_error(options: BuildOptions, tmp_path: Path):
    (tmp_path / "file").touch()
    message = answer(options, tmp_path / "file", method="actor.make((0, shards[0]), Path('.'), 0.0, False)")
    assert message == f"{tmp_path / 'file' / 'stats'}: Not a directory"


def test_a_shard_that_a_lost_actor_still_holds_is_taken_over(options: BuildOptions, tmp_path: Path):
    out = tmp_path / "out"
    lock = LabelledDataSet(out).lock_path(0)
    with locked(lock, "held"):
        message = answer(options, out, method="actor.make((0, shards[0]), Path('.'), 0.0, False)")
        assert message.startswith(f"{out}: shard 0 is being made by another process; wait until it ends: ")
        method = "[actor.prepare(), actor.make((0, shards[0]), Path('.'), 0.0, True)][1]"
        message = answer(options, out, method=method)
        assert not lock.exists()
    # It went on to the manifest, which this data set does not have.
    assert message.startswith(f"{out}: its manifest.json was removed during the run")


@pytest.mark.parametrize(
    ("actor", "resources", "count"),
    [
        (ActorResources(cpus=1), {"CPU": 3.0}, 3),
        (ActorResources(cpus=2), {"CPU": 3.0, "GPU": 1.0}, 1),
        (ActorResources(cpus=4), {"CPU": 3.0}, 0),
        (ActorResources(cpus=1), {"memory": 9.0}, 0),
        (ActorResources(cpus=4, gpus=1), {"CPU": 64.0, "GPU": 8.0}, 8),
        (ActorResources(cpus=4, gpus=1), {"CPU": 6.0, "GPU": 8.0}, 1),
        (ActorResources(cpus=4, gpus=1), {"CPU": 64.0}, 0),
    ],
)
def test_count_of_actors_that_fit_on_a_node(actor: ActorResources, resources: dict[str, float], count: int):
    assert actor.count_in(resources) == count


def test_without_ray_the_error_names_the_install_command(options: BuildOptions, tmp_path: Path):
    script = (
        "import sys\n"
        "sys.modules['ray'] = None\n"
        "from ovocr.cli import main\n"
        f"main(['build-labels', *{options.sources!r}, '--out', {str(tmp_path / 'out')!r}, '--executor', 'ray'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=180)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ovocr: --executor ray needs packages that are not installed; "
        "install the extra \"ray\": pip install '.[ray]' in a checkout of ovocr\n"
    )
    assert not (tmp_path / "out").exists()

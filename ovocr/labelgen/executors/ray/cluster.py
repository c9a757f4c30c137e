"""The Ray cluster of a run: the one that is there, or one on this machine for as long as the run lasts."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from ovocr.base.errors import OvocrError, UsageError
from ovocr.labelgen.shards.progress import say
from ovocr.processes.cores import available_cores
from ovocr.processes.termination import terminable

_LOOPBACK = "127.0.0.1"
# Ray's own name for one on this machine.
_LOCAL = "local"
CONNECT_TIMEOUT_S = 5.0
_LONGEST_REASON = 300  # characters


@dataclass(frozen=True)
class Need:
    """What an actor occupies of its node."""

    cpus: int
    gpus: int = 0

    def times_in(self, resources: dict[str, float]) -> int:
        """How many such actors have room in them."""
        times = int(resources.get("CPU", 0) // self.cpus)
        return min(times, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else times


@contextmanager
def connected() -> Iterator[None]:
    """Be a driver of the cluster that RAY_ADDRESS names or that runs on this machine, else of one made for this block.

    A program that is one already stays so. Raises UsageError where RAY_ADDRESS leads nowhere.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray prints what befalls its processes, on standard output, which may be someone's JSON: we say it ourselves.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            _connect()
            _say_where()
            # Ray has put its own handler in the place of the one that was there.
            with terminable():
                yield
        finally:
            ray.shutdown()


def room(need: Need) -> int:
    """How many such actors the cluster has room for, were it all ours."""
    return sum(need.times_in(node["Resources"]) for node in _nodes())


def check_room(need: Need) -> None:
    """Raises UsageError where no node can ever hold an actor."""
    if room(need):
        return
    largest = max((int(node["Resources"].get("CPU", 0)) for node in _nodes()), default=0)
    raise UsageError(
        f"--executor ray: no node of the cluster has room for an actor (CPUs: {need.cpus}, GPUs: {need.gpus}; the "
        f"largest node has {largest} CPUs); give fewer --workers or add nodes"
    )


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _connect() -> None:
    import ray

    quiet: dict[str, Any] = {"logging_level": "CRITICAL", "log_to_driver": False}
    address = _find_cluster()
    try:
        if address is None:
            _start_local(quiet)
        else:
            # By any other name Ray would not use the token that `ray start` has left on this machine.
            ray.init(address="auto", **quiet)
    except SystemExit:  # what Ray makes of SIGTERM
        raise KeyboardInterrupt from None
    except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise UsageError(
            f"the Ray cluster at {address or 'this machine'} cannot be used: {reason}; if it asks for a token, set "
            "RAY_AUTH_MODE=token"
        ) from error


def _find_cluster() -> str | None:
    """HOST:PORT of the cluster that is there. Raises UsageError where RAY_ADDRESS names none."""
    from ray._private import services

    given = os.environ.get("RAY_ADDRESS", "")
    if given == _LOCAL:
        return None
    try:
        if "://" in given:
            raise ValueError("a client's address: the driver has to be on a node")
        address = services.canonicalize_bootstrap_address("auto") or ""  # RAY_ADDRESS, or what `ray start` left behind
        host, _, port = address.rpartition(":")
        # Ray itself would try for two minutes.
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S):
            return address
    except (OSError, ValueError, OverflowError) as error:
        if not given:
            return None
        raise UsageError(
            f"RAY_ADDRESS {given}: no Ray cluster answers there; on one of its nodes, give the HOST:PORT of "
            "`ray start --head`"
        ) from error


def _start_local(quiet: dict[str, Any]) -> None:
    """A cluster of this machine alone, which nothing outside it can reach."""
    import ray
    from ray._private import ray_constants

    # Ray replaces 127.0.0.1 by the machine's address, unless its clusters are turned off, as on macOS and Windows.
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(address=_LOCAL, num_cpus=available_cores(), include_dashboard=False, _node_ip_address=_LOOPBACK, **quiet)
    if any(node["NodeManagerAddress"] != _LOOPBACK for node in _nodes()):
        raise OvocrError(
            f"Ray {ray.__version__} would listen beyond this machine; start it with `ray start --head`, or use "
            "--executor local"
        )


def _say_where() -> None:
    import ray

    nodes = _nodes()
    cpus = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    address = ray.get_runtime_context().gcs_address
    say(f"ray: {len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}, {cpus} CPUs at {address}")

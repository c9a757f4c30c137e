"""The Ray cluster of a run: a running one, or one started on this machine for the run."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from ovocr.base.errors import OvocrError, UsageError
from ovocr.base.plural import counted
from ovocr.labelgen.shards.progress import say
from ovocr.processes.cores import available_cores
from ovocr.processes.termination import terminable

_LOOPBACK = "127.0.0.1"
# Ray's address for a cluster on this machine.
_LOCAL = "local"
CONNECT_TIMEOUT_S = 5.0
_LONGEST_REASON = 300  # characters


@dataclass(frozen=True)
class ActorResources:
    """The resources that an actor needs on its node."""

    cpus: int
    gpus: int = 0

    def count_in(self, resources: dict[str, float]) -> int:
        """Returns the number of actors that fit in a node's resources."""
        count = int(resources.get("CPU", 0) // self.cpus)
        return min(count, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else count


@contextmanager
def connected() -> Iterator[None]:
    """Connects to the cluster of RAY_ADDRESS, or of this machine, else starts one for this block.

    Keeps the connection if the program is already connected. Raises UsageError if RAY_ADDRESS cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray prints messages about its processes on standard output, which may be our JSON. The executor reports them.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            _connect()
            _report_cluster()
            # Ray replaced the signal handler.
            with terminable():
                yield
        finally:
            ray.shutdown()


def actor_capacity(resources: ActorResources) -> int:
    """Returns the number of actors that fit in the cluster if nothing else runs on it."""
    return sum(resources.count_in(node["Resources"]) for node in _nodes())


def check_capacity(resources: ActorResources) -> None:
    """Raises UsageError if no node is large enough for an actor."""
    if actor_capacity(resources):
        return
    largest = max((int(node["Resources"].get("CPU", 0)) for node in _nodes()), default=0)
    raise UsageError(
        f"--executor ray: no node of the cluster has room for an actor (CPUs: {resources.cpus}, "
        f"GPUs: {resources.gpus}; the largest node has {counted(largest, 'CPU')}); give fewer --workers or add nodes"
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
            # With a different address, Ray would not use the token that `ray start` wrote on this machine.
            ray.init(address="auto", **quiet)
    except SystemExit:  # raised by Ray on SIGTERM
        raise KeyboardInterrupt from None
    except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise UsageError(
            f"the Ray cluster at {address or 'this machine'} cannot be used: {reason}; if it asks for a token, set "
            "RAY_AUTH_MODE=token"
        ) from error


def _find_cluster() -> str | None:
    """Returns HOST:PORT of the running cluster, or None. Raises UsageError if RAY_ADDRESS does not name a cluster."""
    from ray._private import services

    given = os.environ.get("RAY_ADDRESS", "")
    if given == _LOCAL:
        return None
    try:
        if "://" in given:
            raise ValueError("a client's address: the driver must run on a node")
        address = services.canonicalize_bootstrap_address("auto") or ""  # RAY_ADDRESS, or the file of `ray start`
        host, _, port = address.rpartition(":")
        # Ray would try for two minutes.
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
    """Starts a cluster that listens on loopback only."""
    import ray
    from ray._private import ray_constants

    # Ray replaces 127.0.0.1 by the machine's address unless clusters are disabled, as on macOS and Windows.
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(address=_LOCAL, num_cpus=available_cores(), include_dashboard=False, _node_ip_address=_LOOPBACK, **quiet)
    if any(node["NodeManagerAddress"] != _LOOPBACK for node in _nodes()):
        raise OvocrError(
            f"Ray {ray.__version__} would listen beyond this machine; start it with `ray start --head`, or use "
            "--executor local"
        )


def _report_cluster() -> None:
    import ray

    nodes = _nodes()
    cpus = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    address = ray.get_runtime_context().gcs_address
    say(f"ray: {counted(len(nodes), 'node')}, {counted(cpus, 'CPU')} at {address}")

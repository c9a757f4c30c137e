"""The actors of a run. They start if the cluster has room, make one shard at a time, and are replaced if lost."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ovocr.base.errors import OvocrError
from ovocr.labelgen.executors.ray.cluster import ActorResources, actor_capacity
from ovocr.labelgen.executors.ray.shard_actor import ActorSettings, ShardActor
from ovocr.labelgen.executors.shard_run import NumberedShard, RunCounts
from ovocr.labelgen.shards.progress import say

START_ATTEMPTS = 3
# Longest wait for a result before the capacity of the cluster is checked again.
STEP_S = 2.0
# Time in which lost nodes may join again, if no other has room for an actor: machines of a cloud need minutes to start.
NO_ROOM_S = 900.0
# Interval of the message that no actor is ready.
WAIT_NOTICE_S = 30.0
# Time that actors get to remove their temporary files, after their start if need be.
CLOSE_S = 10.0
_CAUSES = ("The actor is dead because", "The actor died because")
_LONGEST_REASON = 160  # characters

if TYPE_CHECKING:
    from ray.exceptions import RayActorError


@dataclass(eq=False)
class Actor:
    """An actor. node: name of its node, known once it is ready. shard: number of the shard that it is making."""

    handle: Any
    node: str = "a node"
    shard: int | None = None


@dataclass(frozen=True)
class ShardResult:
    """The result for a shard.

    node: name of the actor's node. counts: None if the actor was lost. lost: why it was lost.
    """

    number: int
    node: str
    counts: RunCounts | None = None
    lost: str = ""


class ActorPool:
    """Actors for the unfinished shards, as many as the cluster has room for. A context manager that ends all actors."""

    def __init__(self, settings: ActorSettings, resources: ActorResources) -> None:
        import ray

        self._type = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )(ShardActor)
        self._settings = settings
        self._resources = resources
        self._busy: dict[Any, Actor] = {}  # pending result -> actor
        self._lost_at_start = 0
        self._last_resize = float("-inf")
        self._waiting_since = self._last_room = time.monotonic()
        self.idle: list[Actor] = []

    def __enter__(self) -> "ActorPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy = list(self._busy.values())
        if error is None:  # all shards are made, so the busy actors are starting: they close as soon as they have
            _close([*self.idle, *busy])
            return
        _close(self.idle)
        for actor in busy:
            _kill(actor)

    def resize(self, shards: int) -> None:
        """Starts or ends actors to match the cluster and the number of unfinished shards, at most every STEP_S.

        Raises OvocrError if all nodes that had room for an actor were lost NO_ROOM_S ago.
        """
        now = time.monotonic()
        if now - self._last_resize < STEP_S:
            return
        self._last_resize = now
        capacity = actor_capacity(self._resources)
        if capacity:
            self._last_room = now
        elif now - self._last_room > NO_ROOM_S:
            raise OvocrError(
                f"--executor ray: no node of the cluster has had room for an actor for {NO_ROOM_S:.0f} s; finished "
                "shards are kept: run the same command again when nodes have joined"
            )
        wanted = min(shards, capacity) - len(self._busy)
        for _ in range(wanted - len(self.idle)):
            actor = Actor(self._type.remote(self._settings))
            self._busy[actor.handle.prepare.remote()] = actor
        spare = self.idle[max(wanted, 0) :]
        del self.idle[max(wanted, 0) :]
        _close(spare)

    def start_shard(self, shard: NumberedShard, marker: Path | None, lock_timeout_s: float, was_lost: bool) -> None:
        """Starts to make a shard on an idle actor; see ``ShardActor.make``."""
        actor = self.idle.pop()
        actor.shard = shard[0]
        self._busy[actor.handle.make.remote(shard, marker, lock_timeout_s, was_lost)] = actor

    def step(self) -> Iterator[ShardResult]:
        """Waits up to STEP_S and yields results. Raises OvocrError if an actor does or if actors cannot start."""
        import ray

        if not self._busy:
            time.sleep(STEP_S)  # the cluster has no room for an actor
        results = ray.wait(list(self._busy), timeout=STEP_S)[0] if self._busy else []
        self._report_waiting()
        for result in results:
            actor = self._busy.pop(result)
            try:
                reply = ray.get(result)
            except ray.exceptions.RayActorError as error:
                yield from self._handle_loss(actor, reason_of(error))
            else:
                yield from self._handle_reply(actor, reply)

    def _handle_reply(self, actor: Actor, reply: Any) -> Iterator[ShardResult]:
        self.idle.append(actor)
        if isinstance(reply, OvocrError):
            raise reply
        number, actor.shard = actor.shard, None
        if number is None:
            actor.node = reply
            self._lost_at_start = 0
        else:
            yield ShardResult(number, actor.node, counts=reply)

    def _handle_loss(self, actor: Actor, reason: str) -> Iterator[ShardResult]:
        _kill(actor)  # an actor that cannot be reached may still run
        self._last_resize = float("-inf")
        if actor.shard is not None:
            yield ShardResult(actor.shard, actor.node, lost=reason)
            return
        self._lost_at_start += 1
        if self._lost_at_start == START_ATTEMPTS:
            raise OvocrError(
                f"--executor ray: actors die while starting ({reason}); install the same packages on every node"
            )

    def _report_waiting(self) -> None:
        now = time.monotonic()
        if self.idle or any(actor.shard is not None for actor in self._busy.values()):
            self._waiting_since = now
        elif now - self._waiting_since > WAIT_NOTICE_S:
            self._waiting_since = now
            say(
                f"ray: no actor is ready; each waits for free CPUs on one node ({self._resources.cpus}), or loads its "
                "engine"
            )


def reason_of(error: "RayActorError") -> str:
    """Returns why an actor was lost, as one line."""
    import ray

    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "it cannot be reached any more"
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    # For an actor that died, Ray first says which one it was, then the cause in one long line.
    causes = [line for line in lines if line.startswith(_CAUSES)]
    line = lines[-1] if error.actor_init_failed or not causes else causes[0]
    return line[:_LONGEST_REASON]


def _close(actors: Sequence[Actor]) -> None:
    """Lets actors remove their temporary files, then ends them."""
    import ray

    if actors:
        ray.wait([actor.handle.close.remote() for actor in actors], num_returns=len(actors), timeout=CLOSE_S)
    for actor in actors:
        _kill(actor)


def _kill(actor: Actor) -> None:
    import ray

    ray.kill(actor.handle, no_restart=True)

"""The actors of a run: started where the cluster has room, given a shard at a time, replaced when they are lost."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ovocr.base.errors import OvocrError
from ovocr.labelgen.executors.ray.cluster import Need, room
from ovocr.labelgen.executors.ray.shard_actor import Assignment, ShardMaker
from ovocr.labelgen.executors.shard_run import Made, NumberedShard
from ovocr.labelgen.shards.progress import say

START_ATTEMPTS = 3
# How long to wait for news before looking whether the cluster has grown.
STEP_S = 2.0
# How often it is said that no actor is ready.
WAIT_NOTICE_S = 30.0
# How long members may take to clear up.
LEAVE_S = 5.0
_CAUSES = ("The actor is dead because", "The actor died because")
_LONGEST_REASON = 160  # characters

if TYPE_CHECKING:
    from ray.exceptions import RayActorError


@dataclass(eq=False)
class Member:
    """An actor. node: the name of its node, once it is ready. shard: number of the shard that it makes."""

    actor: Any
    node: str = "a node"
    shard: int | None = None


@dataclass(frozen=True)
class Ended:
    """An actor on a node has made a shard, or was lost while it did: ``lost`` says how."""

    number: int
    node: str
    made: Made | None = None
    lost: str = ""


class Crew:
    """As many actors as the cluster has room for and shards are left. At its end none is left."""

    def __init__(self, assignment: Assignment, need: Need) -> None:
        import ray

        self._type = ray.remote(
            num_cpus=need.cpus, num_gpus=need.gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )(ShardMaker)
        self._assignment = assignment
        self._need = need
        self._busy: dict[Any, Member] = {}  # by the result that is waited for
        self._lost_at_start = 0
        self._looked = float("-inf")
        self._waiting_since = time.monotonic()
        self.idle: list[Member] = []

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _dismiss(self.idle)
        for member in self._busy.values():
            _end(member)

    @property
    def shards(self) -> list[int]:
        """Numbers of the shards that are in work."""
        return [member.shard for member in self._busy.values() if member.shard is not None]

    def fit(self, shards: int) -> None:
        """Have actors for so many unfinished shards, and no more. The cluster is looked at now and then only."""
        now = time.monotonic()
        if now - self._looked < STEP_S:
            return
        self._looked = now
        wanted = min(shards, room(self._need)) - len(self._busy)
        for _ in range(wanted - len(self.idle)):
            member = Member(self._type.remote(self._assignment))
            self._busy[member.actor.prepare.remote()] = member
        spare = self.idle[max(wanted, 0) :]
        del self.idle[max(wanted, 0) :]
        _dismiss(spare)

    def give(self, shard: NumberedShard, token: Path | None, patience_s: float) -> None:
        """Let an idle member make a shard, as ``ShardMaker.make`` does."""
        member = self.idle.pop()
        member.shard = shard[0]
        self._busy[member.actor.make.remote(shard, token, patience_s)] = member

    def step(self) -> Iterator[Ended]:
        """Wait a little for news. Raises OvocrError that a member gave, or where actors cannot be started."""
        import ray

        if not self._busy:
            time.sleep(STEP_S)  # nothing of the cluster is left
        heard = ray.wait(list(self._busy), timeout=STEP_S)[0] if self._busy else []
        self._say_what_is_waited_for()
        for result in heard:
            member = self._busy.pop(result)
            try:
                reply = ray.get(result)
            except ray.exceptions.RayActorError as error:
                yield from self._bury(member, reason_of(error))
            else:
                yield from self._take(member, reply)

    def _take(self, member: Member, reply: Any) -> Iterator[Ended]:
        self.idle.append(member)
        if isinstance(reply, OvocrError):
            raise reply
        number, member.shard = member.shard, None
        if number is None:
            member.node = reply
            self._lost_at_start = 0
        else:
            yield Ended(number, member.node, made=reply)

    def _bury(self, member: Member, reason: str) -> Iterator[Ended]:
        _end(member)  # one that cannot be reached may still be there
        self._looked = float("-inf")
        if member.shard is not None:
            yield Ended(member.shard, member.node, lost=reason)
            return
        self._lost_at_start += 1
        if self._lost_at_start == START_ATTEMPTS:
            raise OvocrError(
                f"--executor ray: actors end while they start ({reason}); install the same packages on every node"
            )

    def _say_what_is_waited_for(self) -> None:
        now = time.monotonic()
        if self.idle or self.shards:
            self._waiting_since = now
        elif now - self._waiting_since > WAIT_NOTICE_S:
            self._waiting_since = now
            say(
                f"ray: no actor is ready; each waits for free CPUs on one node ({self._need.cpus}), or loads its engine"
            )


def reason_of(error: "RayActorError") -> str:
    """Why an actor was lost, in one line of Ray's many."""
    import ray

    if isinstance(error, ray.exceptions.ActorUnavailableError):
        return "it cannot be reached any more"
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    # Of an actor that has died Ray tells first which one it was, and then, in a long line, how.
    causes = [line for line in lines if line.startswith(_CAUSES)]
    line = lines[-1] if error.actor_init_failed or not causes else causes[0]
    return line[:_LONGEST_REASON]


def _dismiss(members: Sequence[Member]) -> None:
    """End members that have nothing to do, once they have cleared up."""
    import ray

    if members:
        ray.wait([member.actor.leave.remote() for member in members], num_returns=len(members), timeout=LEAVE_S)
    for member in members:
        _end(member)


def _end(member: Member) -> None:
    import ray

    ray.kill(member.actor, no_restart=True)

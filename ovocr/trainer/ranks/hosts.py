"""The machines of a run that `ovocr train --nnodes` starts on each of them.

On each machine torchrun starts and watches the ranks of that machine alone. These learn from an environment variable
where all ranks meet. A rendezvous of the torchruns would wait for minutes, or without end, if the network is cut.
"""

import os
from dataclasses import dataclass

from ovocr.base.errors import UsageError

_VARIABLE = "OVOCR_HOSTS"


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The machines of a run, which all have the same number of ranks.

    count: number of machines. number: that of this machine, from 0. master: HOST:PORT on machine 0, where all ranks
    meet.
    """

    count: int = 1
    number: int = 0
    master: str = ""

    def __post_init__(self) -> None:
        """Raises UsageError if the options do not fit together."""
        host, _, port = self.master.rpartition(":")
        if self.count == 1:
            if self.master or self.number:
                raise UsageError("--node-rank and --master: need --nnodes M, the number of machines")
        elif not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            given = self.master or "(not given)"
            raise UsageError(f"--master {given}: give HOST:PORT, a name or address of machine 0 and a free port there")
        elif self.number >= self.count:
            raise UsageError(f"--node-rank {self.number}: must be below --nnodes, {self.count}")

    def announce(self) -> None:
        """Sets the environment variable for the ranks of this machine."""
        os.environ[_VARIABLE] = f"{self.count} {self.number} {self.master}"


ONE_HOST = Hosts()


def number_ranks_over_hosts() -> None:
    """Numbers this rank over all machines: changes torchrun's environment variables, which count those of this machine.

    Has no effect if `Hosts.announce` was not called, and the second time.
    """
    if (announced := os.environ.pop(_VARIABLE, None)) is None:
        return
    count, number, master = announced.split()
    host, _, port = master.rpartition(":")
    local, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    os.environ.update(
        RANK=str(int(number) * ranks + local), WORLD_SIZE=str(int(count) * ranks), MASTER_ADDR=host, MASTER_PORT=port
    )
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)  # rank 0 has the store, not torchrun

"""Training runs whose ranks are on several hosts."""

import os
import sys
import time
from pathlib import Path

from tests.faults.hosts.network import Host, Network, Process

PORT = 29500


class HostsRun:
    """One `ovocr train` with a rank on each host, started in one of three ways.

    launcher: "ovocr" (`ovocr train --nnodes`), "torchrun" (its rendezvous c10d), or "slurm" (a process for each rank,
    which gets its number in environment variables, as in examples/slurm/train.sbatch). only: the number of the only
    host that starts; None for all.
    """

    def __init__(
        self, net: Network, config: Path, *settings: str, launcher: str = "slurm", only: int | None = None
    ) -> None:
        self._folder = config.parent
        self.processes: list[Process] = []
        for number, host in enumerate(net.hosts):
            if only not in (None, number):
                continue
            output = self._output(number).open("w")
            command = _command(launcher, config, settings, number, len(net.hosts))
            with output:
                self.processes.append(host.popen(*command, stdout=output, stderr=output))

    def _output(self, number: int) -> Path:
        return self._folder / f"output-{number}"

    def lines(self, number: int) -> list[str]:
        """Returns what the program on a host has printed."""
        return self._output(number).read_text(encoding="utf-8", errors="replace").splitlines()

    def reasons(self, number: int) -> list[str]:
        """Returns the lines of a rank that say why the run ended."""
        return [line for line in self.lines(number) if line.startswith(f"ovocr: rank {number}: ")]

    def wait_for_step(self, step: int, timeout_s: float = 200.0) -> None:
        """Waits until rank 0 has done a step."""
        deadline = time.monotonic() + timeout_s
        while not any(line.startswith(f"step {step}/") for line in self.lines(0)):
            assert time.monotonic() < deadline, self.lines(0)[-5:]
            assert self.processes[0].poll() is None, self.lines(0)[-5:]
            time.sleep(0.02)

    def wait(self, timeout_s: float) -> tuple[list[int], float]:
        """Waits until all programs have ended. Returns their exit codes and the seconds from now to the last end."""
        start = time.monotonic()
        for process in self.processes:
            process.wait(max(0.1, start + timeout_s - time.monotonic()))
        return [process.returncode for process in self.processes], time.monotonic() - start


def _command(
    launcher: str, config: Path, settings: tuple[str, ...], number: int, count: int
) -> tuple[list[str], dict[str, str]]:
    """Returns the command of a host, and its environment variables."""
    train = ["-m", "ovocr", "train", str(config), *(part for setting in settings for part in ("--set", setting))]
    threads = {"OMP_NUM_THREADS": "1"}
    if launcher == "ovocr":
        hosts = ["--nnodes", str(count), "--node-rank", str(number), "--master", f"host1:{PORT}"]
        return [sys.executable, *train, *hosts], threads
    if launcher == "torchrun":
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=host1:{PORT}", "--rdzv-id=run"]
        run = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={count}", "--nproc-per-node=1", *meeting]
        return [*run, *train], threads
    ranks = {"RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    return [sys.executable, *train], {**threads, **ranks, "MASTER_ADDR": "host1", "MASTER_PORT": str(PORT)}


def left_over(host: Host) -> list[str]:
    """Returns the command lines of the training processes that still run on a host."""
    own = str(os.getpid())
    script = "for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline 2>/dev/null; echo; done"
    lines = host.run(["bash", "-c", script]).splitlines()
    return [line for line in lines if " train " in line and own not in line.split()]

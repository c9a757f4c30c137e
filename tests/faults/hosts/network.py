"""Hosts on this machine, each with its own network, processes and name, and a network between them that fails.

A host is a set of Linux namespaces. Its interface eth0 is connected to a switch (`switch.py`). Hosts share the disk.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SWITCH = Path(__file__).with_name("switch.py")
_START_TIMEOUT_S = 30.0
_NAMESPACES = ("--net", "--uts", "--ipc", "--pid", "--mount")
Process = subprocess.Popen[str]


class Host:
    """A host. name: its host name. address: its IP address, which the other hosts resolve from the name."""

    def __init__(self, network: "Network", number: int) -> None:
        self.name, self.address = f"host{number}", f"10.77.0.{number}"
        self._network = network
        self._processes: list[Process] = []
        self.boot()

    def boot(self) -> None:
        """Starts the host and connects it."""
        # Its first process, which ends with the test, even if that is killed. All others of the host die with it.
        hosts, shm = self._network.hosts_file, "mount -t tmpfs tmpfs /dev/shm"
        script = f"hostname {self.name} && mount --bind {hosts} /etc/hosts && {shm} && echo up && exec cat"
        command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", "bash", "-c", script]
        # When its child is killed, `unshare` complains about the signals that it restores.
        self._system = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._system.stdout is not None
        assert self._system.stdout.readline() == "up\n", "the host did not start"
        (self._first,) = children_of(self._system.pid)
        self._network.command("attach", self.name, self._first)
        setup = (
            "ip link set lo up",
            f"ip link set eth0 address 02:00:00:00:00:{int(self.address.rpartition('.')[2]):02x}",
            f"ip address add {self.address}/24 dev eth0",
            "ip link set eth0 up",
        )
        self.run(["bash", "-c", " && ".join(setup)])

    def popen(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, **options: Any) -> Process:
        """Starts a program on the host, with these environment variables beside those of the test."""
        enter = ["nsenter", "--target", str(self._first), *_NAMESPACES, f"--wd={options.pop('cwd', os.getcwd())}"]
        variables = {**os.environ, "GLOO_SOCKET_IFNAME": "eth0", "TP_SOCKET_IFNAME": "eth0", **(env or {})}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen([*enter, "--", *map(str, command)], env=variables, **options)
        self._processes.append(process)
        return process

    def run(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, timeout_s: float = 120.0) -> str:
        """Runs a program on the host and returns its standard output. Raises CalledProcessError."""
        process = self.popen(command, env)
        output, errors = process.communicate(timeout=timeout_s)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args, output, errors)
        return output

    def signal(self, process: Process, number: int) -> None:
        """Sends a signal to a program that `popen` started."""
        (program,) = children_of(process.pid)  # nsenter waits for it and does not forward signals
        os.kill(program, number)

    def kill(self) -> None:
        """Ends all processes of the host at once, as a power failure does. The other hosts get no message."""
        self._network.cut(self)  # or its kernel would close the connections of the killed processes
        with suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)
        self._system.wait(_START_TIMEOUT_S)
        for pipe in (self._system.stdin, self._system.stdout):
            assert pipe is not None
            pipe.close()
        self._network.disconnect(self)
        for process in self._processes:
            process.wait(_START_TIMEOUT_S)

    def reboot(self) -> None:
        """Kills the host and starts it with the same address."""
        self.kill()
        self.boot()

    def close(self) -> None:
        """Kills the host and closes the pipes of its programs."""
        self.kill()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


class Network:
    """The hosts and what connects them. hosts_file: names and addresses of the hosts."""

    def __init__(self, hosts: int, hosts_file: Path, seed: int = 0) -> None:
        self.hosts_file = hosts_file
        names = "".join(f"10.77.0.{number} host{number}\n" for number in range(1, hosts + 1))
        hosts_file.write_text(f"127.0.0.1 localhost\n{names}", encoding="utf-8")
        self._switch = subprocess.Popen(
            [sys.executable, str(SWITCH), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.hosts: list[Host] = []
        try:
            for number in range(1, hosts + 1):
                self.hosts.append(Host(self, number))
        except BaseException:
            self.close()
            raise

    def command(self, *command: Any) -> Any:
        """Sends a command to the switch and returns its answer."""
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(command) + "\n")
        self._switch.stdin.flush()
        return json.loads(self._switch.stdout.readline())

    def cut(self, host: Host) -> None:
        """Drops all frames from and to a host. No process gets an error for it."""
        self.command("cut", host.name)

    def heal(self, host: Host) -> None:
        """Ends a cut."""
        self.command("heal", host.name)

    def latency(self, seconds: float) -> None:
        """Delays each frame, so a round trip takes twice as long."""
        self.command("latency", seconds)

    def loss(self, share: float) -> None:
        """Drops this share of all frames at random."""
        self.command("loss", share)

    def frames(self) -> tuple[int, int]:
        """Returns the number of frames delivered and lost."""
        delivered, lost = self.command("frames")
        return delivered, lost

    def disconnect(self, host: Host) -> None:
        """Removes the connection of a host that has ended."""
        self.command("detach", host.name)

    def close(self) -> None:
        """Ends all hosts and the switch."""
        for host in self.hosts:
            host.close()
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.close()
        self._switch.wait(_START_TIMEOUT_S)
        self._switch.stdout.close()


@contextmanager
def network(hosts: int, folder: Path, seed: int = 0) -> Iterator[Network]:
    """Yields a network of hosts, and ends them. Skips the test if this machine cannot make namespaces or TAP devices.

    folder: an existing folder for its files. seed: of the choice of lost frames.
    """
    skip_without_namespaces()
    net = Network(hosts, folder / "hosts", seed)
    try:
        yield net
    finally:
        net.close()


def skip_without_namespaces() -> None:
    """Skips the test if this machine has no network of hosts, and says what it lacks."""
    for program in ("ip", "nsenter", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"no hosts in network namespaces: the program `{program}` is not installed")
    if os.geteuid():
        pytest.skip("no hosts in network namespaces: needs root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("no hosts in network namespaces: there is no /dev/net/tun")
    tried = subprocess.run(["unshare", *_NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no hosts in network namespaces: {tried.stderr.strip()}")


def children_of(pid: int) -> list[int]:
    """Returns the process ids of the children of a process, after waiting for the first one."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if children := Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            return [int(child) for child in children]
        time.sleep(0.01)
    raise TimeoutError(f"process {pid} has no children")

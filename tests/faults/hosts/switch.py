"""A network switch between hosts of `network.py`, whose frames wait, are lost, or end at a cut.

    python switch.py SEED

Reads commands from standard input, one JSON list in each line, and answers each with a line: ["attach", NAME, PID]
makes the interface eth0 in the network namespace of a process and connects it, ["detach", NAME] forgets a host,
["latency", SECONDS] delays each frame, ["loss", SHARE] drops frames at random, ["cut", NAME] and ["heal", NAME] end and
restore the delivery of frames from and to a host, ["frames"] counts those delivered and lost. Ends with its input.

The kernel's own emulation of networks (netem) is a module that many kernels lack; TAP devices need none.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import struct
import sys
import time
from typing import Any

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000
_FRAME_BYTES = 65_536
_BROADCAST_BIT = 1  # of the first byte of a destination: broadcast and multicast frames go to all hosts
_BURST = 64  # frames that are read from a host before the others get their turn


class Switch:
    """The hosts, the faults, and the frames under way."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._selector = selectors.DefaultSelector()
        self._ports: dict[str, int] = {}
        self._places: dict[bytes, str] = {}
        self._cut: set[str] = set()
        self._under_way: list[tuple[float, int, str, bytes]] = []
        self._number = 0
        self.latency, self.loss = 0.0, 0.0
        self.delivered, self.lost = 0, 0

    def run(self) -> None:
        """Forwards frames and obeys commands until standard input ends."""
        os.set_blocking(0, False)
        commands = b""
        self._selector.register(0, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select(self._pause()):
                if key.data is not None:
                    self._receive(key.data)
                    continue
                read = os.read(0, 65_536)
                if not read:
                    return
                *lines, commands = (commands + read).split(b"\n")
                for line in lines:
                    print(json.dumps(self._obey(*json.loads(line))), flush=True)
            self._deliver()

    def _pause(self) -> float | None:
        return max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None

    def _obey(self, name: str, *values: Any) -> Any:
        if name == "attach":
            self._attach(*values)
        elif name == "detach":
            self._detach(*values)
        elif name == "latency":
            (self.latency,) = values
        elif name == "loss":
            (self.loss,) = values
        elif name == "cut":
            self._cut.update(values)
        elif name == "heal":
            self._cut.difference_update(values)
        elif name == "frames":
            return [self.delivered, self.lost]
        else:
            raise ValueError(name)
        return "done"

    def _attach(self, name: str, pid: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            # The device belongs to the namespace in which it is opened.
            if libc.setns(other, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _IFF_TAP | _IFF_NO_PI))
        finally:
            libc.setns(own, _CLONE_NEWNET)
            os.close(own)
            os.close(other)
        self._ports[name] = device
        self._selector.register(device, selectors.EVENT_READ, name)

    def _detach(self, name: str) -> None:
        device = self._ports.pop(name)
        self._selector.unregister(device)
        os.close(device)
        self._cut.discard(name)

    def _receive(self, source: str) -> None:
        for _ in range(_BURST):
            try:
                frame = os.read(self._ports[source], _FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the host's namespace is gone
                self._detach(source)
                return
            self._places[frame[6:12]] = source
            place = None if frame[0] & _BROADCAST_BIT else self._places.get(frame[:6])
            for target in [place] if place else [name for name in self._ports if name != source]:
                self._send(source, target, frame)

    def _send(self, source: str, target: str, frame: bytes) -> None:
        if source in self._cut or target in self._cut or self._random.random() < self.loss:
            self.lost += 1
            return
        self._number += 1
        heapq.heappush(self._under_way, (time.monotonic() + self.latency, self._number, target, frame))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._under_way)
            if target not in self._ports or target in self._cut:
                self.lost += 1
                continue
            try:
                os.write(self._ports[target], frame)
                self.delivered += 1
            except OSError:  # the interface is down, or its queue is full
                self.lost += 1


if __name__ == "__main__":
    Switch(int(sys.argv[1])).run()

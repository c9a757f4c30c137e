"""Ends a process of a Ray cluster that cannot reach the head of the cluster any more.

If a network drops all packets, Ray's calls wait without end, in the driver and in the actors of a host that is cut off.
"""

import os
import socket
import threading
import time

from ovocr.labelgen.shards.progress import say

# Ray gives up a node after 65 s at most, with its defaults.
LOST_AFTER_S = 90.0
_CHECK_S = 5.0
_CONNECT_TIMEOUT_S = 5.0


def end_without_head(message: str) -> None:
    """Starts a thread that ends this process with exit code 1 when the head did not answer for LOST_AFTER_S.

    message: what to say then; empty to say nothing. Does nothing in a process that is not connected to a cluster.
    """
    import ray

    if not ray.is_initialized():
        return
    address: str = ray.get_runtime_context().gcs_address
    threading.Thread(target=_watch, args=(address, message), daemon=True).start()


def _watch(address: str, message: str) -> None:
    host, _, port = address.rpartition(":")
    answered = time.monotonic()
    while time.monotonic() - answered < LOST_AFTER_S:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S):
                answered = time.monotonic()
        except OSError:
            pass
        time.sleep(_CHECK_S)
    if message:
        say(f"ray: the head of the cluster at {address} has not answered for {LOST_AFTER_S:.0f} s; {message}")
    os._exit(1)  # a call of Ray, also one that disconnects, would wait for the head

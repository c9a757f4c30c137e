"""Shorter pauses between TCP's attempts to send, so that ranks continue soon after the network between them is back.

While the network is cut, TCP doubles the pause between two attempts, to two minutes at most. After a cut of t seconds
the next attempt may be another t seconds away: too late for a collective whose time is over by then.
"""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

_LONGEST_PAUSE_MS = 1000
_TCP_RTO_MAX_MS = 44  # Linux 6.15; Python has no name for it
_OPEN_FILES = Path("/proc/self/fd")


def limit_retransmission_pauses(give_up_s: float) -> None:
    """Limits the pause to one second for all TCP connections that this process has now.

    give_up_s: time without an answer after which TCP ends a connection. Its own limit is a number of attempts.

    Has no effect on systems other than Linux, and before Linux 6.15.
    """
    if not _OPEN_FILES.is_dir():
        return
    for entry in list(_OPEN_FILES.iterdir()):
        with suppress(OSError):  # a file that was closed meanwhile, a socket that is not connected, an older kernel
            if stat.S_ISSOCK(os.stat(entry).st_mode):
                _limit(os.dup(int(entry.name)), give_up_s)


def _limit(descriptor: int, give_up_s: float) -> None:
    with socket.socket(fileno=descriptor) as connection:
        if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(give_up_s * 1000))
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, _LONGEST_PAUSE_MS)

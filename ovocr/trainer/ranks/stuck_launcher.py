"""Ends a torchrun that waits without end for the store of the run.

With the rendezvous backend c10d, torchrun reads the store all the time. If the network to the store is cut, it waits in
that read and handles no signal, so it would keep the host reserved after its ranks have ended (seen with torch 2.13).
"""

import os
import subprocess
import sys

# Time for a torchrun that can end by itself.
_WAIT_S = 20.0
# Runs in a process of its own, because the ranks must end before torchrun can.
_WATCH = """
import os, select, signal, sys
launcher = int(sys.argv[1])
handle = os.pidfd_open(launcher)
if not select.select([handle], [], [], float(sys.argv[2]))[0]:
    print(f"ovocr: ending torchrun (process {launcher}), which still waits for the store", file=sys.stderr)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
"""


def end_launcher_if_stuck() -> None:
    """Ends the torchrun that started this rank if it is still there after 20 seconds. Returns at once.

    Has no effect without torchrun, on all but the first rank of a host, and on systems other than Linux.
    """
    is_first = os.environ.get("LOCAL_RANK") == "0"
    if not is_first or "TORCHELASTIC_RUN_ID" not in os.environ or not hasattr(os, "pidfd_open"):
        return
    command = [sys.executable, "-c", _WATCH, str(os.getppid()), str(_WAIT_S)]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)

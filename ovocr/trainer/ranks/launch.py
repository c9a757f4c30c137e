"""Starting several ranks on this machine."""

import logging
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.processes.cores import available_cores

# What ranks have to save their steps when they are told to end.
_SHUTDOWN_TIMEOUT_S = 300


def launch_ranks(arguments: Iterable[str], ranks: int) -> None:
    """Run `ovocr` with these arguments as so many ranks, by torchrun, and wait for them.

    SIGTERM and Ctrl-C are passed on, and the ranks save before they end. Raises OvocrError naming the rank that failed
    first; by then it has said itself why.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Python looks for `-m ovocr` in the current folder first, where a folder of that name may be something else: a
    # checkout, seen from outside. With this package on the path, it is found all the same.
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    os.environ["PYTHONPATH"] = path
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // ranks)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it says is said below, in a line
    options = torchrun.parse_args(["--standalone", f"--nproc-per-node={ranks}", "-m", "ovocr", *arguments])
    if hasattr(options, "shutdown_timeout"):  # since torch 2.10; before, it was 30 s always
        options.shutdown_timeout = _SHUTDOWN_TIMEOUT_S
    try:
        torchrun.run(options)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = _signal_name(failure.exitcode) or f"ended with exit code {failure.exitcode}"
        raise OvocrError(f"rank {rank} (process {failure.pid}) {how}") from error
    except SignalException as error:
        raise OvocrError(f"all ranks were ended by {signal.Signals(error.sigval).name}") from error


def _signal_name(exit_code: int) -> str:
    return f"died of {signal.Signals(-exit_code).name}" if exit_code < 0 else ""

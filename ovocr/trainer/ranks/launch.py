"""Launches the ranks of this machine, which may be one of several."""

import logging
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import ovocr
from ovocr.base.errors import OvocrError
from ovocr.base.plural import counted
from ovocr.processes.cores import available_cores
from ovocr.trainer.ranks.hosts import ONE_HOST, Hosts

# Time for the ranks to save their steps after a request to stop.
_SHUTDOWN_TIMEOUT_S = 300


def launch_ranks(arguments: Iterable[str], ranks: int, hosts: Hosts = ONE_HOST) -> None:
    """Runs `ovocr` with these arguments as ``ranks`` ranks on this machine, through torchrun, and waits for them.

    Forwards SIGTERM and Ctrl-C; the ranks save before they exit. Raises OvocrError naming the rank that failed first,
    which has already reported the reason itself.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # `-m ovocr` searches the current folder first, which may contain another folder of that name, such as a checkout.
    # With this package on the path, Python finds the right one.
    path = os.pathsep.join(filter(None, (str(Path(ovocr.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    os.environ["PYTHONPATH"] = path
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // ranks)))
    # The handlers below report failures in one line, and the ranks theirs; torch would add warnings with stacks of C++.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    options = torchrun.parse_args(["--standalone", f"--nproc-per-node={ranks}", "-m", "ovocr", *arguments])
    if hasattr(options, "shutdown_timeout"):  # since torch 2.10; always 30 s before
        options.shutdown_timeout = _SHUTDOWN_TIMEOUT_S
    if hosts != ONE_HOST:
        hosts.announce()
        meeting = f"{hosts.count} machines of {counted(ranks, 'rank')} meet at {hosts.master}"
        print(f"ovocr: machine {hosts.number}: {meeting}", file=sys.stderr, flush=True)
    try:
        torchrun.run(options)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = _signal_name(failure.exitcode) or f"ended with exit code {failure.exitcode}"
        rank += hosts.number * ranks
        raise OvocrError(f"rank {rank} (process {failure.pid}) {how}") from error
    except SignalException as error:
        raise OvocrError(f"all ranks were ended by {signal.Signals(error.sigval).name}") from error


def _signal_name(exit_code: int) -> str:
    return f"died of {signal.Signals(-exit_code).name}" if exit_code < 0 else ""

"""Ctrl-C, SIGTERM and failing file systems during a run, as errors for the user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovocr.base.errors import OvocrError
from ovocr.processes.termination import terminable


@contextmanager
def stoppable(out: Path | str) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a file system that fails end the block with an OvocrError; files and workers are cleared."""
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        raise OvocrError(f"stopped; finished shards are kept in {out}: the same command goes on behind them") from None
    except OSError as error:
        raise file_error(error, out) from error


def file_error(error: OSError, out: Path | str) -> OvocrError:
    """What a file system's failure is to the user, in a run that writes to ``out``."""
    # Arrow puts its own words for it.
    reason = os.strerror(error.errno) if error.errno is not None else error
    return OvocrError(f"{error.filename or out}: {reason}")

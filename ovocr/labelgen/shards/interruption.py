"""Ctrl-C, SIGTERM and file system errors during a run, as errors for the user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovocr.base.errors import OvocrError, StoreError
from ovocr.processes.termination import terminable


@contextmanager
def stoppable(out: Path | str) -> Iterator[None]:
    """Converts Ctrl-C, SIGTERM and OSError inside the block to an OvocrError. out: the data set being written.

    A StoreError also says what to do.
    """
    try:
        with terminable():
            yield
    except KeyboardInterrupt:
        raise OvocrError(
            f"interrupted; finished shards are kept in {out}: run the same command again to resume"
        ) from None
    except StoreError as error:
        raise StoreError(f"{error}; finished shards are kept: run the same command again to resume") from error
    except OSError as error:
        raise file_error(error, out) from error


def file_error(error: OSError, out: Path | str) -> OvocrError:
    """Returns the OvocrError for a file system error in a run that writes to ``out``."""
    # Arrow replaces the text of the error.
    reason = os.strerror(error.errno) if error.errno is not None else error
    return OvocrError(f"{error.filename or out}: {reason}")

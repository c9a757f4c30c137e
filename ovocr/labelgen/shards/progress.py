"""Shows the progress of a run on stderr: a bar on a terminal, otherwise a line every LOG_INTERVAL_S seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from ovocr.base.escape import for_terminal
from ovocr.labelgen.sources import InputShard

_Result = TypeVar("_Result")

LOG_INTERVAL_S = 30.0
# tqdm's default, except that the rate is always in images per second.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


class Progress:
    """Shows the progress over the images of ``shards``. Prints nothing if ``shown`` is False.

    The number of images in a .tar is unknown until it is read. It is estimated from the finished tars.
    """

    def __init__(self, shards: list[InputShard], shown: bool) -> None:
        self._shards = shards
        self._shown = shown
        self._known = sum(shard.images for shard in shards if shard.images is not None)
        self._bytes_in_tars = sum(shard.size or 0 for shard in shards if shard.images is None)
        self._done = 0  # images
        self._finished = 0  # shards
        self._in_tars = [0, 0]  # images and bytes of the finished tars
        self._in_shard = 0
        self._start = self._last_line = time.monotonic()
        terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(total=self._estimate(), unit="img", bar_format=_BAR, disable=not terminal)
        self._lines = shown and not terminal

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def begin(self, shard: InputShard) -> None:
        """Starts a shard. The following images belong to it."""
        self._in_shard = 0
        self._bar.set_description(f"shard {self._finished + 1}/{len(self._shards)}")

    def image(self, count: int = 1) -> None:
        """Counts ``count`` images."""
        self._done += count
        self._in_shard += count
        self._bar.update(count)
        if self._lines and time.monotonic() - self._last_line >= LOG_INTERVAL_S:
            self._print_line()

    def end(self, shard: InputShard) -> None:
        """Finishes a shard."""
        self._finished += 1
        if shard.images is None:
            self._in_tars[0] += self._in_shard
            self._in_tars[1] += shard.size or 0
            self._bar.total = self._estimate()
            self._bar.refresh()

    def track(self, results: Iterator[_Result], images: Callable[[_Result], int]) -> Iterator[_Result]:
        """Yields the result of each shard and counts its images. images: returns their number."""
        for shard in self._shards:
            self.begin(shard)
            result = next(results)
            self.image(images(result))
            self.end(shard)
            yield result

    def _estimate(self) -> int | None:
        if not self._bytes_in_tars:
            return self._known
        images, read = self._in_tars
        return self._known + round(images * self._bytes_in_tars / read) if read else None

    def _is_exact(self) -> bool:
        """Returns True if all tars were read completely."""
        return self._in_tars[1] == self._bytes_in_tars

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        seconds = self._last_line - self._start
        total = self._estimate()
        of = "?" if total is None else f"{'' if self._is_exact() else 'about '}{total}"
        left = f", about {(total - self._done) * seconds / self._done:.0f} s left" if total else ""
        say(
            f"shard {self._finished + 1}/{len(self._shards)}, {self._done} of {of} images, "
            f"{self._done / seconds:.2f} images/s{left}"
        )


def say(line: str) -> None:
    """Prints one line for the user on stderr."""
    print(f"ovocr: {for_terminal(line)}", file=sys.stderr, flush=True)

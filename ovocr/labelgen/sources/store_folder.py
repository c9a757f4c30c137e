"""Images in a folder of an object store: listed at once, fetched several at a time and ahead of their turn."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ovocr.base.errors import OvocrError
from ovocr.base.escape import as_text
from ovocr.base.object_store import connect, describe_error, store_errors
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.sources.plan import MAX_FILE_BYTES, Found, Lost, SourceItem, is_image_name, too_large

# A request takes tens of milliseconds, whatever is asked for: many are under way at once.
_REQUESTS = 16


def list_store_images(source: str) -> tuple[list[str], int]:
    """Relative paths with image endings, and the number of other files. Raises OvocrError."""
    system, folder = connect(source)
    try:
        with store_errors(source):
            paths: list[str] = system.find(folder)
    except FileNotFoundError as error:
        raise OvocrError(f"{source}: {describe_error(error)}") from error
    names = [path[len(folder) + 1 :] for path in paths if not path.endswith("/")]
    images = [name for name in names if is_image_name(name)]
    return images, len(names) - len(images)


def read_store_images(source: str, names: tuple[str, ...]) -> Iterator[SourceItem]:
    """The images in order, the relative path as key; one that is gone is one Lost.

    Raises OvocrError where the store does not answer.
    """
    system, folder = connect(source)
    waiting: deque[Future[SourceItem]] = deque()
    executor = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="ovocr-fetch")
    try:
        for name in names:
            waiting.append(executor.submit(_fetch, system, folder, source, name))
            if len(waiting) == _REQUESTS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _fetch(system: Any, folder: str, source: str, name: str) -> SourceItem:
    key = as_text(name)
    path = f"{folder}/{name}"
    try:
        with store_errors(f"{source}/{key}"):
            size = int(system.info(path)["size"])
            if size > MAX_FILE_BYTES:
                return too_large(key, size)
            return Found(key, system.cat_file(path))
    except FileNotFoundError:
        return Lost(key, Reason.UNREADABLE, "No such file or directory")

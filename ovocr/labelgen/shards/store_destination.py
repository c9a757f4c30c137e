"""A data set in an object store. Each shard is written to a temporary folder and uploaded.

An object appears when its upload is complete. A shard's statistics are uploaded last, unless they exist.

The store has no locks, so two runs may make the same shard. Before each object, a run looks whether another one has
finished the shard, and then leaves it alone. When it has finished a shard, it removes the parts of uploads that others
have begun for it. A run that is suspended after its look and goes on later may still replace an object. That cannot
harm: an object is replaced as a whole, and both runs have made the same bytes from the same sources and manifest. The
one exception are sources that were repaired in between (`--retry-quarantined`).
"""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ovocr.base.attempts import ask, repeat
from ovocr.base.errors import OvocrError, StoreError
from ovocr.base.object_store import connect, describe_error
from ovocr.base.s3_client import abort_uploads, upload_options
from ovocr.base.store_folder import StoreFolder
from ovocr.base.temporary import temporary_folder
from ovocr.dataset.layout import FOLDERS, LabelledDataSet
from ovocr.dataset.manifest import Manifest
from ovocr.labelgen.shards.destination import Destination
from ovocr.labelgen.shards.manifest import NO_CHANGES, AllowedChanges, settle_configuration
from ovocr.labelgen.shards.progress import say
from ovocr.labelgen.sources import InputShard
from ovocr.labelgen.tagging.run_words import Words


class StoreDestination(Destination):
    """A data set in an object store that a run writes. url: URL of the data set.

    ``data_set`` is in a temporary folder with the store's configuration and statistics, and the files of the current
    shard. A shard is uploaded while the next one is written. Raises OvocrError if the store cannot be reached.
    """

    keeps_shards = False

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._store = connect(self._url)
        self._folder = StoreFolder(self._url)
        self._rewritten: set[int] = set()

    def __enter__(self) -> "StoreDestination":
        with ExitStack() as stack:
            # Only runs for the same data set remove what a killed one left.
            purpose = f"upload-{hashlib.sha256(self._url.encode()).hexdigest()[:12]}"
            root = stack.enter_context(temporary_folder(purpose))
            self.data_set = LabelledDataSet(root, url=self._url)
            self._is_new = not self._fetch_configuration()
            if self._is_new:
                self._check_no_shard_files()
            self._finished = self._fetch_statistics()
            self._uploader = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="ovocr-upload"))
            self._upload: Future[None] | None = None
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finishes the upload of a complete shard, even after an error."""
        with self._stack:
            if error is None:
                self._wait()

    def check(self, shards: list[InputShard]) -> None:
        """Raises OvocrError if a source is inside the folder of the records. The store checks permissions."""
        for source in dict.fromkeys(shard.source for shard in shards):
            if f"{source}/".startswith(f"{self._url}/rec/"):
                raise OvocrError(
                    f"--out {self._url}: {source} is in a folder where shards are written; choose another --out"
                )

    def settle(self, manifest: Manifest, words: Words | None, changes: AllowedChanges = NO_CHANGES) -> None:
        """Calls settle_configuration. If several processes start the data set, the first manifest is kept."""
        settle_configuration(self.data_set, manifest, words, changes)
        if not self._is_new:
            if self._get(self.data_set.manifest_path.name) != self.data_set.manifest_path.read_bytes():
                self._put_content(self.data_set.manifest_path)
            return
        for path in self.data_set.word_files():
            if path.exists() and not self._create(path) and self._get(path.name) != path.read_bytes():
                raise OvocrError(
                    f"{self._url}: contains a different {path.name} but no manifest.json; "
                    "move it away or choose another --out"
                )
        if not self._create(self.data_set.manifest_path):
            self._fetch_configuration()
            settle_configuration(self.data_set, manifest, words, changes)
        self._is_new = False

    def keys(self, number: int) -> list[str]:
        """Returns the keys of a finished shard's images, in order. Fetches the shard's table of records."""
        path = self.data_set.records_path(number)
        path.parent.mkdir(exist_ok=True)
        try:
            self._folder.download(self._name(path), path)
            return super().keys(number)
        finally:
            path.unlink(missing_ok=True)

    def join(self) -> None:
        """Fetches the configuration, which the command may have written since. Raises OvocrError."""
        if self._is_new:
            self._is_new = not self._fetch_configuration()
        elif (manifest := self._get(self.data_set.manifest_path.name)) is not None:
            self.data_set.manifest_path.write_bytes(manifest)

    def see_finished(self) -> None:
        """Fetches the statistics of all finished shards. Raises OvocrError."""
        self._finished = self._fetch_statistics()

    def flush(self) -> None:
        """Waits until the last shard is uploaded. Raises OvocrError if that fails."""
        self._wait()

    def begin_shard(self, number: int) -> None:
        """Removes the statistics of a shard before it is rewritten. Without them it is not finished."""
        if number not in self._finished:
            return
        with suppress(FileNotFoundError):  # the answer to the first attempt was lost, or another run was faster
            self._ask(self.data_set.stats_path(number), "rm_file")
        self._finished.remove(number)
        self._rewritten.add(number)

    def finish_shard(self, number: int) -> None:
        """Uploads the shard while the next one is written. Raises OvocrError if the previous upload failed."""
        self._wait()
        self._upload = self._uploader.submit(self._upload_shard, number)

    def _wait(self) -> None:
        if self._upload is not None:
            self._upload.result()

    def _upload_shard(self, number: int) -> None:
        stats = self.data_set.stats_path(number)
        files = [path for path in self.data_set.data_files(number, with_text=True).values() if path.exists()]
        finished = any(self._put(path, number) for path in files)
        # The local file is kept for the totals of the run.
        if number in self._rewritten:
            self._put_content(stats)
        elif finished or not (self._create(stats) or self._get(self._name(stats)) == stats.read_bytes()):
            say(f"shard {number} was made by another process meanwhile")
        with suppress(StoreError):  # without permission to list them, the parts stay, which are no objects
            repeat(
                self._url, lambda: abort_uploads(self._store.system, self._store.path, set(map(self._object, files)))
            )
        for path in files:
            path.unlink()

    def _put(self, path: Path, number: int) -> bool:
        """Uploads a file. Returns True, without uploading it, if another process has finished the shard meanwhile."""
        stats, size = self._object(self.data_set.stats_path(number)), path.stat().st_size

        def put() -> bool:
            if number not in self._rewritten:  # what is rewritten is no longer right
                with suppress(FileNotFoundError):
                    ask(self._store, "info", stats)
                    return True
            options = upload_options(self._store.system)
            try:
                ask(self._store, "put_file", str(path), self._object(path), size=size, **options)
            except FileNotFoundError as error:  # another process has finished the shard and removed these parts
                raise OSError(describe_error(error)) from error
            return False

        return repeat(self._url, put)

    def _fetch_configuration(self) -> bool:
        """Returns True if the store has a configuration."""
        manifest = self._get(self.data_set.manifest_path.name)
        if manifest is None:
            return False
        for path in self.data_set.word_files():
            if (content := self._get(path.name)) is not None:
                path.write_bytes(content)
        self.data_set.manifest_path.write_bytes(manifest)
        return True

    def _check_no_shard_files(self) -> None:
        for folder in FOLDERS:
            found = self._ask(self.data_set.root / folder, "find")
            # Another process may have started the data set. It writes the manifest before its shards.
            if found and self._get(self.data_set.manifest_path.name) is None:
                name = found[0].removeprefix(f"{self._store.path}/")
                raise OvocrError(
                    f"{self._url}: contains {name} but no manifest.json; restore manifest.json or choose another --out"
                )

    def _fetch_statistics(self) -> set[int]:
        """Returns the numbers of the finished shards."""
        folder = self.data_set.stats_path(0).parent
        folder.mkdir(exist_ok=True)
        names = [path.rpartition("/")[2] for path in self._ask(folder, "find") if path.endswith(".json")]
        for name, content in self._folder.read_many([f"{folder.name}/{name}" for name in names]).items():
            (folder / name.rpartition("/")[2]).write_bytes(content)
        return set(self.data_set.finished_shards())

    def _put_content(self, path: Path) -> None:
        """Uploads a small file, also if the store already contains it."""
        self._ask(path, "pipe_file", path.read_bytes())

    def _create(self, path: Path) -> bool:
        """Uploads a small file. Returns False if the store contains it, also if an answer was lost."""
        try:
            self._ask(path, "pipe_file", path.read_bytes(), mode="create")
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise OvocrError(f"{self._url}: {describe_error(error)}") from error
        return True

    def _get(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return self._folder.read(name)
        return None

    def _ask(self, path: Path, method: str, *arguments: Any, **options: Any) -> Any:
        """Calls a method of the store's file system for a file or folder, several times if the store fails."""
        return repeat(self._url, lambda: ask(self._store, method, self._object(path), *arguments, **options))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.data_set.root).as_posix()

    def _object(self, path: Path) -> str:
        return f"{self._store.path}/{self._name(path)}"


def open_destination(out: Path | str) -> Destination:
    """Returns the destination of a run: a folder, or an object store if ``out`` is a URL."""
    return Destination(LabelledDataSet(out)) if isinstance(out, Path) else StoreDestination(out)

"""The index of a checkpoint, the file .metadata: the shapes of its tensors, and which bytes of which file are theirs.

torch.distributed.checkpoint writes it as a pickle, and reads it as one. Run folders are shared between people, and a
pickle may name any function, which loading it runs. So this module reads the index without running anything that the
file names, checks it against the files, and hands torch what it has checked.
"""

import io
import math
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from ovocr.base.errors import OvocrError

INDEX_FILE = ".metadata"
# The names that torch.distributed.checkpoint gives to the files of the ranks.
FILE_NAME = re.compile(r"__[0-9]{1,9}_[0-9]{1,9}\.distcp")
_METADATA = "torch.distributed.checkpoint.metadata"
_NAMES = {
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    *(
        (_METADATA, name)
        for name in (
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
}
_PATHS = {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}


class CheckedReader(FileSystemReader):
    """Reads the tensors of a checkpoint by an index that has been read and checked."""

    def __init__(self, folder: Path, index: Metadata) -> None:
        super().__init__(folder)
        self._folder, self._index = folder, index

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Returns the index; torch would unpickle the file."""
        return self._index

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Reads what the plan says. Raises ValueError for a part that takes more memory than it has bytes."""
        for item in plan.items:
            info = self.storage_data[item.storage_index]
            with (self._folder / info.relative_path).open("rb") as file:
                _check_part(_Part(file, info.offset, info.length))
        return super().read_data(plan, planner)


def read_index(folder: Path) -> Metadata:
    """Returns the index of a checkpoint. Its parts of each tensor cover the tensor and are inside the files.

    Raises OvocrError if it is missing or damaged, names code, or does not fit the files.
    """
    path = folder / INDEX_FILE
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{INDEX_FILE} is not a file")
        return _checked(_unpickle(path.read_bytes()), folder)
    except Exception as error:  # a pickle may make Python raise nearly anything
        raise unreadable(folder, error) from error


def saved_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a checkpoint's tensors. Raises OvocrError; see ``read_index``."""
    saved = read_index(folder).state_dict_metadata
    return {name: tuple(entry.size) for name, entry in saved.items() if isinstance(entry, TensorStorageMetadata)}


def unreadable(folder: Path, cause: BaseException) -> OvocrError:
    """Returns the error for a checkpoint that cannot be read."""
    return OvocrError(
        f"{folder}: the checkpoint cannot be read: {first_line(cause)}; remove it to resume from an older one"
    )


def first_line(cause: BaseException) -> str:
    """Returns the type of an error and the first line of its message."""
    lines = str(cause).splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"


class _StandIn:
    """What the pickle builds instead of objects of torch: it only has the attributes that the pickle sets."""

    def __new__(cls, *arguments: object) -> "_StandIn":
        return super().__new__(cls)


class _TupleState(_StandIn):
    """Takes the place of TensorProperties, whose state is a tuple. Nothing in it is needed."""

    def __setstate__(self, state: object) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Builds stand-ins. Their types are made anew for each file, because a pickle can change the types it names."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._types: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch", "Size"):
            return tuple
        is_path = module.split(".")[0] == "pathlib" and name in _PATHS
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not (is_path or is_dtype or (module, name) in _NAMES):
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed in an index")
        base = _TupleState if name == "TensorProperties" else _StandIn
        return self._types.setdefault(name, type(name, (base,), {}))


def _unpickle(data: bytes) -> Any:
    for operation, argument, _ in pickletools.genops(data):
        # The decoder makes room for as many objects as the largest number says.
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= (argument or 0) <= len(data):
            raise ValueError("it stores an object under a number that is too large")
    return _Unpickler(data).load()


def _checked(found: Any, folder: Path) -> Metadata:
    places = {}
    for key, value in _attribute(found, "Metadata", "storage_data", dict).items():
        offsets = vars(key).get("offset") if isinstance(key, _StandIn) else None
        if offsets is not None:
            name = _attribute(key, "MetadataIndex", "fqn", str)
            places[MetadataIndex(name, _numbers(offsets))] = _storage(value)
    saved, sizes = {}, {}
    for name, entry in _attribute(found, "Metadata", "state_dict_metadata", dict).items():
        if not isinstance(name, str) or type(entry).__name__ == "BytesStorageMetadata":
            continue
        shape = _numbers(_attribute(entry, "TensorStorageMetadata", "size", tuple))
        chunks = [_chunk(chunk) for chunk in _attribute(entry, "TensorStorageMetadata", "chunks", list)]
        _check_cover(name, shape, chunks)
        for chunk in chunks:
            place = places.get(MetadataIndex(name, chunk.offsets))
            if place is None:
                raise ValueError(f"it does not say where {name!a} is")
            if place.relative_path not in sizes:
                sizes[place.relative_path] = _file_size(folder, place.relative_path)
            # An element takes at least a byte.
            if place.offset + place.length > sizes[place.relative_path] or math.prod(chunk.sizes) > place.length:
                raise ValueError(f"{place.relative_path} is too short for {name!a}")
        saved[name] = TensorStorageMetadata(TensorProperties(), torch.Size(shape), chunks)
    return Metadata(cast(dict[str, Any], saved), storage_data=places, storage_meta=StorageMeta())


def _attribute(found: Any, kind: str, name: str, expected: type) -> Any:
    """Returns an attribute of an object that the pickle has built. Raises ValueError if either is another one."""
    if not isinstance(found, _StandIn) or type(found).__name__ != kind:
        raise ValueError(f"it has a {type(found).__name__} in place of a {kind}")
    value = vars(found).get(name)
    if type(value) is not expected:
        raise ValueError(f"{name} of a {kind} is a {type(value).__name__}")
    return value


def _numbers(values: Any) -> tuple[int, ...]:
    if type(values) is not tuple or not all(type(value) is int and 0 <= value < 2**63 for value in values):
        raise ValueError("a shape or an offset is not one")
    return values


def _chunk(found: Any) -> ChunkStorageMetadata:
    offsets, sizes = (
        torch.Size(_numbers(_attribute(found, "ChunkStorageMetadata", name, tuple))) for name in ("offsets", "sizes")
    )
    return ChunkStorageMetadata(offsets, sizes)


def _storage(found: Any) -> _StorageInfo:
    path = _attribute(found, "_StorageInfo", "relative_path", str)
    offset, length = _numbers(tuple(_attribute(found, "_StorageInfo", name, int) for name in ("offset", "length")))
    if not FILE_NAME.fullmatch(path) or vars(found).get("transform_descriptors"):
        raise ValueError(f"{path[:100]!a} is not the name of a file of tensors, or the file is encoded")
    return _StorageInfo(path, offset, length)


def _check_cover(name: str, shape: tuple[int, ...], chunks: list[ChunkStorageMetadata]) -> None:
    """Raises ValueError unless the chunks are consecutive rows of the whole tensor, as a checkpoint has them."""
    rows = shape[0] if shape else 1
    row = 0
    for chunk in sorted(chunks, key=lambda chunk: tuple(chunk.offsets)):
        start, size = tuple(chunk.offsets) or (0,), tuple(chunk.sizes) or (1,)
        is_next = len(chunk.offsets) == len(chunk.sizes) == len(shape) and start == (row, *[0] * len(shape[1:]))
        if not is_next or size[1:] != shape[1:]:
            break
        row += size[0]
    else:
        if row == rows:
            return
    raise ValueError(f"the parts of {name!a} do not fit together")


def _file_size(folder: Path, name: str) -> int:
    path = folder / name
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError(f"{name} is not a file")
    return size


class _Part(io.RawIOBase):
    """The bytes of a part of a tensor."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if at < 0:
            raise ValueError("a seek to before the start")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _check_part(part: _Part) -> None:
    """Raises ValueError or zipfile.BadZipFile if a part of a tensor, which torch saves as a zip, is compressed.

    torch would decompress it at once, whatever its size.
    """
    with part, zipfile.ZipFile(cast(IO[bytes], part)) as archive:
        members = archive.infolist()
    sizes = sum(member.file_size for member in members)
    if sizes > part._length or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("a tensor is compressed")

"""Reads columns of a shard's records: keys, statuses, and the class ids and boxes of places."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ovocr.base.errors import OvocrError
from ovocr.dataset.outcome import Status
from ovocr.dataset.schemas import RECORDS, records_schema
from ovocr.dataset.tables import ROW_GROUP_ROWS, open_table, read_batches, read_columns

_CORNERS = 8


class PlaceColumns(NamedTuple):
    """The places of N records, concatenated.

    ends: int64 [N], end offset of each record's places. ids: int32 [M], class ids, which repeat within a record.
    boxes: float32 [M, 8], x1, y1 .. x4, y4 in pixels.
    """

    ends: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float32]


def read_keys(path: Path) -> Iterator[pa.Array]:
    """Yields the keys of all images, a few at a time. Raises TableError."""
    for batch in read_batches(path, pa.schema([RECORDS.field("key")]), rows=ROW_GROUP_ROWS):  # keys are short
        yield batch.column("key")


def read_record_keys(path: Path) -> dict[int, str]:
    """Returns the key of each image with a record, by record id. Raises TableError."""
    rows = read_columns(path, RECORDS, ["key", "record_id"])
    rows = rows.filter(pc.is_valid(rows["record_id"]))
    return dict(zip(rows["record_id"].to_pylist(), rows["key"].to_pylist(), strict=True))


def read_keys_and_statuses(path: Path) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """Returns the keys of all images, and which of them have a record: bool [images]. Raises TableError."""
    rows = read_columns(path, RECORDS, ["key", "status"])
    return rows["key"].to_pylist(), _booleans(pc.equal(rows["status"], Status.OK.value))


def read_class_ids(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Returns the row number and the class id of each place of a tag: int64 [places], int32 [places].

    Raises TableError.
    """
    with open_table(path) as file:
        tags = file.read(columns=["tags.list.element.id"])["tags"].combine_chunks()
        ids = pc.list_flatten(tags).field("id").to_numpy(zero_copy_only=False)
        return pc.list_parent_indices(tags).to_numpy().astype(np.int64), ids.astype(np.int32)


def find_positions(
    path: Path, *, with_text: bool, status: str | None = None, keys: Sequence[str] = (), class_id: int | None = None
) -> list[int]:
    """Returns the positions of the rows that meet all given conditions. Raises TableError."""
    names = ["status", *(["key"] if keys else []), *([] if class_id is None else ["tags"])]
    rows = read_columns(path, records_schema(with_text), names)
    matches = np.ones(rows.num_rows, bool)
    if status is not None:
        matches &= _booleans(pc.equal(rows["status"], status))
    if keys:
        matches &= _booleans(pc.is_in(rows["key"], pa.array(keys, pa.string())))
    if class_id is not None:
        tags = rows["tags"].combine_chunks()
        same = _booleans(pc.equal(pc.list_flatten(tags).field("id"), class_id))
        found = np.zeros(len(tags), bool)
        found[pc.list_parent_indices(tags).to_numpy()[same]] = True
        matches &= found
    return np.flatnonzero(matches).tolist()


def find_text_positions(path: Path, positions: Sequence[int]) -> dict[int, int]:
    """Maps the positions of images that were read to the positions of their rows of text. Raises TableError.

    positions: positions of images in the records; images that were not read are left out.
    """
    status = read_columns(path, RECORDS, ["status"])["status"]
    was_read = _booleans(pc.not_equal(status, Status.QUARANTINED.value))
    before: npt.NDArray[np.int64] = np.cumsum(was_read) - was_read
    return {position: int(before[position]) for position in positions if was_read[position]}


def find_image(path: Path, record_id: int) -> tuple[str, str] | None:
    """Returns source and key of a record's image; None if there is no such record. Raises TableError."""
    rows = read_columns(path, RECORDS, ["source", "key", "record_id"])
    found = rows.filter(pc.equal(rows["record_id"], record_id)).to_pylist()
    return (found[0]["source"], found[0]["key"]) if found else None


def count_class_ids(path: Path) -> npt.NDArray[np.int64]:
    """Returns the number of images with each class id: int64 [largest class id + 1]. Raises TableError."""
    with open_table(path) as file:
        return np.bincount(distinct_tags(file.read(columns=["tags.list.element.id"])["tags"].combine_chunks())[1])


def distinct_tags(tags: pa.ListArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the distinct tags of each row of the column ``tags``: row numbers and class ids, int64 [M] each."""
    rows = pc.list_parent_indices(tags).to_numpy().astype(np.int64)
    ids = pc.list_flatten(tags).field("id").to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.lexsort((ids, rows))
    rows, ids = rows[order], ids[order]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = (rows[1:] != rows[:-1]) | (ids[1:] != ids[:-1])
    return rows[is_first], ids[is_first]


def read_places(path: Path) -> PlaceColumns:
    """Returns the places of the tags of the shard's records, in the order of record ids.

    Raises OvocrError if the file cannot be read, a tag has no box, or record ids are not contiguous from 0.
    """
    with open_table(path) as file:
        rows = file.read(columns=["record_id", "tags"]).combine_chunks()
        record_ids = rows["record_id"].drop_null().to_numpy()
        tags = rows.filter(rows["record_id"].is_valid())["tags"].combine_chunks()
        flat = tags.flatten()
        has_boxes = flat.type.get_field_index("box") >= 0
        boxes = flat.field("box").flatten().to_numpy(zero_copy_only=False) if has_boxes else np.empty(0, np.float32)
        ids = flat.field("id").to_numpy(zero_copy_only=False).astype(np.int32)
        ends = np.cumsum(tags.value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64)
    if len(boxes) != _CORNERS * len(ids):
        raise OvocrError(f"{path}: contains tags without boxes, which crops need; disable crops")
    if not np.array_equal(record_ids, np.arange(len(record_ids))):
        raise OvocrError(f"{path}: record ids are not contiguous from 0; run `ovocr verify`")
    return PlaceColumns(ends, ids, boxes.reshape(-1, _CORNERS))


def _booleans(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Returns a Boolean array; nulls become False."""
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), bool)

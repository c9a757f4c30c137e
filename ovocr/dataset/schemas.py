"""Columns of a data set's Parquet files."""

import pyarrow as pa

_BOX = pa.list_(pa.float32(), 8)
_LINE_FORMAT_2 = pa.struct([("text", pa.string()), ("score", pa.float32()), ("box", _BOX)])
_LINE = pa.struct([*_LINE_FORMAT_2, ("edges", pa.list_(pa.float32()))])
# A place where a word of the vocabulary stands.
_TAG = pa.struct([("id", pa.int32()), ("line", pa.int32()), ("box", _BOX)])
# Columns that may contain nulls.
NULLABLE = frozenset({"reason", "detail", "record_id"})

_IMAGE = [("key", pa.string()), ("width", pa.int32()), ("height", pa.int32())]
OCR = pa.schema([*_IMAGE, ("lines", pa.list_(_LINE))])
# Text of format 2, from which `ovocr relabel` makes a data set of the current format.
OCR_FORMAT_2 = pa.schema([*_IMAGE, ("lines", pa.list_(_LINE_FORMAT_2))])
RECORDS = pa.schema(
    [
        ("source", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("record_id", pa.int64()),
        ("words_found", pa.int32()),
        ("words_in_vocabulary", pa.int32()),
        ("tags", pa.list_(_TAG)),
    ]
)
# Records of a packed data set, whose tags have no places.
PACKED_RECORDS = pa.schema([*list(RECORDS)[:6], pa.field("tags", pa.list_(pa.struct([("id", pa.int32())])))])


def records_schema(with_text: bool) -> pa.Schema:
    """Returns the schema of a shard's records."""
    return RECORDS if with_text else PACKED_RECORDS

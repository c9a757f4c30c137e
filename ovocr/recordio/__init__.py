"""MXNet RecordIO: reads and writes shards of encoded images with their labels, without mxnet. Imports only base.

A shard is two files: PREFIX.rec with consecutive records, and PREFIX.idx with their ids and byte offsets. They are
byte-identical to those of mxnet 1.9.1's ``MXIndexedRecordIO`` and ``pack``. docs/recordio.md describes the format.
"""

from ovocr.recordio.format import MAX_CLASS_ID, MAX_PAYLOAD_BYTES, MAX_RECORD_ID, Record, RecordError
from ovocr.recordio.index import rebuild_index
from ovocr.recordio.reader import RecordReader, scan_records
from ovocr.recordio.writer import RecordWriter

__all__ = [
    "MAX_CLASS_ID",
    "MAX_PAYLOAD_BYTES",
    "MAX_RECORD_ID",
    "Record",
    "RecordError",
    "RecordReader",
    "RecordWriter",
    "rebuild_index",
    "scan_records",
]

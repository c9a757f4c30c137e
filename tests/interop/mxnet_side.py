"""Writes or reads a shard with the recordio module of mxnet 1.9.1. Runs in the environment of mxnet.

mxnet_side.py write RECORDS.pickle PREFIX        RECORDS: a list of (id, labels: list of numbers or one number, image)
mxnet_side.py read PREFIX RECORDS.pickle         all records by id in the order of the index, then in file order
"""

import pickle
import sys

from mxnet.recordio import IRHeader, MXIndexedRecordIO, MXRecordIO, pack, unpack


def write(source: str, prefix: str) -> None:
    with open(source, "rb") as file:
        records = pickle.load(file)
    writer = MXIndexedRecordIO(prefix + ".idx", prefix + ".rec", "w")
    for id, labels, image in records:
        writer.write_idx(id, pack(IRHeader(0, labels, id, 0), image))
    writer.close()


def read(prefix: str, target: str) -> None:
    reader = MXIndexedRecordIO(prefix + ".idx", prefix + ".rec", "r")
    indexed = [(id, *plain(reader.read_idx(id))) for id in reader.keys]
    sequential = MXRecordIO(prefix + ".rec", "r")
    scanned = []
    while (item := sequential.read()) is not None:
        scanned.append(plain(item))
    with open(target, "wb") as file:
        pickle.dump((indexed, scanned), file)


def plain(item: bytes) -> tuple:
    header, image = unpack(item)
    labels = header.label.tolist() if header.flag else header.label
    return header.id, header.flag, labels, image


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])

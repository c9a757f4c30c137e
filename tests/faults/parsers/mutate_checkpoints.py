"""Changes of checkpoints, weights and the files of a run; checksums are repaired."""

import json
import pickletools
import struct
import zlib
from random import Random

from tests.faults.parsers import bundle
from tests.faults.parsers.mutate_bytes import mutate as mutate_bytes
from tests.faults.parsers.mutate_bytes import mutate_json, mutate_json_text, number

CHECKPOINT, WEIGHTS, RUN = b"c", b"w", b"r"
# Files of each kind of input, in their order.
CHECKPOINT_FILES = ("state.json", ".metadata", "__0_0.distcp")
WEIGHT_FILES = ("config.json", "model.safetensors")
RUN_FILES = (
    *(f"checkpoints/00000004/{name}" for name in CHECKPOINT_FILES),
    "config.toml",
    "vocab/ocr.txt",
    "vocab/ocr.txt.json",
    "extensions.jsonl",
    "extension.pending.json",
    "metrics.jsonl",
    "tracking.json",
    "measures.json",
    "prior/ocr.npz",
    "vocab/ocr.frequencies.tsv",
)
FILES = {CHECKPOINT: CHECKPOINT_FILES, WEIGHTS: WEIGHT_FILES, RUN: RUN_FILES}

_NAMES = [
    "torch\nSize",
    "torch.serialization\n_get_layout",
    "torch.distributed.checkpoint.filesystem\n_StorageInfo",
    "pathlib\nPosixPath",
    "os\nsystem",
    "torch\nfloat32",
    "torch\nsave",
    "pathlib\nPath",
    "torch.distributed.checkpoint.metadata\nBytesStorageMetadata",
    *(
        f"torch.distributed.checkpoint.metadata\n{name}"
        for name in ("ChunkStorageMetadata", "Metadata", "MetadataIndex", "TensorProperties", "TensorStorageMetadata")
    ),
]
_OPCODES = [
    b"N",
    b"\x88",
    b"\x89",
    b"K\0",
    b"K\1",
    b"K\xff",
    b"J\xff\xff\xff\xff",
    b"}",
    b"]",
    b")",
    b"(",
    b"0",
    b"1",
    b"2",
]
_OPCODES += [
    b"R",
    b"b",
    b"\x81",
    b"s",
    b"u",
    b"a",
    b"e",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x8f",
    b"\x90",
    b"\x91",
    b"\x93",
]
_OPCODES += [
    b"q\0",
    b"h\0",
    b"h\1",
    b"r\xff\xff\xff\x7f",
    b"r\xff\xff\xff\x01",
    b"j\xff\xff\xff\xff",
    b"\x94",
    b"\x98",
    b"P1\n",
]
_OPCODES += [
    b"X\1\0\0\0a",
    b"X\xff\xff\xff\xff",
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x8e\0\0\0\0\x10\0\0\0",
    b"\x95" + b"\xff" * 8,
]
_OPCODES += [
    b"C\2ab",
    b"\x8a\xff" + b"\x7f" * 255,
    b"\x8b\xff\xff\xff\x7f",
    b"I" + b"9" * 5000 + b"\n",
    b"I1\n",
    b"F1e999\n",
    b"G" + b"\x7f" * 8,
]
_OPCODES += [b"\x82\1", b"o", b"ios\nsystem\n", b"Q", b"\x97", b".", b"(" * 2000, b"]" * 5000, b"2" * 100]
_TOKENS = (
    b"../../../../etc/passwd",
    b"/dev/zero",
    b"__0_0.distcp",
    b"PK\1\2",
    b"PK\3\4",
    b"PK\5\6",
    b"\x80\2}",
    b"." * 8,
)


def mutate(data: bytes, random: Random) -> bytes:
    """Returns an input in which one file has changed."""
    kind = data[:1] if data[:1] in FILES else CHECKPOINT
    names = FILES[kind]
    files = dict(zip(names, bundle.split(data[1:], len(names)), strict=True))
    name = random.choice(names)
    files[name] = _mutate_file(name, files[name], random)
    if kind != WEIGHTS and (name.endswith(".distcp") or random.random() < 0.3):
        folder = name.rpartition("/")[0] + "/" if kind == RUN and "/" in name else ""
        _repair(files, folder if folder.startswith("checkpoints") else "checkpoints/00000004/" * (kind == RUN))
    return kind + bundle.join(*files.values())


def _mutate_file(name: str, data: bytes, random: Random) -> bytes:
    if name.endswith(".json"):
        return mutate_json_text(data, random)
    if name.endswith(".jsonl"):
        lines = data.splitlines() or [b"{}"]
        at = random.randrange(len(lines))
        lines[at] = mutate_json_text(lines[at], random)
        return b"\n".join(lines) + b"\n"
    if name.endswith(".metadata"):
        return _mutate_pickle(data, random)
    if name.endswith(".safetensors"):
        return _mutate_safetensors(data, random)
    if name.endswith((".toml", ".txt", ".tsv")):
        tokens = (
            b"[" * 3000,
            b"9" * 5000,
            b"\r\n",
            b"\xe2\x80\xa8",
            b"\xff",
            b"\0",
            b"[[heads]]\n",
            b"= inf\n",
            b"-1",
            b"\t",
        )
        return _mutate_number(data, random) if random.random() < 0.4 else mutate_bytes(data, random, tokens)
    return mutate_bytes(data, random, _TOKENS)


def _mutate_number(text: bytes, random: Random) -> bytes:
    """Changes the last word of a line."""
    lines = text.split(b"\n")
    at = random.randrange(len(lines))
    start, space, _ = lines[at].rpartition(b" " if b" " in lines[at] else b"\t")
    values = [
        b"%d" % number(random),
        b"-1",
        b"0",
        b"1e400",
        b"nan",
        b"[]",
        b'""',
        b"true",
        b"1" * 400,
        b'"x"',
        b"{a = 1}",
    ]
    lines[at] = start + space + random.choice(values)
    return b"\n".join(lines)


def _repair(files: dict[str, bytes], folder: str) -> None:
    """Writes the checksum of the tensors into the state, if it is a state."""
    try:
        state = json.loads(files[f"{folder}state.json"])
        state["crc32"] = {"__0_0.distcp": zlib.crc32(files[f"{folder}__0_0.distcp"])}
        files[f"{folder}state.json"] = json.dumps(state).encode()
    except (ValueError, TypeError, RecursionError):
        return


def _mutate_pickle(data: bytes, random: Random) -> bytes:
    if random.random() < 0.2:
        return mutate_bytes(data, random, _TOKENS)
    try:
        starts = [at for _, _, at in pickletools.genops(data) if at is not None]
    except ValueError:
        return mutate_bytes(data, random, _TOKENS)
    steps = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(random.choice([1, 1, 2, 3])):
        at, kind = random.randrange(len(steps)), random.randrange(6)
        name = f"c{random.choice(_NAMES)}\n".encode()
        if kind == 0 and len(steps) > 1:
            steps.pop(at)
        elif kind == 1:
            steps.insert(at, random.choice(_OPCODES))
        elif kind == 2:
            steps[at] = random.choice(_OPCODES)
        elif kind == 3:
            steps[at] = name
        elif kind == 4:
            steps.insert(random.randrange(len(steps)), steps[at])
        else:
            numbers = [n for n, step in enumerate(steps) if step[:1] in (b"K", b"M", b"J", b"\x8a")]
            at = random.choice(numbers or [at])
            value = number(random) * random.choice([1, 1, -1])
            steps[at] = b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)
    return b"".join(steps)


def _mutate_safetensors(data: bytes, random: Random) -> bytes:
    kind = random.randrange(8)
    length = struct.unpack("<Q", data[:8].ljust(8, b"\0"))[0]
    if kind == 0:
        return struct.pack("<Q", number(random) % 2**64) + data[8:]
    if kind == 1:
        return mutate_bytes(data, random, (b'"', b"{", b"}", b"[" * 200, b"\xff" * 8))
    head, body = data[8 : 8 + length], data[8 + length :]
    if kind == 2:
        body = mutate_bytes(body, random)
    elif kind == 3:  # an entry twice
        start = head.find(b'"', random.randrange(max(1, len(head))))
        end = head.find(b"}", start)
        head = head[:start] + head[start : end + 1] + b"," + head[start:] if 0 <= start < end else head
    elif kind == 4:
        head = mutate_json_text(head, random)
    else:
        try:
            entries = json.loads(head)
            name = random.choice(list(entries))
            key = random.choice(["dtype", "shape", "data_offsets"])
            types = ["F64", "BF16", "BOOL", "F8_E4M3", "U64", "F4", "C64", "X"]
            value = random.choice(types) if key == "dtype" else mutate_json(entries[name].get(key, []), random)
            entries[name] = {**entries[name], key: value}
            head = json.dumps(entries).encode()
        except (ValueError, AttributeError, TypeError, IndexError, RecursionError):
            head = mutate_bytes(head, random)
    return struct.pack("<Q", len(head)) + head + body

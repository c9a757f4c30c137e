"""Changes of any bytes and any JSON."""

import json
import struct
from random import Random
from typing import Any

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 511, 512, 1024, 4095, 2**15, 2**16, 2**20]
NUMBERS += [2**24, 2**29 - 1, 2**29, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
_FORMATS = ["<B", "<H", "<I", "<Q", ">H", ">I", ">Q"]
MOST_BYTES = 2**17


def number(random: Random) -> int:
    """Returns a number at which parsers may fail, or one near it."""
    value = random.choice(NUMBERS)
    return max(0, value + random.choice([-1, 0, 0, 0, 1]))


def mutate(data: bytes, random: Random, tokens: tuple[bytes, ...] = (b"\0" * 8, b"\xff" * 8)) -> bytes:
    """Returns changed bytes. tokens: bytes that mean something to the parser."""
    at = random.randrange(len(data) + 1)
    length = min(len(data) - at, random.choice([1, 1, 2, 4, 8, 16, 64, 512, len(data)]))
    kind = random.randrange(8)
    if kind == 0:
        return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
    if kind == 1:
        format = random.choice(_FORMATS)
        size = struct.calcsize(format)
        value = struct.pack(format, number(random) % 256**size)
        at -= at % random.choice([1, size])
        return data[:at] + value + data[at + size :]
    if kind == 2:
        return data[:at] + data[at + length :]
    if kind == 3:
        return (data[: at + length] * (1 + (length < 4096)))[:MOST_BYTES] + data[at + length :]
    if kind == 4:
        token = random.choice(tokens)
        return data[:at] + token + data[at + random.choice([0, len(token)]) :]
    if kind == 5:
        other = random.randrange(len(data) + 1)
        return data[:at] + data[other : other + length] + data[at + random.choice([0, length]) :]
    if kind == 6:
        return data[:at]
    bit = 1 << random.randrange(8)
    return data[:at] + bytes([byte ^ bit for byte in data[at : at + 1]]) + data[at + 1 :]


def mutate_json(value: Any, random: Random) -> Any:
    """Returns JSON in which one value or key has changed."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        kind = random.randrange(12)
        if kind == 0:
            return {name: each for name, each in value.items() if name != key}
        if kind == 1:
            return {
                (random.choice(["", "../" + name, "a\nb"]) if name == key else name): v for name, v in value.items()
            }
        return {**value, key: mutate_json(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        kind = random.randrange(8)
        if kind == 0:
            return value[:at] + value[at + 1 :]
        if kind == 1:
            return value + [value[at]] * random.choice([1, 30])
        return [*value[:at], mutate_json(value[at], random), *value[at + 1 :]]
    choices = [None, True, False, [], {}, "", "../../x", "\x00", "a\nb", "\ud800", 0.5, -1, 1e308, float("nan")]
    choices += [float("inf"), -float("inf"), 10**30, {"a": 1}, [1], ["a"], number(random), -number(random)]
    if isinstance(value, int | float) and random.random() < 0.3:
        return value + random.choice([-1, 1, 0.5])
    return random.choice(choices)


def mutate_json_text(text: bytes, random: Random) -> bytes:
    """Returns changed JSON, mostly valid."""
    if random.random() < 0.8:
        try:
            return json.dumps(mutate_json(json.loads(text), random)).encode()
        except (ValueError, RecursionError):
            pass
    tokens = (b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, b"NaN", b"1e999", b'"\\ud800"', b"\xff", b"\0", b",", b'"')
    return mutate(text, random, tokens)

"""Valid messages made invalid in ways that a decoder might not expect: by structure and by byte."""

from __future__ import annotations

import math

import msgspec

ODD_VALUES = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    0.0,
    -0.0,
    1e308,
    math.inf,
    math.nan,
    "",
    "\0",
    "x" * 300,
    "\N{ZERO WIDTH JOINER}\U0001f4a5",
    [],
    {},
    [[[[]]]],
    {"": {"": {}}},
)

ODD_VARINTS = (0, 1, 127, 128, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def mutated_bytes(data, chance, others=(b"\0",)):
    """`data` with one to four accidents."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
        accident = chance.randrange(7)
        if accident == 0:
            del data[at:end]
        elif accident == 1:
            data[at:at] = data[at:end]
        elif accident == 2:
            data[at:end] = chance.randbytes(end - at)
        elif accident == 3:
            del data[at:]
        elif accident == 4:
            data[at:at] = chance.choice(others)
        elif accident == 5 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        else:
            data[at:at] = chance.choice((b"\xff", b"\0", b"\x80", b"\x7f")) * chance.randint(1, 9)
    return bytes(data)


def mutated_tree(value, chance):
    """A tree of lists, dicts and scalars with one node changed."""
    if isinstance(value, (list, tuple)) and value and chance.random() < 0.85:
        items = list(value)
        at = chance.randrange(len(items))
        items[at] = mutated_tree(items[at], chance)
        return items
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        return {**value, key: mutated_tree(value[key], chance)}
    return _changed(value, chance)


def _changed(value, chance):
    kind = chance.randrange(5)
    if kind == 0 and isinstance(value, (list, tuple)):
        items = list(value)
        del items[chance.randrange(len(items) + 1) :]
        return items
    if kind == 1 and isinstance(value, dict):
        return {**value, chance.choice(("", "id", "type", "x" * 99)): chance.choice(ODD_VALUES)}
    if kind == 2:
        return [value] * chance.choice((0, 2, 50))
    if kind == 3:
        return deep(value, chance.choice((3, 30, 300)))
    return chance.choice(ODD_VALUES)


def deep(value, depth):
    """`value` inside so many lists."""
    for _ in range(depth):
        value = [value]
    return value


def mutated_msgpack(data, chance):
    """A msgpack body with a changed tree, or with changed bytes."""
    if chance.random() < 0.3:
        return mutated_bytes(data, chance)
    return msgspec.msgpack.encode(mutated_tree(msgspec.msgpack.decode(data), chance))


def mutated_json(data, chance):
    """A JSON text with a changed tree, or with changed bytes."""
    if chance.random() < 0.3:
        return mutated_bytes(data, chance)
    return msgspec.json.encode(mutated_tree(msgspec.json.decode(data), chance))


def mutated_protobuf(data, chance):
    """A protobuf message with a changed field at any depth, or with changed bytes."""
    if chance.random() < 0.3:
        return mutated_bytes(data, chance)
    fields = _fields(data)
    if not fields:
        return mutated_bytes(data, chance)
    at = chance.randrange(len(fields))
    number, wire, value = fields[at]
    if wire == 2 and value and chance.random() < 0.75:
        fields[at] = (number, wire, mutated_protobuf(value, chance))
    else:
        fields[at : at + 1] = _changed_field(number, wire, value, chance)
    return b"".join(_field(*field) for field in fields)


def _changed_field(number, wire, value, chance):
    kind = chance.randrange(6)
    if kind == 0:
        return []
    if kind == 1:
        return [(number, wire, value)] * chance.choice((2, 20))
    if kind == 2:
        return [(chance.choice((1, 2, 3, 6, 7, 11, 18, 19, 1000, 2**29 - 1)), wire, value)]
    if kind == 3:
        return [(number, 0, chance.choice(ODD_VARINTS))]
    if kind == 4:
        nested = value if isinstance(value, bytes) else b""
        for _ in range(chance.choice((3, 30, 150))):
            nested = _field(number, 2, nested)
        return [(number, 2, nested)]
    return [(number, 2, chance.choice((b"", b"\xff\xfe", chance.randbytes(20))))]


def _fields(data):
    """(number, wire type, value) of all fields; [] if this is no message."""
    fields, at = [], 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
        elif wire in {1, 5}:
            width = 8 if wire == 1 else 4
            value, at = data[at : at + width], at + width
        elif wire == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            return []
        if at > len(data) or number == 0:
            return []
        fields.append((number, wire, value))
    return fields


def _varint(data, at):
    result = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        result |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return result, at
    return 0, len(data) + 1


def _field(number, wire, value):
    key = to_varint(number << 3 | wire)
    if wire == 0:
        return key + to_varint(value)
    return key + (to_varint(len(value)) if wire == 2 else b"") + value


def nested(number, data):
    """A protobuf message that holds `data` as its field of this number."""
    return _field(number, 2, data)


def to_varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])

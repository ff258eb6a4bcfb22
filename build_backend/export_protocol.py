"""Write weavelet/weaver/ui/src/protocol.ts, the page's types of the WebSocket API.

python build_backend/export_protocol.py          write it
python build_backend/export_protocol.py --check  exit 1 if it differs from what is committed

A field that may be missing is optional there: in what a client sends, one with a default; in what
it is sent, one that is left out when it has its default.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from msgspec import inspect

from weavelet.weaver import protocol

TARGET = Path(__file__).resolve().parent.parent / "weavelet/weaver/ui/src/protocol.ts"
HEAD = """\
// Written by build_backend/export_protocol.py out of weavelet/weaver/protocol.py.

export const VERSION = {version}
/** The largest message that the weaver accepts, in bytes. */
export const MAX_MESSAGE_BYTES = {largest}

export type Json = null | boolean | number | string | Json[] | {{ [name: string]: Json }}
"""


def text() -> str:
    """The file's contents."""
    requests, answers = get_args(protocol.ClientMessage), get_args(protocol.ServerMessage)
    parts: dict[str, str] = {}
    for struct in (*requests, *answers):
        _add(inspect.type_info(struct), parts)
    head = HEAD.format(version=protocol.VERSION, largest=protocol.MAX_MESSAGE_BYTES)
    unions = [
        _union("ClientMessage", [struct.__name__ for struct in requests]),
        _union("ServerMessage", [struct.__name__ for struct in answers]),
    ]
    return "\n".join([head, *(parts[name] for name in sorted(parts)), *unions])


def _union(name: str, members: list[str]) -> str:
    return "".join([f"export type {name} =\n", *(f"  | {one}\n" for one in members)])


def _add(kind: Any, parts: dict[str, str]) -> None:
    if isinstance(kind, inspect.StructType) and kind.cls.__name__ not in parts:
        parts[kind.cls.__name__] = ""  # a struct that holds itself
        parts[kind.cls.__name__] = _interface(kind, parts)
    for inner in _inner(kind):
        _add(inner, parts)


def _inner(kind: Any) -> list[Any]:
    match kind:
        case inspect.UnionType(types=types):
            return list(types)
        case inspect.ListType(item_type=item):
            return [item]
        case inspect.TupleType(item_types=items):
            return list(items)
        case inspect.DictType(value_type=value):
            return [value]
    return []


def _interface(kind: inspect.StructType, parts: dict[str, str]) -> str:
    struct = kind.cls
    sent = issubclass(struct, protocol.Request) or struct.__struct_config__.omit_defaults
    doc = (struct.__doc__ or "").strip().splitlines()
    lines = ["/**", *(f" * {line.strip()}".rstrip() for line in doc), " */"]
    lines.append(f"export interface {struct.__name__} {{")
    if kind.tag is not None:
        lines.append(f"  type: '{kind.tag}'")
    for field in kind.fields:
        _add(field.type, parts)
        may = "?" if sent and not field.required else ""
        lines.append(f"  {field.encode_name}{may}: {_name(field.type)}")
    return "\n".join([*lines, "}", ""])


def _name(kind: Any) -> str:
    match kind:
        case inspect.StructType(cls=struct):
            return struct.__name__
        case inspect.UnionType(types=types):
            return " | ".join(_name(one) for one in types)
        case inspect.ListType(item_type=item):
            inner = _name(item)
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(map(_name, items))}]"
        case inspect.DictType(value_type=value):
            return f"Record<string, {_name(value)}>"
        case inspect.LiteralType(values=values):
            return " | ".join(repr(value) for value in values)
    return _PLAIN[type(kind)]


_PLAIN = {
    inspect.AnyType: "Json",
    inspect.NoneType: "null",
    inspect.BoolType: "boolean",
    inspect.IntType: "number",
    inspect.FloatType: "number",
    inspect.StrType: "string",
}


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    if not parser.parse_args().check:
        TARGET.write_text(text(), "utf-8")
    elif not TARGET.exists() or TARGET.read_text("utf-8") != text():
        sys.exit(
            f"{TARGET} does not match protocol.py: "
            "run `python build_backend/export_protocol.py` and commit the result."
        )


if __name__ == "__main__":
    main()

"""Write docs/api.schema.json, the JSON Schema of the weaver's WebSocket API, from protocol.py.

    python build_backend/export_schema.py          write it
    python build_backend/export_schema.py --check  exit 1 if it differs from what is committed

`#/$defs/ClientMessage` is what a client may send, `#/$defs/ServerMessage` what it is sent; their
`discriminator` names the message of each `type`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from weavelet.weaver import protocol

TARGET = Path(__file__).resolve().parent.parent / "docs" / "api.schema.json"


def schema() -> dict[str, Any]:
    """The schema of all messages in both directions."""
    sides = (protocol.ClientMessage, protocol.ServerMessage)
    (client, server), parts = msgspec.json.schema_components(sides, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The WebSocket API of weavelet's weaver: one message",
        "description": " ".join((protocol.__doc__ or "").partition("\n\n")[2].split()),
        "version": protocol.VERSION,
        "maxClientMessageBytes": protocol.MAX_MESSAGE_BYTES,
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
        "$defs": {"ClientMessage": client, "ServerMessage": server, **dict(sorted(parts.items()))},
    }


def text() -> str:
    """The file's contents."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    if not parser.parse_args().check:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text(), "utf-8")
    elif not TARGET.exists() or TARGET.read_text("utf-8") != text():
        sys.exit(
            f"{TARGET} does not match protocol.py: "
            "run `python build_backend/export_schema.py` and commit the result."
        )


if __name__ == "__main__":
    main()

"""A client that connects, subscribes, and then never reads."""

from __future__ import annotations

import base64
import json
import os
import socket
from contextlib import contextmanager
from urllib.parse import urlsplit


def _frame(text):
    """A client's text frame, short or of up to 64 KiB, with a mask of zeros."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


class Deaf:
    """The raw socket, and a way to go on asking without reading any answer."""

    def __init__(self, connection):
        self.socket = connection

    def ask(self, kind, **fields):
        self.socket.sendall(_frame(json.dumps({"type": kind, "id": "deaf", **fields})))

    def read_until(self, text):
        """After all, read until some bytes come; all that came."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        got = bytearray()
        seen = 0
        while (place := got.find(text, max(0, seen - len(text)))) < 0:
            seen = len(got)
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError
            got += data
        return bytes(got[:place])

    def read_to_end(self):
        """Read what is left; a connection that was cut ends by a reset."""
        self.read_until(b"\0never\0")


@contextmanager
def never_reading(endpoint, **subscription):
    """A real socket with small buffers, subscribed to everything, whose other end is full soon."""
    address = urlsplit(endpoint.http_url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect((address.hostname, address.port))
        lines = (
            "GET /ws HTTP/1.1",
            f"Host: {address.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            f"Authorization: Bearer {endpoint.token}",
            "",
            "",
        )
        connection.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b" 101 " in head, head
        deaf = Deaf(connection)
        deaf.ask("subscribe", **{"metrics": True, **subscription})
        yield deaf

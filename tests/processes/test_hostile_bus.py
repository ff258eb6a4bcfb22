"""What anybody with the bus's password may put on it stops nobody from reading on."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import closing

import pytest

from harness.nats import asynchronous, connected_bus, until
from weavelet.wire import subjects

LOG = subjects.control("run", "job")


def put_raw(server, subject, headers, data=b"x"):
    """Publish with exactly these header bytes, as no client library would."""
    user, password, port = re.fullmatch(r"nats://(.*):(.*)@.*:(\d+)", server.url).groups()
    with closing(socket.create_connection(("127.0.0.1", int(port)), timeout=5)) as raw:
        options = f'{{"verbose":false,"headers":true,"user":"{user}","pass":"{password}"}}'
        sizes = f"{len(headers)} {len(headers) + len(data)}"
        raw.sendall(f"CONNECT {options}\r\nHPUB {subject} {sizes}\r\n".encode())
        raw.sendall(headers + data + b"\r\nPING\r\n")
        said = b""
        while b"PONG" not in said:
            assert b"-ERR" not in said
            said += raw.recv(4096)


async def collect(bus, into):
    async for stored in bus.follow(subjects.CONTROL, LOG, 0, epoch=await bus.epoch()):
        into.append(stored)


@pytest.mark.parametrize(
    "headers",
    [
        b"NATS/1.0\r\nStatus: 204\r\n\r\n",
        b"NATS/1.0\r\nStatus: 503\r\n\r\n",
        b"NATS/1.0\r\nStatus: none\r\n\r\n",
        b"NATS/1.0\r\nNats-Sequence: 99999\r\n\r\n",
        b"NATS/1.0\r\nNats-Subject: other\r\nNats-Time-Stamp: never\r\n\r\n",
        b"503\r\n\r\n",
        b"503\r\nNats-Stream\r\n",
        b"\r\n503\r\n:Nats-Stream503\r\n\r\n",
    ],
)
@asynchronous
async def test_headers_of_a_stored_message_stop_no_follower(nats, headers):
    """A message whose headers pass for the server's, or are none, is read like any other."""
    async with connected_bus(nats) as bus:
        seen = []
        await bus.append(LOG, b"before", message_id="1")
        put_raw(nats, LOG, headers)
        await bus.append(LOG, b"after", message_id="2")
        task = asyncio.create_task(collect(bus, seen))
        await until(lambda: len(seen) == 3 or task.done())
        task.cancel()
    assert [(stored.sequence, stored.subject) for stored in seen] == [(1, LOG), (2, LOG), (3, LOG)]
    assert [stored.data for stored in seen] == [b"before", b"x", b"after"]

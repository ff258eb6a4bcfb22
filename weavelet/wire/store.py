"""Single requests to JetStream on one connection.

All raise LostError, UnansweredError, NoStreamError or ApiError as the connection and the server
have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weavelet.wire import jetstream
from weavelet.wire.connection import Connection
from weavelet.wire.jetstream import ApiError, Stored
from weavelet.wire.request import status_of

BATCH = 256

_API = "$JS.API"
_BATCH_BYTES = 256 * 1024
_BATCH_SECONDS = 2.0
# A cluster needs its time to place a stream.
_CREATE_SECONDS = 5.0


async def info(connection: Connection, stream: str) -> dict[str, Any] | None:
    """What the server says of a stream, None if it does not exist."""
    try:
        return jetstream.parse(await _ask(connection, f"STREAM.INFO.{stream}", {}))
    except ApiError as error:
        if error.code == jetstream.NO_STREAM:
            return None
        raise


async def create(connection: Connection, config: Mapping[str, Any]) -> bool:
    """Create a stream; False if it exists with another configuration."""
    try:
        await _configure(connection, "CREATE", config)
    except ApiError as error:
        if error.code == jetstream.STREAM_EXISTS:
            return False
        raise
    return True


async def update(connection: Connection, config: Mapping[str, Any]) -> None:
    """Give a stream another configuration."""
    await _configure(connection, "UPDATE", config)


async def purge(connection: Connection, stream: str, subject: str) -> None:
    """Remove all messages of a subject, which may have wildcards."""
    jetstream.parse(await _ask(connection, f"STREAM.PURGE.{stream}", {"filter": subject}))


async def put(
    connection: Connection,
    subject: str,
    data: bytes,
    headers: Mapping[str, str],
    *,
    timeout: float = 1.0,
) -> int:
    """Store a message, and return its sequence."""
    answers = await connection.request(subject, data, headers=headers, timeout=timeout)
    return jetstream.sequence_of(jetstream.parse(answers[0].data))


async def last(connection: Connection, stream: str, subject: str) -> Stored | None:
    """The last message of a subject, from the stream's leader."""
    return await _get(connection, stream, {"last_by_subj": subject})


async def first_after(
    connection: Connection, stream: str, subject: str, after: int
) -> Stored | None:
    """The first message of a subject after a sequence, from the stream's leader."""
    return await _get(connection, stream, {"seq": after + 1, "next_by_subj": subject})


async def read(
    connection: Connection, stream: str, subject: str, after: int, *, limit: int = BATCH
) -> list[Stored]:
    """Up to `limit` messages after a sequence, in order, from whoever has the stream.

    Empty at the tail; a replica that lags has its tail earlier.
    """
    query = {
        "seq": after + 1,
        "next_by_subj": subject,
        "batch": limit,
        "max_bytes": _BATCH_BYTES,
    }
    answers = await connection.request(
        f"{_API}.DIRECT.GET.{stream}",
        json.dumps(query).encode(),
        timeout=_BATCH_SECONDS,
        many=True,
    )
    found: list[Stored] = []
    for answer in answers:
        if status := status_of(answer):
            # 204 ends a batch, 404 says that there is nothing.
            if status not in {"204", "404"}:
                text = (answer.headers or {}).get("Description", "direct get")
                raise ApiError(int(status) if status.isdigit() else 0, text)
            break
        found.append(jetstream.stored_from_headers(answer.headers or {}, answer.data))
    return found


async def _get(connection: Connection, stream: str, query: Mapping[str, Any]) -> Stored | None:
    try:
        answer = jetstream.parse(await _ask(connection, f"STREAM.MSG.GET.{stream}", query))
    except ApiError as error:
        if error.code == jetstream.NO_MESSAGE:
            return None
        raise
    return jetstream.stored_from_answer(answer)


async def _configure(connection: Connection, verb: str, config: Mapping[str, Any]) -> None:
    subject = f"STREAM.{verb}.{config['name']}"
    jetstream.parse(await _ask(connection, subject, config, timeout=_CREATE_SECONDS))


async def _ask(
    connection: Connection, verb: str, body: Mapping[str, Any], *, timeout: float = 1.0
) -> bytes:
    data = json.dumps(body).encode()
    return (await connection.request(f"{_API}.{verb}", data, timeout=timeout))[0].data

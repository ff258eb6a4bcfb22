"""One WebSocket to the weaver: typed requests out, typed answers back."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import logging
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

import aiohttp
import msgspec
from msgspec.structs import replace

from weavelet.client.address import Address
from weavelet.client.nonfinite import restore_message
from weavelet.exceptions import CommandError
from weavelet.weaver import protocol

log = logging.getLogger("weavelet.client")

_CONNECT_SECONDS = 10.0
_HEARTBEAT_SECONDS = 20.0
_CLOSE_SECONDS = 2.0
_QUEUED_ANSWERS = 256
_decoder = msgspec.json.Decoder(protocol.ServerMessage)

Answer = protocol.ServerMessage
T = TypeVar("T", bound=protocol.ServerMessage)


class _Numbered(msgspec.Struct):
    id: str = ""


class Connection:
    """An open WebSocket. Make it with `open`; all its calls belong to one event loop."""

    def __init__(
        self,
        address: Address,
        session: aiohttp.ClientSession,
        websocket: aiohttp.ClientWebSocketResponse,
    ) -> None:
        self.address = address
        self.malformed = 0
        self._session = session
        self._socket = websocket
        self._ids = itertools.count(1)
        self._answers: dict[str, asyncio.Queue[Answer | None]] = {}
        self._subscription: str | None = None
        self._closing: asyncio.Task[None] | None = None
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, address: Address) -> Connection:
        """Connect.

        Raises:
            CommandError: `unavailable` if nothing answers, `forbidden` if the token is refused.
        """
        # aiohttp's own time-outs: asyncio.wait_for may drop a connection that is made as it ends.
        patience = aiohttp.ClientTimeout(connect=_CONNECT_SECONDS, sock_read=_CONNECT_SECONDS)
        session = aiohttp.ClientSession(timeout=patience)
        try:
            websocket = await session.ws_connect(
                f"{address.url}/ws",
                headers=_headers(address.token),
                heartbeat=_HEARTBEAT_SECONDS,
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
            )
        except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError) as error:
            await session.close()
            raise _refusal(address, error) from error
        except BaseException:
            await session.close()
            raise
        return cls(address, session, websocket)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone and a new one is needed."""
        return self._reader.done()

    async def close(self) -> None:
        """Close the socket; whoever waits for an answer gets `unavailable`."""
        # A task of its own: aiohttp leaves a socket open whose closing is cancelled.
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def ask(self, request: protocol.Request) -> AsyncGenerator[Answer, None]:
        """Send the request under an id of its own and yield every answer to it.

        After `Subscribe`, also everything that the weaver sends unasked. The caller knows which
        answer is the last and closes the generator then.

        Raises:
            CommandError: the weaver's `error`; `unavailable` if the connection is lost;
                `invalid_value` if the request is larger than the weaver accepts.
        """
        number = str(next(self._ids))
        data = encode(replace(request, id=number))
        queue: asyncio.Queue[Answer | None] = asyncio.Queue(_QUEUED_ANSWERS)
        self._answers[number] = queue
        if isinstance(request, protocol.Subscribe):
            self._subscription = number
        try:
            await self._send(data)
            while (answer := await queue.get()) is not None:
                if isinstance(answer, protocol.Error):
                    raise CommandError(answer.code, answer.text, known=answer.known)
                yield answer
            raise self._lost()
        finally:
            del self._answers[number]
            while not queue.empty():  # the reader may wait for room in it
                queue.get_nowait()
            if self._subscription == number:
                self._subscription = None

    async def ask_once(self, request: protocol.Request, answer: type[T]) -> T:
        """Send the request and return its first answer of that type.

        Raises:
            CommandError: as `ask`.
        """
        async with aclosing(self.ask(request)) as answers:
            async for message in answers:
                if isinstance(message, answer):
                    return message
        raise self._lost()

    async def _close(self) -> None:
        try:
            await self._socket.close()
        finally:
            await self._session.close()
        await self._reader

    async def _send(self, data: bytes) -> None:
        if self.closed:
            raise self._lost()
        try:
            await self._socket.send_str(data.decode())
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost() from error

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    await self._dispatch(frame.data)
        finally:
            for queue in self._answers.values():
                _end(queue)

    async def _dispatch(self, data: str | bytes) -> None:
        message: Answer | None
        try:
            message = restore_message(_decoder.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not self.malformed:
                log.warning(
                    "ignored a message of the weaver at %s: %s; more of these are only counted",
                    self.address.url,
                    error,
                )
            self.malformed += 1
            message = _complaint(data)
            if message is None:
                return
        number = getattr(message, "id", "") or self._subscription or ""
        queue = self._answers.get(number)
        if queue is None and isinstance(message, protocol.Error):
            log.warning("the weaver at %s says: %s", self.address.url, message.text)
        if queue is not None:
            await queue.put(message)

    def _lost(self) -> CommandError:
        msg = (
            f"The connection to the weaver at {self.address.url} was lost. "
            "Training is not affected. See whether it runs with `weavelet doctor`."
        )
        return CommandError("unavailable", msg, exit_code=3)


def encode(request: protocol.Request) -> bytes:
    """The request as JSON, non-finite floats as words.

    Raises:
        CommandError: `invalid_value` if it is larger than the weaver accepts, or holds something
            that JSON cannot carry.
    """
    try:
        plain = msgspec.to_builtins(request, str_keys=True, enc_hook=_number)
        data = msgspec.json.encode(protocol.to_json(plain))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CommandError("invalid_value", f"A value cannot be sent: {error}.") from error
    if len(data) > protocol.MAX_MESSAGE_BYTES:
        msg = (
            f"The command is {len(data)} bytes long, but at most {protocol.MAX_MESSAGE_BYTES} are "
            "accepted. Put large data into a file and set its path."
        )
        raise CommandError("invalid_value", msg)
    return data


def _headers(token: str) -> dict[str, str]:
    author = f"{_user()}@{socket.gethostname()}"
    headers = {"X-Weavelet-Author": author} if author.isascii() else {}
    return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return str(os.getuid())


def _number(value: Any) -> Any:
    # The scalars of NumPy and torch, as outside tuners hand them over.
    if hasattr(value, "item"):
        return value.item()
    msg = f"{type(value).__name__} is not a JSON value"
    raise TypeError(msg)


def _complaint(data: str | bytes) -> protocol.Error | None:
    """What to tell whoever waits for an answer that cannot be read, None if nobody does."""
    try:
        number = msgspec.json.decode(data, type=_Numbered).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    text = "the weaver's answer cannot be read; is it of the same version as this client?"
    return protocol.Error(id=number, code="unavailable", text=text) if number else None


def _end(queue: asyncio.Queue[Answer | None]) -> None:
    # A full queue loses its newest answer: the reader of a lost connection is told soon enough.
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(None)


def _refusal(address: Address, error: Exception) -> CommandError:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        if error.status in (401, 403):
            msg = (
                f"The weaver at {address.url} refuses the token from {address.source}. "
                "Set WEAVELET_TOKEN to the token in the link that `weavelet up` printed."
            )
            return CommandError("forbidden", msg)
        if error.status == 421:
            msg = (
                f"The weaver refuses the host name in {address.url}. Reach it as localhost, for "
                "example through an ssh tunnel, or start it with --allow-host."
            )
            return CommandError("forbidden", msg)
        msg = f"{address.url} does not answer as a weaver: HTTP {error.status} {error.message}."
        return CommandError("unavailable", msg, exit_code=3)
    why = "no answer in time" if isinstance(error, asyncio.TimeoutError) else str(error)
    msg = (
        f"No weaver answers at {address.url} (from {address.source}): {why}. "
        "Start one with `weavelet up`; training goes on without it."
    )
    return CommandError("unavailable", msg, exit_code=3)

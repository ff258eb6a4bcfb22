"""A WebSocket server that says what a test wants said, where a real weaver would not.

For garbage, silence, lost connections and answers at the edge of the protocol only; whatever a real
weaver does is tested against a real one.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import msgspec
from aiohttp import WSMsgType, web

from weavelet.weaver import protocol

TOKEN = "secret-token"


class ScriptedWeaver:
    """Answers each message with what `script(request)` yields; bytes go out as they are.

    `None` in a script closes the connection.
    """

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.connections = 0
        self.url = ""

    async def handle(self, request):
        """One WebSocket."""
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                message = msgspec.json.decode(frame.data, type=protocol.ClientMessage)
                self.requests.append((frame.data, message))
                await self._answer(socket, message)
        return socket

    async def _answer(self, socket, message):
        for answer in self.script(message):
            if answer is None:
                await socket.close()
                return
            data = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
            await socket.send_str(data.decode())


@contextmanager
def scripted(script):
    """Run one in a thread of its own; its `url` is set."""
    weaver = ScriptedWeaver(script)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(weaver), loop).result(10)
    try:
        yield weaver
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(weaver):
    app = web.Application()
    app.router.add_get("/ws", weaver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    weaver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner

"""A TCP proxy on this host that delays, stalls and resets what goes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress

_PIECE = 1 << 16
_LINGER_NOT = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards to `target()`, a (host, port) asked at every connection. Thread-safe."""

    def __init__(self, target, host="127.0.0.1"):
        self._target = target
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._delay = 0.0
        self._rate = None
        self._flowing = asyncio.Event()
        self._writers = set()
        self._tasks = set()
        self._server = self._call(self._listen(0))
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self):
        """From here on nothing goes through, in either direction, and nobody is told."""
        self._do(self._flowing.clear)

    def delay(self, seconds):
        """Every piece of data waits this long, those behind it for their turn."""
        self._delay = seconds

    def rate(self, rate):
        """No more than so many bytes a second go through each connection, each way."""
        self._rate = rate

    def reset(self):
        """Reset all connections."""
        self._do(self._reset)

    def refuse(self):
        """Reset all connections and take no more."""

        async def refuse():
            self._server.close()
            self._reset()

        self._call(refuse())

    def heal(self):
        """Everything goes through again, at once, also what was held back."""
        self._delay, self._rate = 0.0, None
        self._do(self._flowing.set)
        if not self._server.is_serving():
            self._server = self._call(self._listen(self.port))

    def close(self):
        async def close():
            self._server.close()
            self._reset()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            # Transports that were aborted end in the next round of the loop.
            await asyncio.sleep(0)

        self._call(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _do(self, function):
        async def do():
            function()

        self._call(do())

    async def _listen(self, port):
        self._flowing.set()
        return await asyncio.start_server(self._accept, self._host, port, limit=_PIECE)

    def _reset(self):
        for writer in self._writers:
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT
                )
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.add(writer)
        back = None
        try:
            await self._flowing.wait()
            there, back = await asyncio.open_connection(*self._target(), limit=_PIECE)
            for end in (writer, back):
                # What lies in buffers is not slowed.
                end.transport.set_write_buffer_limits(0)
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, _PIECE)
            self._writers.add(back)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            pass  # the side that is left is hung up on
        finally:
            self._tasks.discard(asyncio.current_task())
            for end in (writer, back):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader, writer):
        with suppress(OSError):
            while data := await reader.read(1 << 10 if self._rate else _PIECE):
                if self._delay or self._rate:
                    await asyncio.sleep(self._delay + (len(data) / self._rate if self._rate else 0))
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

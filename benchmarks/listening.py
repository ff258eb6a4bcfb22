"""Clients that look on, and say how late they see what is reported.

    python listening.py HTTP_URL TOKEN COUNT

Subscribes COUNT times, with samples. For every line on its standard input it prints, as JSON, the
delays in ms from a sample's `at` to its being read, all that came since the line before.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp
import msgspec


class Head(msgspec.Struct):
    """As much of a message as is needed."""

    type: str
    at: list[float] = []


decode = msgspec.json.Decoder(Head).decode


async def listen(session: aiohttp.ClientSession, url: str, token: str, delays: list[float]) -> None:
    """One client."""
    headers = {"Authorization": f"Bearer {token}"}
    async with session.ws_connect(f"{url}/ws", headers=headers, max_msg_size=0) as socket:
        await socket.send_str('{"type": "subscribe", "id": "1", "metrics": true}')
        async for message in socket:
            head = decode(message.data)
            if head.type == "metrics":
                now = time.time()
                delays.extend((now - at) * 1e3 for at in head.at)


async def main() -> None:
    url, token, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    delays: list[float] = []
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        listening = [
            asyncio.ensure_future(listen(session, url, token, delays)) for _ in range(count)
        ]
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(delays), flush=True)
            delays.clear()
        for one in listening:
            one.cancel()


if __name__ == "__main__":
    asyncio.run(main())

"""When a follower looks at its stream."""

from __future__ import annotations

import asyncio
from collections import deque

from weavelet.wire.jetstream import MESSAGE_ID
from weavelet.wire.request import Msg

RESYNC_SECONDS = 5.0
"""How often to look without a hint: hints are core messages, which may be lost."""

_FIRST_SECONDS = 0.001
_LAST_SECONDS = 1.0
_MAX_OWED = 1024


class Hints:
    """Messages announced by a core subscription that the stream has yet to show.

    An announcement overtakes the store, by a disk's sync or by a replica's lag, so what is owed is
    looked for again and again, at ever longer intervals. It may never come: a write that lost its
    race is announced too.
    """

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._owed: set[str] = set()
        self._shown: deque[str] = deque(maxlen=256)
        self._delay = _FIRST_SECONDS

    def note(self, message: Msg) -> None:
        """A message was announced."""
        announced = (message.headers or {}).get(MESSAGE_ID, "")
        if announced and announced in self._shown:
            return
        if len(self._owed) < _MAX_OWED:
            self._owed.add(announced)
        self.wake()

    def wake(self) -> None:
        """Look now, and soon again if there is nothing."""
        self._delay = _FIRST_SECONDS
        self._wake.set()

    def shown(self, message_id: str) -> None:
        """The stream has shown a message."""
        self._owed.discard(message_id)
        self._shown.append(message_id)

    async def wait(self) -> None:
        """Return when it is time to look again, after a look that showed nothing."""
        if self._delay > _LAST_SECONDS:
            self._owed.clear()
        seconds = self._delay if self._owed else RESYNC_SECONDS
        self._delay *= 2
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
            self._wake.clear()

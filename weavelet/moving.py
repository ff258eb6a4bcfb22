"""What schedules, actions and the loop itself make of the controls' values, told now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from weavelet.channel.end import End
from weavelet.channel.frames import encode
from weavelet.controls import Registry
from weavelet.exceptions import MalformedError
from weavelet.messages import Change, Value, Values

SECONDS = 1.5
"""Between two looks at the values, at least: reading one may be dear."""

_MOST_BYTES = 16 * 1024
"""Of values, which go along with each heartbeat."""


class Moving:
    """Tells of controls that have, or had, another value than announcements and outcomes say."""

    def __init__(self, registry: Registry, channel: End) -> None:
        self._registry = registry
        self._channel = channel
        self._looked = time.monotonic()
        self.announced()

    def announced(self) -> None:
        """All values are told with the announcement of the controls."""
        self._known = self._registry.values()
        self._moved: dict[str, Value] = {}

    def changed(self, changes: Iterable[Change]) -> None:
        """These are told by their outcomes."""
        self._known.update({change.name: change.new for change in changes})

    def hurry(self) -> None:
        """Anything may have been set: look next time, however soon that is."""
        self._looked = -math.inf

    def tell(self) -> None:
        """Look at the values if the last look is old enough, and tell of those that moved."""
        now = time.monotonic()
        if now - self._looked < SECONDS:
            return
        self._looked = now
        known = self._known
        moved = {
            name: value
            for name, value in self._registry.values().items()
            # By their text: NaN is what it is.
            if name in self._moved or name not in known or repr(value) != repr(known[name])
        }
        if repr(moved) == repr(self._moved):
            return
        self._moved = moved
        try:
            frame = encode(Values(moved))
        except MalformedError:
            return
        if len(frame) <= _MOST_BYTES:
            self._channel.post(frame, "values")

"""The leader's side of the store: decisions written ahead, and keys that nobody needs removed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from weavelet.decisions import (
    GROUP,
    LEAD,
    Decision,
    Item,
    decode_decisions,
    decode_items,
    encode,
)
from weavelet.keystore import Add, Delete, Put, Read, Sleep, Steps
from weavelet.messages import Pause
from weavelet.planning import Planner
from weavelet.voting import Seat

NEVER = 1 << 62
"""A tick that does not come."""

_LAGGING_GROUPS = 4
_LOOK_SECONDS = 1.0
_NAP_SECONDS = 0.05


class Leader:
    """Writes the decisions of one life. `announced` is the tick of the next one to be written.

    `closing` is the reason why the next decision is to be the last, None while there is none.
    """

    def __init__(self, seat: Seat, planner: Planner) -> None:
        self.planner = planner
        self.announced = 0
        self.closing: str | None = None
        self._seat = seat
        self._written = 0
        self._held = False
        self._lease_end = math.inf
        self._group: list[Decision] = []
        self._ahead: dict[int, tuple[Decision, list[Item]]] = {}
        self._used: dict[int, list[str]] = {}
        self._oldest = 0

    @property
    def wake(self) -> int:
        """The tick at which the next decision is to be written."""
        return self.announced - LEAD

    def lead(self, tick: int, index: int, *, paused: bool) -> Steps[None]:
        """Write all decisions that are due at this tick, `index` being the next one to apply.

        While the job is paused that means to wait for something to decide.
        """
        while self._held or self.announced <= tick + LEAD:
            if self._held:
                if index < self._written:
                    return
                if paused:
                    paused = yield from self._wait_paused()
            yield from self._write(paused=paused)

    def take(self, index: int) -> tuple[Decision, list[Item]]:
        """The decision that was written for a boundary, as it was written."""
        return self._ahead.pop(index)

    def lease(self, seconds: float | None) -> None:
        """A pause began that ends by itself after so many seconds, if any."""
        self._lease_end = math.inf if seconds is None else self._seat.clock() + seconds

    def used(self, index: int, keys: Sequence[str]) -> None:
        """Keys to remove together with the decision that they belong to."""
        self._used.setdefault(index // GROUP, []).extend(keys)

    def close(self, reason: str) -> Steps[None]:
        """Write that there will be no further decision."""
        if self.announced < NEVER:
            self.closing = reason
            yield from self._write(paused=False)

    def _wait_paused(self) -> Steps[bool]:
        """Nap until there is something to decide; whether the pause goes on after that."""
        clock = self._seat.clock
        look_at = clock() + _LOOK_SECONDS
        while not self.planner.is_due(self.announced):
            now = clock()
            if now >= self._lease_end:
                return False
            if now >= look_at:
                look_at = now + _LOOK_SECONDS
                yield Add(self._seat.keys.alive)
                self.closing = yield from self._seat.who_left()
                if self.closing is not None:
                    return False
            yield Sleep(max(0.0, min(_NAP_SECONDS, self._lease_end - now)), paused=True)
        return True

    def _write(self, *, paused: bool) -> Steps[None]:
        index, tick = self._written, self.announced
        if index % GROUP == 0:
            yield from self._begin_group(index // GROUP)
        items = self.planner.take(tick, self._seat.clock())
        if items and self.closing is None:
            self.closing = yield from self._seat.who_left()
        if self.closing is not None:
            items = []
        following = self._next_tick(tick, paused=paused, items=items)
        decision = Decision(index, tick, following, len(items), self.closing)
        data = encode(items)
        if items:
            yield Put(self._seat.keys.items(index), data)
            self.used(index, [self._seat.keys.items(index)])
        # Before it is written, so that whoever is interrupted there writes it again, and no other.
        self._group.append(decision)
        group = encode(self._group)
        self._ahead[index] = (decode_decisions(group)[-1], decode_items(data))
        self._written += 1
        self.announced = NEVER if self.closing is not None else following
        self._held = following == tick
        yield Put(self._seat.keys.group(index), group)

    def _next_tick(self, tick: int, *, paused: bool, items: list[Item]) -> int:
        """The boundary after this one: the same tick for as long as the job is or may be paused."""
        if self.closing is not None:
            return NEVER
        if paused or any(isinstance(item.entry.body, Pause) for item in items):
            self.planner.forget_time()
            return tick
        self.planner.measure(self._seat.clock())
        return self.planner.next_after(tick)

    def _begin_group(self, group: int) -> Steps[None]:
        self._group = []
        while self._oldest < group:
            done = yield Read(self._seat.keys.done(self._oldest))
            if int(done or b"0") < self._seat.ranks:
                break
            yield from self._forget(self._oldest)
            self._oldest += 1
        if self._oldest < group and self.closing is None:
            self.closing = yield from self._seat.who_left()
        self.planner.lagging = group - self._oldest > _LAGGING_GROUPS
        if self.planner.lagging:
            self.planner.spacing *= 2

    def _forget(self, group: int) -> Steps[None]:
        keys = self._seat.keys
        for key in (keys.group(group * GROUP), keys.done(group), *self._used.pop(group, ())):
            yield Delete(key)

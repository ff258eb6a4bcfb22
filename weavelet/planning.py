"""Which entries come at which boundary, and how far apart boundaries are. Pure."""

from __future__ import annotations

import math
from collections import deque

from msgspec.structs import replace

from weavelet.adoption import Adoption
from weavelet.decisions import Adopted, Answer, Item, encode
from weavelet.messages import Act, Deliver, Entry, Position, Resume, Stop

_MOST_ITEMS = 64
_MOST_BYTES = 2 * 1024 * 1024
"""Of the items of one decision: stores refuse large values, and all ranks wait for these."""

_STRIDES = 4


class Planner:
    """The entries that wait, and the ticks between two boundaries.

    `seconds` is the time between two boundaries that it aims at, `order` the number of the last
    item decided in this job.
    """

    def __init__(self, seconds: float, order: int) -> None:
        self.order = order
        self.spacing = 1
        self.lagging = False
        self._adoption: Item | None = None
        self._adopted: dict[str, int] = {}
        self._seconds = seconds
        self._waiting: dict[str, Deliver] = {}
        self._passed: dict[str, int] = {}
        self._tick = 0
        self._step: int | None = None
        self._strides: deque[int] = deque(maxlen=_STRIDES)
        self._mark: tuple[int, float] | None = None

    def moved(self, tick: int, step: int) -> None:
        """Training has come to another step."""
        if self._step is not None:
            self._strides.append(max(1, step - self._step))
        self._tick, self._step = tick, step

    def submit(self, message: Deliver) -> None:
        """An entry waits to be decided."""
        entry = message.entry
        self._waiting[entry.id] = message
        if self._step is not None and entry.at_step is not None and entry.at_step < self._step:
            self._passed[entry.id] = self._step

    def adopt(self, adoption: Adoption, identifier: str) -> None:
        """What the log says was applied comes first, as one entry, or waits for its step.

        What is decided from now on is numbered above what the log has.
        """
        self.order = max(self.order, adoption.order)
        if adoption.adopts:
            entry = Entry(id=identifier, author="", body=adoption.values)
            self._adoption = Item(entry=entry, sequence=0, order=0, adopts=adoption.adopts)
        for each in adoption.waiting:
            self._adopted[each.entry.id] = each.order
            self._waiting[each.entry.id] = Deliver(each.entry, Position("", each.sequence))

    def is_due(self, boundary: int) -> bool:
        """Whether anything waits for this boundary."""
        return self._adoption is not None or any(
            self._tick_of(message) <= boundary for message in self._waiting.values()
        )

    def take(self, boundary: int, now: float) -> list[Item]:
        """The items for a boundary, in the order of the log; they wait no more."""
        items: list[Item] = []
        size = 0
        if self._adoption is not None:
            self.order += 1
            items.append(replace(self._adoption, order=self.order))
            self._adoption = None
            size = len(encode(items[0]))
        for identifier, message in list(self._waiting.items()):
            if self._tick_of(message) > boundary:
                continue
            item = self._item(message, now)
            size += len(encode(item))
            if items and (size > _MOST_BYTES or len(items) == _MOST_ITEMS):
                break
            items.append(item)
            self.order += 1
            del self._waiting[identifier]
        return items

    def next_after(self, boundary: int) -> int:
        """The tick of the boundary after this one: a scheduled entry gets one on its own step."""
        following = boundary + self.spacing
        due = [self._tick_of(message) for message in self._waiting.values()]
        return min([tick for tick in due if boundary < tick < following], default=following)

    def measure(self, now: float) -> None:
        """Adapt the spacing to the time that the ticks since the last call took."""
        if self._mark is not None and self._tick > self._mark[0]:
            ticks = self._tick - self._mark[0]
            spent = now - self._mark[1]
            wanted = ticks * self._seconds / spent if spent > 0 else math.inf
            spacing = max(1, int(min(2 * self.spacing, wanted)))
            self.spacing = max(spacing, self.spacing) if self.lagging else spacing
        if self._mark is None or self._tick > self._mark[0]:
            self._mark = (self._tick, now)

    def forget_time(self) -> None:
        """The time since the last measure was no training."""
        self._mark = None

    def _item(self, message: Deliver, now: float) -> Item:
        entry, sequence = message.entry, message.position.sequence
        since = self._adopted.get(entry.id)
        return Item(
            entry=entry,
            sequence=sequence,
            order=self.order + 1,
            answer=self._answer(message, now),
            adopts=() if since is None else (Adopted(entry.id, sequence, since),),
        )

    def _tick_of(self, message: Deliver) -> int:
        at_step = message.entry.at_step
        if at_step is None or self._step is None or at_step <= self._step:
            return 0
        stride = min(self._strides, default=1)
        return self._tick - (self._step - at_step) // stride

    def _answer(self, message: Deliver, now: float) -> Answer | None:
        entry = message.entry
        step = self._passed.get(entry.id)
        if step is not None:
            return Answer("rejected", f"step {entry.at_step} has passed: the job is at step {step}")
        if message.begun and isinstance(entry.body, (Act, Stop)):
            reason = "an earlier life of this job ended before it could say what became of it"
            return Answer("unknown", reason)
        late = message.expires is not None and now > message.expires
        if late and not isinstance(entry.body, Resume):
            reason = f"not at a safe point within {entry.deadline or 0:g} s of being issued"
            return Answer("expired", reason)
        return None

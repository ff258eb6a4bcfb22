"""What waits for the bus: outcomes and lifecycle are kept, samples are shed first."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from weavelet.channel.page import Page
from weavelet.exceptions import BusError, MalformedError
from weavelet.messages import Lifecycle, Outcome, Registration, ReportBatch, Sample, Scalar
from weavelet.wire import subjects
from weavelet.wire.bus import Bus, TooLargeError
from weavelet.wire.envelope import encode

BATCH_SECONDS = 0.1
"""Time between two report batches."""
KEPT_SAMPLES = 50_000
"""Samples held while the bus is away; the oldest are shed beyond."""

KEPT_BYTES = (1 << 20) - 1024
"""The largest message: what a NATS server takes unless told otherwise, with room for headers."""

_BATCH_SAMPLES = 500
_LEAST_BATCH_SAMPLES = 20
_SLOW_SECONDS = 0.3
_FAST_SECONDS = 0.1
_STORE_SECONDS = 5.0
_RETRY_SECONDS = 0.25
_log = logging.getLogger("weavelet.sidecar")

Kept = Registration | Outcome | Lifecycle


class Outbox:
    """Publishes for one incarnation of one replica; `send` and `ship` run until cancelled."""

    def __init__(
        self, bus: Bus, words: memoryview, run: str, job: str, replica: str, incarnation: str
    ) -> None:
        self._bus = bus
        self._replica = replica
        self._incarnation = incarnation
        self._outcomes = subjects.outcome(run, job, replica)
        self._reports = subjects.report(run, job, replica)
        self._kept: deque[tuple[str, bytes, Callable[[], None] | None]] = deque()
        self._samples: deque[tuple[int, Sample]] = deque(maxlen=KEPT_SAMPLES)
        self._more = asyncio.Event()
        self._words = words
        self._doubtful = 0
        self._flying = 0
        self._batch = _BATCH_SAMPLES
        self.config_hash = ""
        """Of all effective control values, as last heard; it goes with every batch."""

    @property
    def taken(self) -> int:
        """How many samples have come from the trainer, or are known to be missing before them."""
        return self._words[Page.TAKEN]

    @property
    def missing(self) -> int:
        """How many of those taken are lost for good, here or before they came."""
        return self._words[Page.TAKEN] - self._words[Page.STORED] - self._waiting

    @property
    def _waiting(self) -> int:
        return len(self._samples) + self._flying

    @property
    def empty(self) -> bool:
        """Whether all has been stored."""
        return not self._kept and not self._samples

    def keep(
        self, message: Kept, identifier: str, stored: Callable[[], None] | None = None
    ) -> None:
        """Publish in order, for as long as it takes; `stored` is called when the bus has it.

        Raises:
            MalformedError: the message cannot travel, or is larger than `KEPT_BYTES`.
        """
        self._kept.append((f"{self._incarnation}.{identifier}", _fitting(message), stored))
        self._more.set()

    def take(self, first: int, samples: tuple[Sample, ...]) -> None:
        """Take samples in; `first` is the first one's count over the incarnation."""
        self._samples.extend(enumerate(samples, first))
        self._words[Page.TAKEN] = first + len(samples)

    async def send(self) -> None:
        """Publish what must be kept, one by one, again and again until the bus has it."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._kept:
                await self._send_first()

    async def _send_first(self) -> None:
        identifier, data, stored = self._kept[0]
        try:
            await self._bus.wait_connected()
            await self._bus.append(self._outcomes, data, message_id=identifier)
        except TooLargeError as error:
            _log.warning("left out what would hold up all that comes after it: %s", error)
        except BusError as error:
            _log.info("%s; trying again", error)
            await asyncio.sleep(_RETRY_SECONDS)
            return
        self._kept.popleft()
        if stored is not None:
            stored()

    async def ship(self) -> None:
        """Publish samples in batches, ten times a second."""
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            while self._samples and self._bus.connected:
                if not await self._ship_batch():
                    break

    async def flush(self) -> None:
        """Publish everything now, also if the bus is still to be connected.

        For the end, when `send` and `ship` have been cancelled; to be cancelled in its turn when it
        takes too long.
        """
        while not self.empty:
            await self._bus.wait_connected()
            if self._kept:
                await self._send_first()
            elif not await self._ship_batch():
                await asyncio.sleep(_RETRY_SECONDS)

    async def _ship_batch(self) -> bool:
        # One that may be stored already goes out again as it was: by its name the bus would take it
        # for stored, and what had come since would be lost with it.
        count = min(len(self._samples), self._doubtful or self._batch)
        self._doubtful = 0
        parts = deque(_consecutive([self._samples.popleft() for _ in range(count)]))
        while parts:
            self._flying = sum(map(len, parts))
            part = parts[0]
            message = replace(
                columnar(self._replica, self._incarnation, part, time.time, time.monotonic),
                config_hash=self.config_hash,
            )
            identifier = f"{self._incarnation}.report.{message.first}"
            began = time.monotonic()
            try:
                await self._bus.store(
                    self._reports, _fitting(message), message_id=identifier, timeout=_STORE_SECONDS
                )
            except (MalformedError, TooLargeError) as error:
                # Only what cannot travel by itself is left out, not what it came with.
                parts.popleft()
                if half := len(part) // 2:
                    parts.extendleft((part[half:], part[:half]))
                else:
                    _log.warning("left out a sample: %s", error)
            except BusError as error:
                self._put_back(parts)
                self._pace(max(_FAST_SECONDS, time.monotonic() - began))
                _log.info("%s; %d samples wait", error, len(self._samples))
                return False
            except asyncio.CancelledError:
                self._put_back(parts)
                raise
            else:
                parts.popleft()
                self._words[Page.STORED] += len(part)
                self._pace(time.monotonic() - began)
        self._flying = 0
        return True

    def _pace(self, took: float) -> None:
        """What goes ahead of heartbeats and outcomes on a thin line must be little at once."""
        if took > _SLOW_SECONDS:
            self._batch = max(_LEAST_BATCH_SAMPLES, self._batch // 2)
        elif took < _FAST_SECONDS:
            self._batch = min(_BATCH_SAMPLES, self._batch * 2)

    def _put_back(self, parts: Sequence[list[tuple[int, Sample]]]) -> None:
        """Put samples back before those that came since, the oldest shed first."""
        self._flying = 0
        batch = list(itertools.chain.from_iterable(parts))
        self._doubtful = len(parts[0])
        room = KEPT_SAMPLES - len(self._samples)
        if room > 0:
            self._samples.extendleft(reversed(batch[-room:]))


def _fitting(message: Kept | ReportBatch) -> bytes:
    data = encode(message)
    if len(data) > KEPT_BYTES:
        raise MalformedError("message", f"{len(data)} bytes, at most {KEPT_BYTES} are allowed")
    return data


def _consecutive(batch: list[tuple[int, Sample]]) -> list[list[tuple[int, Sample]]]:
    """Split where the count jumps, so that a gap stays visible as one."""
    parts: list[list[tuple[int, Sample]]] = []
    for item in batch:
        if parts and parts[-1][-1][0] + 1 == item[0]:
            parts[-1].append(item)
        else:
            parts.append([item])
    return parts


def columnar(
    replica: str,
    incarnation: str,
    part: list[tuple[int, Sample]],
    wall: Callable[[], float],
    monotonic: Callable[[], float],
) -> ReportBatch:
    """Consecutive samples as columns; times become wall clock time, for display."""
    offset = wall() - monotonic()
    names = {name: None for _, sample in part for name in sample.metrics}
    columns: dict[str, tuple[Scalar | None, ...]] = {
        name: tuple(sample.metrics.get(name) for _, sample in part) for name in names
    }
    return ReportBatch(
        replica=replica,
        incarnation=incarnation,
        first=part[0][0],
        steps=tuple(sample.step for _, sample in part),
        at=tuple(sample.at + offset for _, sample in part),
        columns=columns,
    )

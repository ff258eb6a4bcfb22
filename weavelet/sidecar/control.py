"""Reads the job's control log and brings the trainer what concerns it, in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from weavelet.channel.sidecar import SidecarEnd
from weavelet.exceptions import BusError, MalformedError
from weavelet.messages import Deliver, Entry, Hello, Outcome, Position
from weavelet.sidecar.joining import Logged, concerns, plan
from weavelet.wire import subjects
from weavelet.wire.bus import Bus, StoreChanged, Stored
from weavelet.wire.envelope import decode

_RETRY_SECONDS = 0.25
_RECENT_ENTRIES = 4096
_log = logging.getLogger("weavelet.sidecar")


class Control:
    """Follows the log for as long as this incarnation has control.

    Delivered entries stay in `delivered` until the trainer has decided them.
    """

    def __init__(
        self,
        bus: Bus,
        hello: Hello,
        end: SidecarEnd,
        *,
        joined: Callable[[], None],
        decided: Callable[[Outcome], None],
    ) -> None:
        self._bus = bus
        self._hello = hello
        self._end = end
        self._joined = joined
        self._decided = decided
        self._subject = subjects.control(hello.identity.run, hello.identity.job)
        self._position = hello.position
        self._for = None if hello.whole_log else hello.identity.replica
        self.delivered: dict[int, Entry] = {}
        self.malformed = 0
        self._recent: dict[str, None] = {}

    async def follow(self) -> None:
        """Join, register, then deliver, through outages and wiped stores, until cancelled."""
        while True:
            try:
                await self._bus.wait_connected()
                position = await self._join()
                self._joined()
                await self._deliver_from(position)
            except StoreChanged:
                _log.warning("the store was replaced by another; starting afresh with its log")
                self._position = None
            except BusError as error:
                _log.info("%s; trying again", error)
                await asyncio.sleep(_RETRY_SECONDS)

    def rejoin(self) -> None:
        """Read the log from its beginning the next time: another incarnation may have had it."""
        self._position = None

    async def _join(self) -> Position:
        """Where to read on: where the trainer is, or behind what the log held when it joined.

        The end of the log is found before the replica is registered, so that nothing that is
        addressed to this incarnation can be taken for something older.
        """
        epoch = await self._bus.epoch()
        if epoch is None:
            msg = "the weaver has not made its streams yet"
            raise BusError(msg)
        if self._position is not None and self._position.epoch == epoch:
            return self._position
        log, last = await self._read_log()
        hello = self._hello
        now = time.monotonic()
        todo = plan(
            log,
            hello.identity.replica,
            now,
            epoch=epoch,
            adopt=hello.adopt,
            whole_log=hello.whole_log,
        )
        self._end.send(todo.adopt)
        for logged in todo.deliver:
            self._deliver(logged, epoch)
        self._position = Position(epoch, last)
        return self._position

    async def _read_log(self) -> tuple[list[Logged], int]:
        """All that is in the log, and the sequence of its last entry as the leader knows it."""
        tail = await self._bus.last(subjects.CONTROL, self._subject)
        log: list[Logged] = []
        last = 0
        while tail is not None and last < tail.sequence:
            found = await self._bus.read(subjects.CONTROL, self._subject, last)
            if not found:
                msg = "the end of the control log cannot be read yet"
                raise BusError(msg)
            last = found[-1].sequence
            log += [it for stored in found if (it := await self._logged(stored)) is not None]
        return log, last

    async def _deliver_from(self, position: Position) -> None:
        stream = self._bus.follow(
            subjects.CONTROL, self._subject, position.sequence, epoch=position.epoch
        )
        async for stored in stream:
            logged = await self._logged(stored)
            if logged is not None and concerns(logged.entry, self._for):
                self._deliver_once(logged, position.epoch)
            self._position = Position(position.epoch, stored.sequence)

    async def _logged(self, stored: Stored) -> Logged | None:
        try:
            entry = decode(stored.data)
        except MalformedError as error:
            entry = None
            self.count_malformed(str(error))
        if not isinstance(entry, Entry):
            return None
        expires = None
        if entry.deadline is not None:
            expires = time.monotonic() + entry.deadline - await self._bus.age(stored)
        return Logged(stored.sequence, entry, expires)

    def _deliver_once(self, logged: Logged, epoch: str) -> None:
        """Deliver, unless the log holds this entry for the second time."""
        identifier = logged.entry.id
        if identifier in self._recent:
            _log.warning("left out entry %r, which the log holds twice", identifier[:64])
            return
        self._recent[identifier] = None
        if len(self._recent) > _RECENT_ENTRIES:
            del self._recent[next(iter(self._recent))]
        self._deliver(logged, epoch)

    def _deliver(self, logged: Logged, epoch: str) -> None:
        position = Position(epoch, logged.sequence)
        try:
            self._end.send(
                Deliver(logged.entry, position, logged.expires, logged.earlier, logged.begun)
            )
        except MalformedError as error:
            identity = self._hello.identity
            self._decided(
                Outcome(
                    entry=logged.entry.id,
                    sequence=logged.sequence,
                    replica=identity.replica,
                    incarnation=identity.incarnation,
                    kind="rejected",
                    reason=f"it cannot be handed to the trainer: {error}",
                )
            )
        else:
            if concerns(logged.entry, self._hello.identity.replica):
                self.delivered[logged.sequence] = logged.entry

    def count_malformed(self, reason: str) -> None:
        """Something that cannot be read has come from the bus."""
        if not self.malformed:
            _log.warning("left out what cannot be read (more is only counted): %s", reason)
        self.malformed += 1

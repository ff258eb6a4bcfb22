"""Writes to the control logs: commands, a job's Begin, notices, and what became of the entries.

Every write is compare-and-set on the last entry that this weaver has read, so that several weavers
can write to one log: who loses the race reads on, looks again whether the entry still makes sense,
and tries again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakValueDictionary

from msgspec.structs import replace

from weavelet.exceptions import BusError, CommandError, MalformedError
from weavelet.messages import Begin, Entry
from weavelet.weaver import protocol
from weavelet.weaver.commands import entry_for
from weavelet.weaver.ingest import Ingest
from weavelet.weaver.lives import Job
from weavelet.weaver.log import AUTHOR, JobLog, bare, settled_entry
from weavelet.wire import envelope, subjects
from weavelet.wire.bus import Bus, LostRace, TooLargeError

log = logging.getLogger("weavelet.weaver")

APPEND_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_LOOKS = 5
_SETTLED_BYTES = 512 * 1024
"""Half of what the server takes in one message."""


class Scribe:
    """The writing half of the weaver, on what `ingest` has read.

    `trouble` says what is known to keep the server from storing anything.
    """

    def __init__(
        self, bus: Bus, ingest: Ingest, trouble: Callable[[], str | None] = lambda: None
    ) -> None:
        self._bus = bus
        self._ingest = ingest
        self._trouble = trouble
        self._ended: list[tuple[str, str]] = []
        self._next_look = 0.0
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def submit(self, command: protocol.Command, *, entry_id: str, author: str) -> None:
        """Put a command into its job's control log; return when it has been read back.

        Raises:
            CommandError: it cannot be carried out, or the log cannot be written.
        """
        self._check_ready()
        job = self._ingest.fleet.find(command.run, command.job, time.monotonic())
        command = replace(command, job=job.name)
        async with self._turn(job.run, job.name):
            try:
                while not await self._try(command, job, entry_id, author):
                    pass
            except MalformedError as error:
                raise CommandError("invalid_value", str(error)) from error
            except BusError as error:
                raise self._unavailable(error) from error

    async def _try(self, command: protocol.Command, job: Job, entry_id: str, author: str) -> bool:
        await self._begin(job)
        if entry_id in self._ingest.log(job.run, job.name).lives:
            return True  # another weaver was first, with the same rule
        # From the check to the write nothing may be read in between: the write is then refused.
        _, entry = entry_for(
            command, self._ingest.fleet, entry_id=entry_id, author=author, now=time.monotonic()
        )
        try:
            await self._append(self._ingest.log(job.run, job.name), entry)
        except LostRace as lost:
            await self._read_on(job.run, job.name, lost.last)
            return False
        return True

    async def remove(self, run: str, job: str | None) -> list[str]:
        """Forget a run or one of its jobs, in the streams too. Returns the jobs' names.

        Raises:
            CommandError: it is unknown, or still lives, or the streams cannot be purged.
        """
        self._check_ready()
        fleet, now = self._ingest.fleet, time.monotonic()
        first = fleet.find(run, job, now)
        doomed = [first] if job is not None else list(fleet.runs[run].values())
        alive = [one.name for one in doomed if fleet.is_live(one, now)]
        if alive:
            text = f"run {run!r} still lives in job {', '.join(map(repr, alive))}; stop it first"
            raise CommandError("still_live", text)
        for one in doomed:
            try:
                for stream, subject in subjects.of_job(run, one.name):
                    await self._bus.purge(stream, subject)
            except BusError as error:
                raise self._unavailable(error) from error
            self._ingest.forget(run, one.name)
        return [one.name for one in doomed]

    async def run(self) -> None:
        """Write what is due. Ends only by cancellation."""
        while True:
            await self._ingest.ready.wait()
            await self._write_due()
            await self._forget_removed()
            try:
                await asyncio.wait_for(self._ingest.stirred.wait(), _LOOK_SECONDS)
            except asyncio.TimeoutError:
                continue
            self._ingest.stirred.clear()

    async def _write_due(self) -> None:
        fleet, now = self._ingest.fleet, time.monotonic()
        for job in fleet.unbegun(now):
            await self._in_turn(job.run, job.name, self._begin(job))
        for found in [one for one in self._ingest.logs.values() if one.open]:
            if next(found.due(fleet, now), None) is not None:
                await self._in_turn(found.run, found.job, self._settle(found, now))
        for job, entry in self._ingest.events.due(fleet, self._ingest.logs, now):
            await self._in_turn(job.run, job.name, self._notify(job, entry))

    async def _forget_removed(self) -> None:
        """Look whether another weaver has removed a job, a few of those that do not live a second.

        What was removed tells nobody: it is not there any more.
        """
        now = time.monotonic()
        if now < self._next_look or not self._bus.connected:
            return
        self._next_look = now + _LOOK_SECONDS
        if not self._ended:
            self._ended = [(job.run, job.name) for job in self._ingest.fleet.jobs() if not job.live]
        looks, self._ended = self._ended[:_LOOKS], self._ended[_LOOKS:]
        for run, job in looks:
            try:
                if not await self._is_stored(run, job):
                    log.info("job %s of run %s was removed elsewhere", job, run)
                    self._ingest.forget(run, job)
            except BusError as error:
                log.debug(
                    "cannot look whether job %s of run %s is still there: %s", job, run, error
                )

    async def _is_stored(self, run: str, job: str) -> bool:
        return any(
            [
                await self._bus.last(stream, subject) is not None
                for stream, subject in subjects.of_job(run, job)
                if stream != subjects.REPORT
            ]
        )

    def _turn(self, run: str, job: str) -> asyncio.Lock:
        """Of those who write to one log: the same one as long as anybody has it or waits."""
        return self._turns.setdefault((run, job), asyncio.Lock())

    async def _in_turn(self, run: str, job: str, write: Coroutine[Any, Any, None]) -> None:
        async with self._turn(run, job):
            try:
                await write
            except (BusError, MalformedError) as error:
                log.warning("the log of job %s of run %s cannot be written: %s", job, run, error)

    async def _settle(self, found: JobLog, now: float) -> None:
        for _, settled in found.due(self._ingest.fleet, now):
            entry = settled_entry(settled, found.last)
            if len(envelope.encode(entry)) > _SETTLED_BYTES:
                entry = replace(entry, body=bare(settled))
            try:
                await self._append(found, entry)
            except LostRace as lost:
                await self._read_on(found.run, found.job, lost.last)
            except TooLargeError as error:
                # No log will ever hold it. Clients are told, and the next entry has its turn.
                log.warning("what became of an entry is not in the log: %s", error)
                life = found.read(entry, found.last, 0.0, now)
                if life is not None:
                    self._ingest.on_entry(life)

    async def _notify(self, job: Job, entry: Entry) -> None:
        await self._begin(job)
        try:
            await self._append(self._ingest.log(job.run, job.name), entry)
        except LostRace as lost:
            # It comes again, unless another weaver was faster with it.
            await self._read_on(job.run, job.name, lost.last)

    async def _begin(self, job: Job) -> None:
        found = self._ingest.log(job.run, job.name)
        if found.begun:
            return
        entry = Entry(id=f"begin-{secrets.token_hex(8)}", author=AUTHOR, body=Begin())
        try:
            await self._append(found, entry)
        except LostRace as lost:
            await self._read_on(job.run, job.name, lost.last)

    async def _append(self, found: JobLog, entry: Entry) -> None:
        sequence = await self._bus.append(
            subjects.control(found.run, found.job),
            envelope.encode(entry),
            message_id=entry.id,
            expected_last=found.last,
            timeout=APPEND_SECONDS,
        )
        await self._reached(found.run, found.job, sequence)

    async def _read_on(self, run: str, job: str, last: int) -> None:
        if last < self._ingest.log(run, job).last:
            # Another weaver removed the job.
            self._ingest.forget(run, job)
        else:
            await self._reached(run, job, last)

    async def _reached(self, run: str, job: str, sequence: int) -> None:
        try:
            await asyncio.wait_for(self._ingest.reached(run, job, sequence), APPEND_SECONDS)
        except asyncio.TimeoutError:
            text = "it was written, but cannot be read back yet"
            raise BusError(text) from None

    def _check_ready(self) -> None:
        if not self._ingest.ready.is_set():
            text = "the weaver has not read the control logs yet; try again in a moment"
            raise CommandError("unavailable", text)

    def _unavailable(self, error: BusError) -> CommandError:
        text = (
            f"the control log cannot be written: {self._trouble() or error}. Training goes on; "
            "whether this command was stored is shown by `weavelet log` once the server is back"
        )
        return CommandError("unavailable", text)

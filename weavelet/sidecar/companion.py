"""One trainer's companion: what it says goes to the bus, what the log says goes to it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import msgspec

from weavelet import settings
from weavelet.channel.page import Page, Phase
from weavelet.channel.sidecar import SidecarEnd
from weavelet.exceptions import BusError, MalformedError
from weavelet.messages import (
    Bye,
    Controls,
    Decided,
    FromTrainer,
    Heartbeat,
    Hello,
    Kept,
    Known,
    Lifecycle,
    Outcome,
    Refused,
    Registration,
    Reports,
    Section,
    Started,
    Value,
    Values,
)
from weavelet.sidecar.claim import PROBE, Claim, refusal
from weavelet.sidecar.control import Control
from weavelet.sidecar.life import is_frozen
from weavelet.sidecar.outbox import Outbox
from weavelet.sidecar.progress import STALL_FLOOR, Progress, Work, state
from weavelet.sidecar.server import find_server
from weavelet.sidecar.vitals import Reading, Vitals
from weavelet.wire import subjects
from weavelet.wire.bus import Bus
from weavelet.wire.envelope import decode, encode

HEARTBEAT_SECONDS = 1.0
FAREWELL_SECONDS = 0.9
"""How long telling of the trainer's end may take; the sidecar is gone within a second of it."""
LAST_SECONDS = 3.0
"""When a sidecar that has not managed to end is ended."""

_VITALS_SECONDS = 2.0
_LOOK_SECONDS = 0.1
_log = logging.getLogger("weavelet.sidecar")


class Companion:
    """Runs from the greeting to the farewell."""

    def __init__(self, end: SidecarEnd, hello: Hello, trainer: int) -> None:
        identity = hello.identity
        self._end = end
        self._hello = hello
        self._identity = identity
        self._trainer = trainer
        self._words = end.page.words
        self._bus = Bus(lambda: find_server(hello.url), name=f"sidecar-{identity.replica}")
        self._outbox = Outbox(
            self._bus,
            self._words,
            identity.run,
            identity.job,
            identity.replica,
            identity.incarnation,
        )
        self._control = Control(
            self._bus, hello, end, joined=self._register, decided=self._keep_outcome
        )
        self._claim = Claim(identity.incarnation)
        self._speak = asyncio.Event()
        self._yielded = asyncio.Event()
        self._progress = Progress(time.monotonic(), _stall_floor())
        self._work = Work()
        self._vitals = Reading({}, ())
        self._heartbeat_subject = subjects.heartbeat(identity.run, identity.job, identity.replica)
        self._controls, self._notices = hello.controls, hello.notices
        self._values: dict[str, Value] = {}
        self._outbox.config_hash = hello.state
        self._section: Section | None = None
        self._section_began = 0.0
        self._started: set[int] = set()
        self._decided = 0
        self._registrations = 0
        self._joined = False
        self._refused = ""
        self._bye: Bye | None = None

    async def run(
        self,
        messages: AsyncIterator[FromTrainer],
        death: asyncio.Task[None],
        missed: Sequence[FromTrainer] = (),
    ) -> None:
        """Serve until the trainer closes its end or dies, then tell of it and return.

        `missed` is what came before anybody listened.
        """
        for message in missed:
            self._take(message)
        await self._bus.subscribe(self._heartbeat_subject, self._hear)
        bus = asyncio.create_task(self._bus.run())
        reading = asyncio.create_task(self._read(messages))
        working = asyncio.create_task(
            _all(
                self._take_control(),
                self._outbox.send(),
                self._outbox.ship(),
                self._beat(),
                self._watch_vitals(),
                self._look(),
            )
        )
        done, _ = await asyncio.wait(
            {reading, death, working, bus}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            task.result()
        # Whatever goes wrong from here on, no sidecar stays behind: the kernel's timer ends it.
        signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
        await _cancel(reading, working)
        for message in self._end.remaining():
            self._take(message)
        await self._farewell()
        await _cancel(bus)

    # From the trainer.

    async def _read(self, messages: AsyncIterator[FromTrainer]) -> None:
        async for message in messages:
            self._take(message)

    def _take(self, message: FromTrainer) -> None:
        match message:
            case Reports(first=first, samples=samples):
                self._outbox.take(first, samples)
            case Started(sequence=sequence):
                self._started.add(sequence)
            case Known(sequence=sequence):
                self._control.delivered.pop(sequence, None)
                self._decided = max(self._decided, sequence)
            case Decided(outcome=outcome):
                self._control.delivered.pop(outcome.sequence, None)
                self._started.discard(outcome.sequence)
                self._decided = max(self._decided, outcome.sequence)
                self._outbox.config_hash = outcome.state
                if outcome.kind == "applied":
                    now = {change.name: change.new for change in outcome.changes}
                    self._values.update((n, now[n]) for n in now.keys() & self._values.keys())
                self._keep_outcome(outcome)
            case Controls(controls=controls, state=config_hash, notices=notices):
                self._controls, self._notices, self._values = controls, notices, {}
                self._outbox.config_hash = config_hash
                if self._joined:
                    self._register()
            case Values(values=values):
                self._values = values
            case Section():
                self._section = message if message.name is not None else None
                self._section_began = time.monotonic()
            case Bye():
                self._bye = message

    def _keep_outcome(self, outcome: Outcome) -> None:
        sequence = outcome.sequence
        identifier = f"{outcome.replica}.{outcome.entry}"
        try:
            self._outbox.keep(outcome, identifier, lambda: self._end.send(Kept(sequence)))
        except MalformedError as error:
            reason = f"{outcome.reason or 'done'} (values or result not sent: {error})"
            bare = msgspec.structs.replace(outcome, changes=(), result=None, reason=reason[:1000])
            self._outbox.keep(bare, identifier, lambda: self._end.send(Kept(sequence)))

    # To the bus.

    def _register(self) -> None:
        self._joined = True
        self._registrations += 1
        identity = msgspec.structs.replace(
            self._identity, version=importlib.metadata.version("torchloom-weavelet")
        )
        number = f"registration.{time.monotonic_ns()}.{self._registrations}"
        bare = tuple(msgspec.structs.replace(spec, value=None) for spec in self._controls)
        for controls in (self._controls, bare, ()):
            try:
                said = Registration(identity=identity, controls=controls, notices=self._notices)
                self._outbox.keep(said, number)
            except MalformedError as error:
                _log.warning("cannot register all that the controls say of themselves: %s", error)
            else:
                return

    async def _take_control(self) -> None:
        """Ask whether another incarnation lives; follow the control log once there is none."""
        await self._bus.wait_connected()
        while True:
            while not self._claim.held:
                self._claim.ask(time.monotonic())
                await self._publish_heartbeat()
                await asyncio.sleep(PROBE)
                self._claim.settle(time.monotonic())
                self._tell_refusal()
            following = asyncio.ensure_future(self._control.follow())
            self._yielded.clear()
            yielded = asyncio.ensure_future(self._yielded.wait())
            try:
                await asyncio.wait({following, yielded}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            finally:
                await _cancel(following, yielded)
            self._control.rejoin()
            self._tell_refusal()

    def _tell_refusal(self) -> None:
        other = self._claim.other
        if other is None:
            return
        reason = refusal(self._identity, other)
        if self._refused != reason:
            self._refused = reason
            self._end.send(Refused(reason))
            if not self._joined:
                self._register()

    def _hear(self, subject: str, data: bytes) -> None:
        try:
            heartbeat = decode(data)
        except MalformedError as error:
            self._control.count_malformed(str(error))
            return
        if isinstance(heartbeat, Heartbeat) and self._claim.hear(heartbeat, time.monotonic()):
            self._speak.set()
        if not self._claim.held:
            self._yielded.set()

    async def _beat(self) -> None:
        while True:
            await self._publish_heartbeat()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._speak.wait(), HEARTBEAT_SECONDS)
            self._speak.clear()

    async def _watch_vitals(self) -> None:
        # In a thread: the driver of a failed device may not answer, and heartbeats must go on.
        vitals = await asyncio.to_thread(Vitals, self._trainer, self._identity.local_rank)
        while True:
            first = not self._vitals.devices
            self._vitals = await asyncio.to_thread(vitals.read)
            if first:
                self._speak.set()
            await asyncio.sleep(_VITALS_SECONDS)

    async def _publish_heartbeat(self) -> None:
        words = self._words
        now = time.monotonic()
        looks, step, phase = words[Page.LOOKS], words[Page.STEP], words[Page.PHASE]
        moved = self._progress.look(now, looks, step, phase, words[Page.PAUSED] / 1000)
        if not moved or self._controls:
            # For a sign of life, or for what the controls' values have become.
            self._end.ring()
        self._work.look(step, words[Page.WORK])
        section = self._section
        overdue = (
            section is not None
            and section.timeout is not None
            and now - self._section_began > section.timeout
        )
        heartbeat = Heartbeat(
            replica=self._identity.replica,
            incarnation=self._identity.incarnation,
            state=state(
                phase,
                looks,
                frozen=is_frozen(self._trainer),
                stalled=not self._hello.interactive and self._progress.stalled(now),
                overdue=overdue,
                conflict=self._claim.other is not None,
            ),
            step=step if looks else None,
            rate=self._progress.rate,
            sampled=words[Page.SAMPLED],
            dropped=max(words[Page.DROPPED], self._outbox.missing),
            section=None if section is None else section.name,
            received=self._decided,
            vitals=self._vitals.numbers,
            claiming=not self._claim.held,
            config_hash=self._outbox.config_hash,
            devices=self._vitals.devices,
            work=self._work.median,
            control_values=self._values,
        )
        await self._bus.publish(self._heartbeat_subject, encode(heartbeat))

    async def _look(self) -> None:
        """Ring when the trainer holds samples or answers back, so that its next poll sends them.

        A pause that begins or ends is told at once: whoever commanded it looks next.
        """
        behind = 0
        was_paused = False
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            is_paused = self._words[Page.PHASE] == Phase.PAUSED
            if is_paused != was_paused:
                was_paused = is_paused
                self._speak.set()
            missing = self._words[Page.SAMPLED] - self._outbox.taken
            if self._control.delivered or (missing > 0 and missing == behind):
                self._end.ring()
            behind = missing

    # The end.

    async def _farewell(self) -> None:
        bye = self._bye
        identity = self._identity
        for sequence, entry in self._control.delivered.items():
            begun = sequence in self._started
            why = "the trainer ended while it ran" if begun else "the trainer ended before it"
            self._keep_outcome(
                Outcome(
                    entry=entry.id,
                    sequence=sequence,
                    replica=identity.replica,
                    incarnation=identity.incarnation,
                    kind="unknown" if begun else "skipped",
                    step=self._words[Page.STEP],
                    reason=why,
                )
            )
        if not self._joined:
            self._register()
        reason: str | None
        if bye is None:
            reason = "the process ended without saying goodbye"
        else:
            reason = bye.error or ("stopped by command" if bye.stopped else None)
        self._outbox.keep(
            Lifecycle(
                replica=identity.replica,
                incarnation=identity.incarnation,
                state="crashed" if bye is None else "exited",
                step=self._words[Page.STEP] if self._words[Page.LOOKS] else None,
                reason=reason,
            ),
            "end",
        )
        with contextlib.suppress(asyncio.TimeoutError, BusError):
            await asyncio.wait_for(self._outbox.flush(), FAREWELL_SECONDS)


def _stall_floor() -> float:
    try:
        return settings.stall_seconds()
    except ValueError as error:
        _log.warning("%s; using %g", error, STALL_FLOOR)
        return STALL_FLOOR


async def _all(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails or this is cancelled; then none is left running."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _cancel(*tasks)


async def _cancel(*tasks: asyncio.Task[Any] | asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=FAREWELL_SECONDS)

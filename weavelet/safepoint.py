"""The safe point: what a poll does when something is waiting. Entries become outcomes here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

import msgspec

from weavelet.adoption import committed, fold, registered
from weavelet.answers import Answers, interrupted
from weavelet.channel.end import End
from weavelet.channel.frames import encode
from weavelet.channel.page import Page, Phase
from weavelet.checkpoint import Memory
from weavelet.controls import Registry, Verdict
from weavelet.exceptions import SessionError, StopTraining, WrongThreadError
from weavelet.keystore import KeyStore
from weavelet.messages import (
    Act,
    Adopt,
    AppliedSet,
    Change,
    Deliver,
    Entry,
    FromSidecar,
    Identity,
    Known,
    Notice,
    Pause,
    Position,
    Refused,
    Resume,
    Section,
    Set,
    Started,
    Stop,
)
from weavelet.moving import Moving
from weavelet.ranks import Group, Ranks

_log = logging.getLogger("weavelet")

_NO_STEP = "poll() was called without the step, which is what the ranks agree on: poll(step)"

_LOOK_AGAIN = 0.25
"""Seconds between two looks at the clock and at a replaced channel while paused."""


class SafePoint:
    """Decides entries, in the order of the control log, in the thread that polls.

    The first thread that calls `run` owns the session.
    """

    def __init__(
        self,
        identity: Identity,
        registry: Registry,
        channel: End,
        page: Page,
        memory: Memory,
        *,
        on_stop: str,
        announce: Callable[[], None],
    ) -> None:
        self._identity = identity
        self._registry = registry
        self._channel = channel
        self._page = page
        self._memory = memory
        self._answers = Answers(identity, registry, channel, memory)
        self._ranks: Ranks | None = None
        self._on_stop = on_stop
        self._announce = announce
        self._owner: int | None = None
        self._busy = False
        self._step = 0
        self._changes: list[Change] = []
        self._inbox: list[FromSidecar] = []
        self._scheduled: list[Deliver] = []
        self._unadopted: tuple[AppliedSet, ...] = ()
        self._paused = False
        self._lease_end: float | None = None
        self._stop: Stop | None = None
        self._version = registry.version
        self._announced = False
        self._moving = Moving(registry, channel)
        self.position: Position | None = None
        self.refused: str | None = None

    @property
    def stop_requested(self) -> bool:
        """Whether the job was told to stop."""
        return self._stop is not None

    @property
    def scheduled(self) -> bool:
        """Whether an entry waits for its step, so that every poll must look."""
        return bool(self._scheduled)

    def run(self, step: int) -> tuple[Change, ...]:
        """Decide what has come, hold while paused, and return the changes made.

        Raises:
            StopTraining: the job was told to stop and the session was made with on_stop="raise".
            WrongThreadError: another thread owns this session.
            SessionError: called from inside a handler.
        """
        self.check_caller("poll()")
        self._owner = threading.get_ident()
        self._step = step
        self._changes = []
        self._busy = True
        try:
            self._announce_changes()
            self._take()
            if self._ranks is not None:
                self._agree(self._ranks)
            elif self._paused and self._stop is None:
                self._hold()
        finally:
            self._busy = False
            self._moving.changed(self._changes)
        if self._stop is not None and self._on_stop == "raise":
            raise StopTraining(self._stop.reason)
        return tuple(self._changes)

    def check_caller(self, what: str) -> None:
        """Make sure that handlers may run now, in this thread; `what` was called.

        Raises:
            WrongThreadError: another thread owns this session.
            SessionError: called from inside a handler.
        """
        if self._owner not in (None, threading.get_ident()):
            msg = (
                f"{what} was called from two threads: the one that polled first owns the session, "
                "since handlers run there. Call it from that thread only."
            )
            raise WrongThreadError(msg)
        if self._busy:
            msg = (
                f"{what} was called inside a handler. Handlers run in poll(); do not poll in them."
            )
            raise SessionError(msg)

    def join(self, group: Group, store: KeyStore) -> Ranks:
        """From now on entries are decided together with the other ranks of a group."""
        past = {**self._memory.held, **self._memory.decided}
        self._ranks = ranks = Ranks(
            group,
            store,
            self._identity,
            self._registry,
            self._answers,
            self._page,
            do=self._verdict,
            started=self._tell_started,
            look=self._look,
            past=past,
        )
        scheduled, self._scheduled = self._scheduled, []
        for message in scheduled:
            ranks.submit(message)
        return ranks

    def show_section(self, section: Section) -> None:
        """Let the other ranks know that this one may not poll for long."""
        if self._ranks is None or self._owner != threading.get_ident():
            return
        if section.name is None:
            self._ranks.leave_section()
        else:
            self._ranks.enter_section(section.timeout)

    def leave(self, reason: str) -> None:
        """The session ends: no other rank need wait for this one."""
        if self._ranks is not None:
            self._ranks.leave(reason)

    def become_inert(self) -> None:
        """In a forked child."""
        if self._ranks is not None:
            self._ranks.become_inert()

    def remember(self) -> None:
        """Bring into memory what the ranks have decided."""
        if self._ranks is not None:
            self._memory.decided.update(self._ranks.agreement.decided)

    def recall(self) -> None:
        """A checkpoint was loaded: what it says was decided is not decided again."""
        if self._ranks is not None:
            self._ranks.agreement.recall(self._memory.held)

    def announce_again(self) -> None:
        """Let the next poll that looks tell of all controls and their values."""
        self._announced = False

    def _announce_changes(self) -> None:
        """Tell of controls registered, replaced or quarantined since the last time."""
        registry = self._registry
        if registry.version == self._version and self._announced:
            return
        if registry.version != self._version:
            self._version = registry.version
            registry.state()
        self._announced = True
        self._moving.announced()
        self._announce()

    def _take(self) -> None:
        self._inbox += self._channel.receive()
        if self._inbox or self._scheduled:
            # A handler that polls must get here to be told, which it does not past a silent bell.
            self._page.ring()
        self._run_due()
        while self._inbox:
            message = self._inbox.pop(0)
            if isinstance(message, Deliver):
                self._deliver(message)
            elif isinstance(message, Adopt):
                self._adopt(message)
            elif isinstance(message, Refused):
                self._refuse(message)
        self._moving.tell()

    def _agree(self, ranks: Ranks) -> None:
        self._changes += ranks.poll()
        if self._page.words[Page.COUNTED] and ranks.off is None:
            # Not before it has met the others, which would wait for it.
            _log.warning("the ranks of this job cannot agree on steps: %s", _NO_STEP)
            ranks.leave(_NO_STEP)
        if ranks.off is not None and self._unadopted:
            self._adopt_alone(ranks)
        self._stop = ranks.stop
        self._announce_changes()

    def _look(self, seconds: float) -> None:
        """Wait for the channel, at most so long, and take what has come."""
        self._channel.wait(seconds)
        self._take()

    def _deliver(self, message: Deliver) -> None:
        if self._is_known(message.position):
            return
        self.position = message.position
        # A notice sets nothing that ranks must agree on; each is told at its own next poll.
        if self._ranks is not None and not isinstance(message.entry.body, Notice):
            if not self._ranks.submit(message):
                sequence = message.position.sequence
                self._channel.post(encode(Known(sequence)), ("known", sequence))
            return
        if not self._is_addressed(message.entry.targets):
            return
        held = self._memory.held.get(message.entry.id)
        if held is not None:
            self._answers.answer_held(message, held)
            return
        at_step = message.entry.at_step
        if at_step is None or at_step == self._step:
            self._decide(message)
        elif at_step > self._step:
            self._scheduled.append(message)
        else:
            reason = f"step {at_step} has passed: this replica is at step {self._step}"
            self._answer(message, Verdict("rejected", reason=reason))

    def _is_known(self, position: Position) -> bool:
        """Whether an earlier sidecar brought this entry already. Positions hold per store epoch."""
        mine = self.position
        return (
            mine is not None and mine.epoch == position.epoch and mine.sequence >= position.sequence
        )

    def _run_due(self) -> None:
        for message in [each for each in self._scheduled if _is_due(each, self._step)]:
            # One by one, since an interruption in one leaves the others to the next poll.
            self._scheduled.remove(message)
            at_step = message.entry.at_step
            if at_step is not None and at_step < self._step and not _is_late(message):
                reason = f"step {at_step} was never polled: the next poll was at step {self._step}"
                self._answer(message, Verdict("rejected", reason=reason))
            else:
                self._decide(message)

    def _decide(self, message: Deliver) -> None:
        entry = message.entry
        if _is_late(message):
            reason = f"not at a safe point within {entry.deadline:g} s of being issued"
            self._answer(message, Verdict("expired", reason=reason))
            return
        if message.earlier and not self._does_no_harm_twice(entry):
            reason = (
                "an earlier life of this replica ended before it could say what became of it; "
                "it is not run again"
            )
            self._answer(message, Verdict("unknown", reason=reason))
            return
        self._tell_started(entry.id, message.position.sequence)
        try:
            verdict = self._verdict(entry)
        except BaseException as error:
            # KeyboardInterrupt and SystemExit go on up, but the operator is still told.
            self._answer(message, interrupted(error))
            raise
        if isinstance(entry.body, Set) and verdict.kind == "applied":
            self._changes += verdict.changes
        self._answer(message, verdict)

    def _tell_started(self, identifier: str, sequence: int) -> None:
        self._channel.post(encode(Started(identifier, sequence)), ("started", sequence))

    def _does_no_harm_twice(self, entry: Entry) -> bool:
        idempotent = {spec.name for spec in self._registry.specs() if spec.idempotent}
        match entry.body:
            case Act(name=name):
                return name in idempotent
            case Set(values=values):
                return values.keys() <= idempotent
        return False

    def _verdict(self, entry: Entry) -> Verdict:
        body = entry.body
        match body:
            case Set():
                return self._registry.apply(
                    body.values,
                    expect=body.expect,
                    dry_run=body.dry_run,
                    by=f"set by {entry.author} at step {self._step}",
                )
            case Act():
                self._moving.hurry()
                return self._registry.run(body.name, body.arguments)
            case Pause():
                reason = "was paused already" if self._paused else None
                self._paused = True
                lease = body.lease
                self._lease_end = None if lease is None else time.monotonic() + lease
                return Verdict("applied", reason=reason)
            case Resume():
                reason = None if self._paused else "was not paused"
                self._paused = False
                return Verdict("applied", reason=reason)
            case Stop():
                self._stop = body
                return Verdict("applied")
            case Notice():
                return self._registry.notices.run(body)
        reason = f"this version of weavelet does not know what {type(body).__name__} is"
        return Verdict("skipped", reason=reason)

    def _hold(self) -> None:
        """Stay paused until resume, stop, or the end of the lease; entries are decided meanwhile.

        The phase is set here and not where the entry is decided: a pause that is ended by the next
        entry in the same poll was none.
        """
        words = self._page.words
        phase = words[Page.PHASE]
        words[Page.PHASE] = Phase.PAUSED
        try:
            while self._paused and self._stop is None:
                began = time.monotonic()
                left = _LOOK_AGAIN if self._lease_end is None else self._lease_end - began
                self._channel.wait(max(0.0, min(_LOOK_AGAIN, left)))
                self._take()
                now = time.monotonic()
                words[Page.PAUSED] += round((now - began) * 1000)
                if self._lease_end is not None and now >= self._lease_end:
                    self._paused = False
        finally:
            words[Page.PHASE] = phase

    def _adopt(self, message: Adopt) -> None:
        if self._is_known(message.position):
            return
        self.position = message.position
        if self._ranks is None:
            self._adopt_here([one for one in message.sets if one.own])
            return
        decided = self._ranks.agreement.decided
        self._unadopted = message.sets
        self._ranks.adopt(fold(map(committed, message.sets), decided, self._step))
        self._memory.adopted += message.sets

    def _adopt_alone(self, ranks: Ranks) -> None:
        """Take over what the ranks have not. Where they never met, that is at their first poll."""
        sets, self._unadopted = ranks.agreement.left_over(self._unadopted), ()
        ahead = [one for one in sets if one.at_step is not None and one.at_step > self._step]
        self._adopt_here([one for one in sets if one not in ahead])
        self._scheduled += [
            Deliver(committed(one).entry, Position("", one.sequence))
            for one in ahead
            if self._is_addressed(one.targets)
        ]

    def _adopt_here(self, applied: Iterable[AppliedSet]) -> None:
        """Set what was applied, as one transaction of this replica's own."""
        # What the checkpoint holds has been applied, and may have been built upon since.
        sets = tuple(
            one
            for one in applied
            if one.entry not in self._memory.held and self._is_addressed(one.targets)
        )
        if not sets:
            return
        values = {name: value for one in sets for name, value in one.values.items()}
        known, missing = registered(values, self._registry.names())
        authors = ", ".join(dict.fromkeys(one.author for one in sets))
        try:
            verdict = self._registry.apply(
                known, by=f"set by {authors}, adopted at step {self._step}"
            )
        except BaseException as error:
            self._answers.answer_adopted(sets, interrupted(error), self._step)
            self._announce_changes()
            raise
        self._changes += verdict.changes
        if missing:
            reason = f"not registered here, so left out: {missing}"
            reason = f"{verdict.reason}; {reason}" if verdict.reason else reason
            verdict = msgspec.structs.replace(verdict, reason=reason)
        self._answers.answer_adopted(sets, verdict, self._step)
        self._announce_changes()

    def _is_addressed(self, targets: tuple[str, ...]) -> bool:
        return not targets or self._identity.replica in targets

    def _refuse(self, message: Refused) -> None:
        if self.refused != message.reason:
            self.refused = message.reason
            _log.warning("this session is refused control: %s", message.reason)

    def _answer(self, message: Deliver, verdict: Verdict) -> None:
        self._answers.answer(message.entry.id, message.position.sequence, verdict, self._step)
        self._announce_changes()


def _is_late(message: Deliver) -> bool:
    return message.expires is not None and time.monotonic() > message.expires


def _is_due(message: Deliver, step: int) -> bool:
    at_step = message.entry.at_step
    return at_step is None or at_step <= step or _is_late(message)

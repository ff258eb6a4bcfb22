"""This replica among the ranks of its job: entries are applied at the same step on all of them.

`agreement` decides the step; here its requests to the job's store are carried out, and what it asks
of the replica is done with the replica's controls.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from weavelet.adoption import Adoption, Past, is_adoption, registered
from weavelet.agreement import Agreement, Ending
from weavelet.answers import Answers, sendable
from weavelet.channel.page import Page, Phase
from weavelet.controls import Registry, Verdict
from weavelet.keystore import KeyStore, Sleep, Steps, StoreLostError, drive
from weavelet.messages import Act, Change, Deliver, Entry, Identity, Pause, Resume, Set, Stop

_log = logging.getLogger("weavelet")


class Group(Protocol):
    """The ranks of a job; `patience` in seconds."""

    @property
    def rank(self) -> int: ...
    @property
    def ranks(self) -> int: ...
    @property
    def patience(self) -> float: ...


class Ranks:
    """One rank's part, called by the safe point.

    `do` carries out an entry on this replica, `started` tells the sidecar before it is run. `look`
    waits for the channel, at most so many seconds, and brings here what has come.
    """

    def __init__(
        self,
        group: Group,
        store: KeyStore,
        identity: Identity,
        registry: Registry,
        answers: Answers,
        page: Page,
        *,
        do: Callable[[Entry], Verdict],
        started: Callable[[str, int], None],
        look: Callable[[float], None],
        past: Mapping[str, Past],
    ) -> None:
        self.agreement = Agreement(
            self,
            rank=group.rank,
            ranks=group.ranks,
            name=identity.replica,
            incarnation=identity.incarnation,
            clock=time.monotonic,
            patience=group.patience,
            past=dict(past),
        )
        self.name = identity.replica
        self._store = store
        self.tick = self.agreement.tick
        self._registry = registry
        self._answers = answers
        self._page = page
        self._do = do
        self._started = started
        self._look = look
        self._sequences: dict[str, int] = {}
        self._changes: list[Change] = []

    @property
    def stop(self) -> Stop | None:
        """The stop that all ranks have come to, None before."""
        return self.agreement.stop

    @property
    def off(self) -> str | None:
        """Why the ranks do not agree any more, None while they do."""
        return self.agreement.off

    def submit(self, message: Deliver) -> bool:
        """An entry has come from the log; whether its outcome is still to come."""
        identifier = message.entry.id
        known = identifier in self.agreement.decided
        targets = message.entry.targets
        if not known and (not targets or self.name in targets):
            self._sequences[identifier] = message.position.sequence
        self.agreement.submit(message)
        return not known

    def adopt(self, adoption: Adoption) -> None:
        """Have all ranks take over what the log says was applied."""
        self.agreement.adopt(adoption)

    def poll(self) -> list[Change]:
        """Apply what the ranks have decided for this poll, hold while they are paused."""
        self._changes = []
        words = self._page.words
        phase = words[Page.PHASE]
        try:
            drive(self.agreement.poll(), self._store, self._sleep)
        except StoreLostError as error:
            self.agreement.break_off(f"the store of this job cannot be reached: {error}")
        except BaseException as error:
            self.leave(f"interrupted by {type(error).__name__}")
            raise
        finally:
            words[Page.PHASE] = phase
        return self._changes

    def enter_section(self, timeout: float | None) -> None:
        """Have the other ranks wait for this one, at most so many seconds longer than they do."""
        self._tell(self.agreement.enter_section(timeout))

    def leave_section(self) -> None:
        """This rank is about to poll again."""
        self._tell(self.agreement.leave_section())

    def _tell(self, steps: Steps[None]) -> None:
        # A store that is lost is found out, and told, by the next poll.
        with suppress(StoreLostError):
            drive(steps, self._store, self._sleep)

    def leave(self, reason: str) -> None:
        """Tell the other ranks that this one polls no more."""
        reason = sendable(reason)
        try:
            drive(self.agreement.leave(reason), self._store, self._sleep)
        except StoreLostError as error:
            self.agreement.break_off(f"the store of this job cannot be reached: {error}")

    def become_inert(self) -> None:
        """In a forked child: the seat is the parent's."""
        self.agreement.let_go()

    def _sleep(self, nap: Sleep) -> None:
        if not nap.paused:
            time.sleep(nap.seconds)
            return
        words = self._page.words
        words[Page.PHASE] = Phase.PAUSED
        began = time.monotonic()
        self._look(nap.seconds)
        words[Page.PAUSED] += round((time.monotonic() - began) * 1000)

    # What agreement asks.

    def validate(self, entry: Entry) -> str | None:
        """Why the entry cannot be done here."""
        match self._mine(entry).body:
            case Set(values=values, expect=expect):
                verdict = self._registry.apply(values, expect=expect, dry_run=True)
                return None if verdict.kind == "skipped" else verdict.reason
            case Act(name=name, arguments=arguments):
                return self._registry.refusal(name, arguments)
        return None

    def run(self, entry: Entry) -> Verdict:
        """Do it; what holds or ends training is done by agreement itself."""
        if isinstance(entry.body, (Pause, Resume, Stop)):
            return Verdict("applied")
        if entry.id in self._sequences:
            # Else its sidecar has not brought it, and would not tell of a death in the midst of it.
            self._started(entry.id, self._sequences[entry.id])
        verdict = self._do(self._mine(entry))
        return replace(verdict, reason=verdict.reason and sendable(verdict.reason))

    def undo(self, entry: Entry) -> None:
        """Set back what `run` has set."""
        _log.info(
            "entry %s was rolled back on all ranks; here: %s", entry.id, self._registry.undo()
        )

    def conclude(self, ending: Ending) -> None:
        """An entry came to its end here: tell it."""
        entry, verdict = ending.entry, ending.verdict
        self._sequences.pop(entry.id, None)
        if verdict.kind == "applied":
            self._changes += verdict.changes
        if not ending.adopts:
            self._answers.tell(entry.id, ending.sequence, verdict, ending.step, order=ending.order)
        bare = Verdict(verdict.kind, reason=verdict.reason)
        for each in ending.adopts:
            said = verdict if each is ending.adopts[-1] else bare
            self._answers.tell(
                each.entry, each.sequence, said, ending.step, adopted=True, order=each.order
            )

    def _mine(self, entry: Entry) -> Entry:
        """What is to be done here: what was adopted may name what only other ranks have."""
        if not is_adoption(entry) or not isinstance(entry.body, Set):
            return entry
        values, _ = registered(entry.body.values, self._registry.names())
        return replace(entry, body=Set(values))

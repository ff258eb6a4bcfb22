"""What this replica says became of entries: sent on to the bus, and kept for the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from weavelet.adoption import Past
from weavelet.channel.end import End
from weavelet.channel.frames import encode
from weavelet.checkpoint import Memory
from weavelet.controls import Registry, Verdict
from weavelet.exceptions import MalformedError
from weavelet.messages import AppliedSet, Decided, Deliver, Identity, Outcome


class Answers:
    """Tells the outcome of each entry as this incarnation's."""

    def __init__(
        self, identity: Identity, registry: Registry, channel: End, memory: Memory
    ) -> None:
        self._identity = identity
        self._registry = registry
        self._channel = channel
        self._memory = memory

    def answer(
        self,
        entry: str,
        sequence: int,
        verdict: Verdict,
        step: int | None,
    ) -> None:
        """Tell what became of an entry, and remember that it is decided."""
        self._memory.decided[entry] = Past(verdict.kind, step)
        self.tell(entry, sequence, verdict, step)

    def answer_held(self, message: Deliver, held: Past) -> None:
        """Tell what the checkpoint that was loaded says of an entry."""
        reason = (
            "decided in an earlier life of this replica, as the checkpoint says that was loaded; "
            "it is not run again"
        )
        verdict = Verdict(held.kind, reason=reason)
        self.tell(message.entry.id, message.position.sequence, verdict, held.step)

    def answer_adopted(
        self, sets: Sequence[AppliedSet], verdict: Verdict, step: int | None
    ) -> None:
        """Tell what became of the Sets that were adopted as one, and remember them if they were."""
        bare = Verdict(verdict.kind, reason=verdict.reason)
        for one in sets:
            said = verdict if one is sets[-1] else bare
            self.tell(one.entry, one.sequence, said, step, adopted=True)
            if verdict.kind == "applied":
                self._memory.decided[one.entry] = Past("applied", step)
                self._memory.adopted.append(one)

    def tell(
        self,
        entry: str,
        sequence: int,
        verdict: Verdict,
        step: int | None,
        *,
        adopted: bool = False,
        order: int = 0,
    ) -> None:
        """Tell what became of an entry."""
        outcome = Outcome(
            entry=entry,
            sequence=sequence,
            replica=self._identity.replica,
            incarnation=self._identity.incarnation,
            kind=verdict.kind,
            step=step,
            changes=verdict.changes,
            reason=verdict.reason,
            result=verdict.result,
            traceback=verdict.traceback,
            state=self._registry.state(),
            adopted=adopted,
            order=order,
        )
        try:
            frame = encode(Decided(outcome))
        except MalformedError as error:
            short = f"{outcome.reason or 'done'} (values or result not sent: {error.reason})"
            frame = encode(Decided(_without_payload(outcome, sendable(short[:1000]))))
        self._channel.decide(sequence, frame)


def interrupted(error: BaseException) -> Verdict:
    """What becomes of an entry when something from outside ends it."""
    return Verdict("failed", reason=f"interrupted by {type(error).__name__}")


def sendable(text: str) -> str:
    """Without halves of characters, which names of files may hold and no message can."""
    return text.encode("utf-8", "replace").decode()


def _without_payload(outcome: Outcome, reason: str) -> Outcome:
    return msgspec.structs.replace(outcome, changes=(), result=None, traceback=None, reason=reason)

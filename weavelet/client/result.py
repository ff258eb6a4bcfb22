"""What became of a command, and what to say when nobody knows."""

from __future__ import annotations

import msgspec

from weavelet.exceptions import CommandError
from weavelet.weaver import protocol


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command.

    `entry` is its entry in the control log, `state` where it is in its life, `settled` whether
    that is the end of it, `outcomes` what each replica said so far.
    """

    entry: protocol.EntryView
    state: str
    settled: bool
    outcomes: list[protocol.OutcomeView] = []

    @classmethod
    def of(cls, update: protocol.EntryUpdate) -> Result:
        """The command as of this update."""
        return cls(
            entry=update.entry,
            state=update.state,
            settled=update.settled,
            outcomes=update.outcomes,
        )

    @property
    def ok(self) -> bool:
        """Whether every addressed replica applied it; for a dry run, whether all would."""
        if not self.settled:
            return False
        wanted = "skipped" if self.entry.body.get("dry_run") else "applied"
        # A replica's own comes first, then those of its later lives that adopted the entry.
        outcomes = {outcome.replica: outcome.outcome for outcome in reversed(self.outcomes)}
        if not outcomes and not self.entry.addressed:
            return self.state == wanted
        asked = {*self.entry.addressed, *outcomes}
        return all(outcomes.get(replica) == wanted for replica in asked)


def unanswered(update: protocol.EntryUpdate | None, when: str) -> CommandError:
    """The error for a command whose last `update` was not the end, or that has none."""
    if update is None:
        msg = f"The weaver did not answer {when}. Nothing is known about the command."
        return CommandError("unavailable", msg, exit_code=3)
    entry = update.entry
    msg = (
        f"No final outcome of entry {entry.id} came {when}; it was {update.state} then and may "
        f"still be applied. See `weavelet log {entry.run} --job {entry.job}`."
    )
    return CommandError("unknown_outcome", msg)

"""Who controls a replica when two incarnations of it live at once. Pure; the clock is passed in."""

from __future__ import annotations

from weavelet.messages import Heartbeat, Identity

PROBE = 0.25
"""Seconds that a new incarnation waits for another to speak up."""
SILENCE = 5.0
"""Seconds of silence after which the other incarnation counts as gone."""


class Claim:
    """The older incarnation keeps control; of two that begin together, the smaller id gets it.

    Of two that have it both, as neither heard the other ask, the larger id steps back.
    """

    def __init__(self, incarnation: str) -> None:
        self._mine = incarnation
        self._asked: float | None = None
        self._other: str | None = None
        self._heard = 0.0
        self.held = False

    @property
    def other(self) -> str | None:
        """The incarnation that has control instead."""
        return self._other

    def ask(self, now: float) -> None:
        """A claiming heartbeat has been sent."""
        if self._asked is None:
            self._asked = now

    def hear(self, heartbeat: Heartbeat, now: float) -> bool:
        """Take in a heartbeat of this replica; True if this incarnation should speak up."""
        other = heartbeat.incarnation
        if other == self._mine or heartbeat.state == "conflict":
            return False
        if self.held and (heartbeat.claiming or other > self._mine):
            return heartbeat.claiming
        self.held = False
        if not heartbeat.claiming or other < self._mine:
            self._other, self._heard = other, now
        return False

    def settle(self, now: float) -> bool:
        """Look at the clock; True when control has just been gained."""
        if self.held or self._asked is None:
            return False
        alone = self._other is None
        ready = now - self._asked >= PROBE if alone else now - self._heard >= SILENCE
        if ready:
            self.held, self._other = True, None
        return ready


def refusal(identity: Identity, other: str) -> str:
    """What is told to a trainer whose place another incarnation has."""
    what = "give each its own replica_id"
    if identity.rank is not None and (identity.world_size or 0) > 1:
        what += ', or none: session() names each rank by its number, and run="..." names the run'
    return (
        f"another live process (incarnation {other}) is {identity.replica} of run {identity.run}, "
        f"job {identity.job}; {what}"
    )

"""How the ranks of one life meet, in a store that may hold the keys of dead ones."""

from __future__ import annotations

import logging

from weavelet.decisions import Keys
from weavelet.keystore import Delete, Put, Read, Steps
from weavelet.voting import Seat
from weavelet.waiting import Wait

_log = logging.getLogger("weavelet")


def ask_leader(seat: Seat, incarnation: str, seconds: float) -> Steps[str | None]:
    """Say who is there; the namespace that the leader answers with, None without an answer.

    Only a leader that has read this very incarnation can answer it, so the answer is no relic.
    """
    yield Put(Keys.hello(seat.rank), incarnation.encode())
    wait = Wait(seat.clock, seconds)
    while True:
        answer: bytes | None = yield Read(Keys.open(incarnation))
        if answer is not None:
            yield Delete(Keys.open(incarnation))
            return answer.decode()
        if wait.over:
            return None
        if wait.overdue():
            _log.warning(
                "waiting for the first poll of rank 0 since %.0f s; going on without it at %g s",
                wait.elapsed,
                seconds,
            )
        yield wait.nap()


def answer_ranks(seat: Seat, namespace: str, seconds: float) -> Steps[str | None]:
    """Answer every rank that says who it is; why they are not all there, None if they are."""
    missing = set(range(seat.ranks)) - {seat.rank}
    answered: dict[int, str] = {}
    wait = Wait(seat.clock, seconds)
    while missing:
        for rank in sorted(missing):
            said = yield Read(Keys.hello(rank))
            if said is not None and said.decode() != answered.get(rank):
                # What was answered before was of a dead life.
                if rank in answered:
                    yield Delete(Keys.open(answered[rank]))
                answered[rank] = said.decode()
                yield Put(Keys.open(answered[rank]), namespace.encode())
            if rank in answered and (yield Read(seat.keys.joined(rank))) is not None:
                missing.remove(rank)
                yield Delete(seat.keys.joined(rank))
        if wait.over:
            break
        if wait.overdue():
            names = ", ".join(map(str, sorted(missing)))
            _log.warning("waiting for the first poll of rank %s since %.0f s", names, wait.elapsed)
        if missing:
            yield wait.nap()
    if not missing:
        return None
    names = ", ".join(map(str, sorted(missing)))
    return (
        f"{len(missing)} of {seat.ranks} ranks never polled within {seconds:g} s: rank {names}; "
        'open a session on every rank, or use session(agreement="off")'
    )

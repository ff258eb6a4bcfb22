"""`weavelet log`."""

from __future__ import annotations

from collections import Counter

from weavelet.client import output
from weavelet.client.client import Client
from weavelet.client.options import Job, Json
from weavelet.weaver import protocol


def log(run: str, /, *, job: Job = None, json: Json = False) -> None:
    """Print the control log of a run: what was commanded, and what became of it."""
    with Client() as client:
        entries = client.log(run, job)
    if json:
        output.print_json({"entries": entries})
    elif entries:
        output.say(output.table(_HEADER, [_row(entry) for entry in entries]))
    else:
        print("Nothing was commanded yet.")


_HEADER = ("TIME", "ENTRY", "AUTHOR", "COMMAND", "OUTCOME")


def _row(update: protocol.EntryUpdate) -> tuple[str, ...]:
    entry = update.entry
    return (
        output.clock(entry.time),
        str(entry.sequence),
        entry.author,
        output.entry_text(entry),
        _outcomes(update),
    )


def _outcomes(update: protocol.EntryUpdate) -> str:
    """One text where all replicas agree; else each replica's."""
    told: dict[str, str] = {}
    for outcome in update.outcomes:
        earlier = f"{told[outcome.replica]}, then " if outcome.replica in told else ""
        told[outcome.replica] = earlier + output.outcome_text(outcome)
    same = Counter(told.values())
    if not same:
        return update.state
    if len(same) == 1:
        only = next(iter(told.values()))
        return only if len(told) == 1 else f"{only}  on all {len(told)}"
    return "; ".join(f"{replica}: {outcome}" for replica, outcome in told.items())

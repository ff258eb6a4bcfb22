"""`weavelet log`."""

from __future__ import annotations

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
    if not told:
        return output.fate_text(update)
    if len(same := set(told.values())) == 1:
        return same.pop() + _share(len(told), len({*update.entry.addressed, *told}))
    return "; ".join(f"{replica}: {outcome}" for replica, outcome in told.items())


def _share(told: int, asked: int) -> str:
    if told < asked:
        return f"  on {told} of {asked}"
    return f"  on all {asked}" if asked > 1 else ""

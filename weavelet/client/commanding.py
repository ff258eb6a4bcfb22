"""What the verbs that command a run share: whom it concerns, asking, sending, printing."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Sequence

from weavelet.client import output, text
from weavelet.client.client import Client, Progress
from weavelet.client.fleet import ENDED
from weavelet.client.result import Result
from weavelet.exceptions import CommandError
from weavelet.weaver import protocol

_SILENT_SECONDS = 1.0


def addressed(job: protocol.JobView, replicas: Sequence[str]) -> list[protocol.ReplicaView]:
    """The replicas named, else those of the job that have not ended.

    Raises:
        CommandError: `unknown_replica`.
    """
    # Of a replica's rows the first is the one that has control, those after it claim its place.
    known = {replica.replica: replica for replica in reversed(job.replicas)}
    for name in replicas:
        if name not in known:
            raise text.unknown("replica", name, known, code="unknown_replica")
    if replicas:
        return [known[name] for name in replicas]
    return [each for each in job.replicas if each.state not in ENDED] or list(job.replicas)


def registered(
    replicas: Iterable[protocol.ReplicaView], kind: str
) -> dict[str, protocol.ControlView]:
    """The controls, or the actions, of these replicas by name; the first to have one counts."""
    found: dict[str, protocol.ControlView] = {}
    for replica in replicas:
        for control in replica.controls:
            if control.kind == kind:
                found.setdefault(control.name, control)
    return found


def declared(
    replicas: Collection[protocol.ReplicaView], kind: str, names: Iterable[str]
) -> dict[str, protocol.ControlView]:
    """As `registered`, with all of these names among them.

    Raises:
        CommandError: `unknown_control`; the text says so where one may still be declared.
    """
    found = registered(replicas, kind)
    starting = [each.replica for each in replicas if each.state == "starting"]
    for name in names:
        if name not in found:
            error = text.unknown(kind, name, found)
            raise _too_early(error, starting) if starting else error
    return found


def _too_early(error: CommandError, starting: Sequence[str]) -> CommandError:
    who = f"{starting[0]} is" if len(starting) == 1 else f"{len(starting)} replicas are"
    msg = (
        f"{error.text} But {who} still starting, and what it declares is known from its first "
        "poll() on: try again in a moment."
    )
    return CommandError(error.code, msg, known=error.known)


def confirm(question: str, *, yes: bool) -> None:
    """Ask at the terminal unless `yes`.

    Raises:
        CommandError: `refused` if the answer is no, or if nobody is there to ask.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError("refused", f"{question} Nobody can be asked here; repeat with --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("refused", "Nothing was done.")


def carry_out(client: Client, command: protocol.Command, *, json: bool, wait: bool = True) -> int:
    """Send the command, print what became of it, and return the exit code."""
    result = client.send(command, wait=wait, progress=_progress(json))
    if json:
        output.print_json({"entry": result.entry, "outcomes": result.outcomes})
    else:
        _print(result)
    return 0 if result.ok or not result.settled else 1


def _print(result: Result) -> None:
    entry = result.entry
    if not result.settled:
        output.say(f"In the control log as {entry.id}. Its outcome: weavelet log {entry.run}")
        return
    width = max((len(outcome.replica) for outcome in result.outcomes), default=0)
    for outcome in result.outcomes:
        output.say(f"{outcome.replica.ljust(width)}  {output.outcome_text(outcome)}")
        if outcome.traceback:
            output.say("    " + outcome.traceback.rstrip().replace("\n", "\n    "))
    silent = sorted(set(entry.addressed) - {outcome.replica for outcome in result.outcomes})
    for replica in silent:
        output.say(f"{replica.ljust(width)}  no outcome")
    if not result.outcomes and not silent:
        output.say(f"{output.entry_text(entry)}: {result.state}")


def _progress(json: bool) -> Progress:
    begun = time.monotonic()
    told = ""

    def show(update: protocol.EntryUpdate) -> None:
        nonlocal told
        if json or update.settled or not sys.stderr.isatty():
            return
        line = f"{update.state}: {len(update.outcomes)} of {len(update.entry.addressed)} answered"
        if line != told and time.monotonic() - begun > _SILENT_SECONDS:
            told = line
            output.say(line, error=True)

    return show

"""`weavelet act`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from weavelet.client import text
from weavelet.client.client import Client
from weavelet.client.commanding import addressed, carry_out, confirm, declared
from weavelet.client.options import AtStep, Deadline, Job, Json, NoWait, Replicas, Yes
from weavelet.weaver import protocol


def act(
    run: str,
    name: str,
    /,
    *pairs: Annotated[str, Parameter(help="An argument, name=value; see `weavelet show`.")],
    replica: Replicas = (),
    job: Job = None,
    at_step: AtStep = None,
    deadline: Deadline = None,
    no_wait: NoWait = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Run an action of a run at its safe point, and print its result."""
    given = text.assignments(pairs)
    patience = text.seconds("--deadline", deadline) if deadline else None
    with Client() as client:
        found = client.job(run, job)
        actions = declared(addressed(found, replica), "action", [name])
        command = protocol.Action(
            id="",
            run=run,
            job=found.job,
            replicas=list(replica),
            deadline=patience,
            at_step=at_step,
            name=name,
            arguments=text.arguments(name, given, actions[name].schema),
        )
        if actions[name].danger:
            confirm(f"{name} of {run} is marked dangerous. Run it?", yes=yes)
        return carry_out(client, command, json=json, wait=not no_wait)

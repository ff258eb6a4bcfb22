"""`weavelet set`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from weavelet.client import text
from weavelet.client.client import Client
from weavelet.client.commanding import addressed, carry_out, confirm, declared
from weavelet.client.options import AtStep, Deadline, Job, Json, NoWait, Pairs, Replicas, Yes
from weavelet.weaver import protocol


def set(  # noqa: A001  the verb's name
    run: str,
    /,
    *pairs: Annotated[str, Parameter(help="name=value, such as lr=0.01; see `weavelet show`.")],
    replica: Replicas = (),
    job: Job = None,
    at_step: AtStep = None,
    expect: Pairs = (),
    deadline: Deadline = None,
    no_wait: NoWait = False,
    dry_run: Annotated[bool, Parameter(help="Only check, on the live replicas.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Set controls of a run, all or none, and say what became of it."""
    given = text.assignments(pairs, at_least=1)
    expected = text.assignments(expect, option="--expect")
    patience = text.seconds("--deadline", deadline) if deadline else None
    with Client() as client:
        found = client.job(run, job)
        controls = declared(addressed(found, replica), "control", [*given, *expected])
        schemas = {name: control.schema for name, control in controls.items()}
        command = protocol.UpdateConfig(
            id="",
            run=run,
            job=found.job,
            replicas=list(replica),
            deadline=patience,
            at_step=at_step,
            values=text.control_values(given, schemas),
            expect=text.control_values(expected, schemas, option="--expect"),
            dry_run=dry_run,
        )
        dangerous = [name for name in given if controls[name].danger]
        if dangerous and not dry_run:
            confirm(f"{', '.join(dangerous)} of {run} is marked dangerous. Set it?", yes=yes)
        return carry_out(client, command, json=json, wait=not no_wait)

"""`weavelet pause`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from weavelet.client import text
from weavelet.client.client import Client
from weavelet.client.commanding import carry_out
from weavelet.client.options import Job, Json, NoWait, Replicas
from weavelet.weaver import protocol


def pause(
    run: str,
    /,
    *,
    lease: Annotated[
        str | None, Parameter(name="--for", help="Resume by itself after this long, such as 10m.")
    ] = None,
    replica: Replicas = (),
    job: Job = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> int:
    """Hold a run at its safe point until `resume`, `stop`, or the end of --for."""
    command = protocol.Pause(
        id="",
        run=run,
        job=job,
        replicas=list(replica),
        lease=text.seconds("--for", lease) if lease else None,
    )
    with Client() as client:
        return carry_out(client, command, json=json, wait=not no_wait)

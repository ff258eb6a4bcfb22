"""`weavelet resume`."""

from __future__ import annotations

from weavelet.client.client import Client
from weavelet.client.commanding import carry_out
from weavelet.client.options import Job, Json, NoWait, Replicas
from weavelet.weaver import protocol


def resume(
    run: str,
    /,
    *,
    replica: Replicas = (),
    job: Job = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> int:
    """End a pause."""
    command = protocol.Resume(id="", run=run, job=job, replicas=list(replica))
    with Client() as client:
        return carry_out(client, command, json=json, wait=not no_wait)

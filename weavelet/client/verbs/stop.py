"""`weavelet stop`."""

from __future__ import annotations

from weavelet.client.client import Client
from weavelet.client.commanding import carry_out
from weavelet.client.options import Job, Json, NoWait, Reason, Replicas
from weavelet.weaver import protocol


def stop(
    run: str,
    /,
    *,
    reason: Reason = "",
    replica: Replicas = (),
    job: Job = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> int:
    """End a run's training at its next safe point."""
    command = protocol.Stop(id="", run=run, job=job, replicas=list(replica), reason=reason)
    with Client() as client:
        return carry_out(client, command, json=json, wait=not no_wait)

"""`weavelet freeze`."""

from __future__ import annotations

from weavelet.client.client import Client
from weavelet.client.commanding import carry_out
from weavelet.client.options import Job, Json, NoWait, Reason
from weavelet.weaver import protocol


def freeze(
    run: str,
    /,
    *,
    reason: Reason = "",
    job: Job = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> int:
    """Have a run refuse everything but stop and unfreeze; what it accepted before still happens."""
    command = protocol.Freeze(id="", run=run, job=job, reason=reason)
    with Client() as client:
        return carry_out(client, command, json=json, wait=not no_wait)

"""`weavelet unfreeze`."""

from __future__ import annotations

from weavelet.client.client import Client
from weavelet.client.commanding import carry_out
from weavelet.client.options import Job, Json, NoWait
from weavelet.weaver import protocol


def unfreeze(
    run: str,
    /,
    *,
    job: Job = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> int:
    """Have a run accept commands again."""
    command = protocol.Unfreeze(id="", run=run, job=job)
    with Client() as client:
        return carry_out(client, command, json=json, wait=not no_wait)

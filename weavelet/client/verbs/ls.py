"""`weavelet ls`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from weavelet.client import output
from weavelet.client.alarms import alarms_of_rules
from weavelet.client.client import Client
from weavelet.client.fleet import in_order
from weavelet.client.options import Json
from weavelet.weaver import protocol


def ls(
    *,
    every: Annotated[
        bool, Parameter(name="--all", help="Also earlier jobs that have ended.")
    ] = False,
    json: Json = False,
) -> None:
    """List runs, jobs and replicas."""
    with Client() as client:
        fleet = client.snapshot()
    jobs = fleet.jobs
    if json:
        output.print_json({"jobs": jobs})
        return
    shown = [job for job in jobs if every or job.live or job.newest]
    if shown:
        output.say(output.table(_HEADER, _rows(shown)))
    else:
        print("No runs yet. Start a training that opens a weavelet.session().")
    if hidden := len(jobs) - len(shown):
        print(f"{hidden} earlier job{'' if hidden == 1 else 's'} not shown: weavelet ls --all")
    for line in alarms_of_rules(fleet.rules):
        output.say(line)


_HEADER = ("RUN", "JOB", "REPLICA", "STATE", "STEP", "RATE", "METRICS")


def _rows(jobs: list[protocol.JobView]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for job in sorted(jobs, key=lambda job: (job.run, -job.begun)):
        frozen = " (frozen)" if job.frozen_by else ""
        head = (job.run, job.job + frozen)
        for replica in in_order(job.replicas):
            rows.append((*head, *_columns(replica)))
            head = ("", "")
        if not job.replicas:
            rows.append((*head, "", "live" if job.live else "ended", "", "", ""))
    return rows


def _columns(replica: protocol.ReplicaView) -> tuple[str, ...]:
    return (
        replica.replica,
        output.state_text(replica),
        output.step_text(replica.step),
        output.rate_text(replica),
        output.metrics_text(replica.metrics),
    )

"""`weavelet rm`."""

from __future__ import annotations

from weavelet.client import output
from weavelet.client.client import Client
from weavelet.client.commanding import confirm
from weavelet.client.options import Job, Json, Yes


def rm(run: str, /, *, job: Job = None, yes: Yes = False, json: Json = False) -> None:
    """Forget a run that has ended, or one job of it: its log, outcomes and reports."""
    what = f"job {job} of {run}" if job else f"{run} and all its jobs"
    with Client() as client:
        confirm(f"Forget {what}, with control log and reports, for good?", yes=yes)
        removed = client.remove(run, job)
    if json:
        output.print_json({"run": run, "jobs": removed})
    else:
        print(f"Forgot {run}: {len(removed)} job{'' if len(removed) == 1 else 's'}.")

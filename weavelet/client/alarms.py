"""What somebody who watches a run should know first, in lines of text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from weavelet.weaver import protocol


def alarms(job: protocol.JobView) -> list[str]:
    """Replicas that differ, and the one that the others wait for."""
    found = []
    if job.diverged is not None:
        found.append(f"DIVERGED: {job.diverged}")
    if job.slowest is not None:
        found.append(_slowest(job, job.slowest))
    return found


def alarms_of_rules(rules: Iterable[protocol.RuleView]) -> list[str]:
    """Rules that were switched off, and why."""
    return [f"Rule {rule.name} is off: {rule.off}" for rule in rules if rule.off is not None]


def work_text(seconds: float | None) -> str:
    """`36 ms`, empty where it is not known."""
    return "" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _slowest(job: protocol.JobView, name: str) -> str:
    """Who the others wait for, and by how much."""
    work = {each.replica: each.work for each in job.replicas if each.work is not None}
    others = [seconds for replica, seconds in work.items() if replica != name]
    if name not in work or not others:
        return f"Slowest: {name}."
    return (
        f"Slowest: {name}, whose own work takes {work_text(work[name])} of a step; that of the "
        f"others takes {work_text(statistics.median(others))} (median)."
    )

"""`weavelet show`."""

from __future__ import annotations

from collections.abc import Sequence

from weavelet.client import output
from weavelet.client.alarms import alarms, alarms_of_rules, work_text
from weavelet.client.client import Client
from weavelet.client.commanding import addressed, registered
from weavelet.client.expectation import describe
from weavelet.client.fleet import in_order
from weavelet.client.options import Job, Json
from weavelet.weaver import protocol


def show(run: str, /, *, job: Job = None, json: Json = False) -> None:
    """Show the controls, actions and replicas of a run."""
    with Client() as client:
        found = client.job(run, job)
        rules = [] if json else client.snapshot([run]).rules
    if json:
        output.print_json({"job": found})
        return
    output.say(_title(found))
    for line in [*alarms(found), *alarms_of_rules(rules)]:
        output.say(line)
    concerned = addressed(found, ())
    controls = registered(concerned, "control").values()
    actions = registered(concerned, "action").values()
    for header, rows in (
        (_CONTROLS, [_control_row(control, concerned) for control in controls]),
        (_ACTIONS, [_action_row(action) for action in actions]),
        (_REPLICAS, [_replica_row(replica) for replica in in_order(found.replicas)]),
    ):
        if rows:
            output.say(f"\n{output.table(header, rows)}")


_CONTROLS = ("CONTROL", "VALUE", "TYPE", "UNIT", "", "DOC")
_ACTIONS = ("ACTION", "ARGUMENTS", "", "DOC")
_REPLICAS = (
    "REPLICA",
    "STATE",
    "STEP",
    "RATE",
    "OWN WORK",
    "RANK",
    "HOST",
    "PID",
    "DEVICE",
    "METRICS",
    "WHY",
)


def _title(job: protocol.JobView) -> str:
    parts = ["live" if job.live else "ended", f"begun {output.clock(job.begun)}"]
    if job.frozen_by:
        parts.append(f"frozen by {job.frozen_by}")
    return f"{job.run}, job {job.job}: {', '.join(parts)}"


def _control_row(
    control: protocol.ControlView, replicas: Sequence[protocol.ReplicaView]
) -> tuple[str, ...]:
    # Of one hash, they were set alike: a schedule moves a value, and each tells it at its own step.
    hashes = {replica.config_hash for replica in replicas}
    alike = len(hashes) == 1 and hashes != {""}
    values = {
        output.value_text(each.value)
        for replica in (replicas[:1] if alike else replicas)
        for each in replica.controls
        if (each.name, each.kind) == (control.name, "control")
    }
    return (
        control.name,
        " | ".join(sorted(values)),
        describe(control.schema, control.schema.get("$defs")),
        control.unit,
        _marks(control),
        _first_line(control.doc),
    )


def _action_row(action: protocol.ControlView) -> tuple[str, ...]:
    definitions = action.schema.get("$defs", {})
    required = action.schema.get("required", ())
    arguments = [
        f"{name}: {describe(schema, definitions)}" + ("" if name in required else " (optional)")
        for name, schema in action.schema.get("properties", {}).items()
    ]
    return (action.name, "; ".join(arguments), _marks(action), _first_line(action.doc))


def _marks(control: protocol.ControlView) -> str:
    marks = ("dangerous" if control.danger else "", "quarantined" if control.quarantined else "")
    return ", ".join(filter(None, marks))


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _replica_row(replica: protocol.ReplicaView) -> tuple[str, ...]:
    return (
        replica.replica,
        output.state_text(replica),
        output.step_text(replica.step),
        output.rate_text(replica),
        work_text(replica.work),
        "" if replica.rank is None else f"{replica.rank}/{replica.world_size or '?'}",
        replica.host,
        str(replica.pid or ""),
        replica.device,
        output.metrics_text(replica.metrics),
        replica.reason or "",
    )

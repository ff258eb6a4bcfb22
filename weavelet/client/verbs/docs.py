"""`weavelet docs`."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from weavelet import reference
from weavelet.client import output
from weavelet.client.client import Client
from weavelet.client.commanding import addressed, registered
from weavelet.client.expectation import describe
from weavelet.client.options import Job
from weavelet.messages import ControlSpec
from weavelet.weaver import protocol


def docs(
    run: str,
    /,
    *,
    job: Job = None,
    json_schema: Annotated[
        bool, Parameter(name=("--json-schema", "--json"), help="Print their JSON Schemas instead.")
    ] = False,
) -> None:
    """Print the controls and actions of a run as a Markdown page."""
    with Client() as client:
        replicas = addressed(client.job(run, job), ())
    controls, actions = registered(replicas, "control"), registered(replicas, "action")
    if json_schema:
        output.print_json(
            {
                "controls": {name: view.schema for name, view in controls.items()},
                "actions": {name: view.schema for name, view in actions.items()},
            }
        )
        return
    views = {**controls, **actions}

    def words(spec: ControlSpec, parameter: str | None) -> str:
        return _words(views[spec.name], parameter)

    sys.stdout.write(reference.page(map(_spec, views.values()), words, run=run))


def _spec(view: protocol.ControlView) -> ControlSpec:
    return ControlSpec(
        name=view.name,
        kind=view.kind,
        schema=output.as_json(view.schema),
        unit=view.unit,
        doc=view.doc,
        danger=view.danger,
        value=None if view.value is msgspec.UNSET else view.value,
    )


def _words(view: protocol.ControlView, parameter: str | None) -> str:
    schema = view.schema if parameter is None else view.schema["properties"][parameter]
    return describe(schema, view.schema.get("$defs"))

"""The options that several verbs share, and what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Json = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.")]
Job = Annotated[
    str | None, Parameter(name="--job", help="One launch of the run; default: its newest live one.")
]
Replicas = Annotated[
    tuple[str, ...],
    Parameter(name="--replica", help="Only this replica; may be given several times."),
]
Pairs = Annotated[
    tuple[str, ...], Parameter(name="--expect", help="Only if this value holds, k=v.")
]
AtStep = Annotated[int | None, Parameter(name="--at-step", help="Apply it at this step.")]
Deadline = Annotated[
    str | None,
    Parameter(name="--deadline", help="Give up after this long; default 60s, without --at-step."),
]
NoWait = Annotated[
    bool, Parameter(name="--no-wait", help="Return once the command is in the control log.")
]
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), help="Do not ask.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why; kept in the control log.")]
HomeFolder = Annotated[
    Path | None, Parameter(name="--home", help="Folder of the server; default: WEAVELET_HOME.")
]

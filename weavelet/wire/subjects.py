"""The subjects and streams of the bus: how they are spelled, and which belongs to which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

CONTROL = "WEAVELET_CONTROL"
OUTCOME = "WEAVELET_OUTCOME"
REPORT = "WEAVELET_REPORT"
EXTERNAL = "WEAVELET_EXTERNAL"

ALL_CONTROL = "weavelet.*.*.control"
ALL_OUTCOMES = "weavelet.*.*.outcome.*"
ALL_REPORTS = "weavelet.*.*.report.*"
ALL_HEARTBEATS = "weavelet.*.*.heartbeat.*"
ALL_EXTERNAL = "weavelet.external.*"

Kind: TypeAlias = Literal["control", "outcome", "report", "heartbeat", "external"]

_SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_OF_REPLICA: dict[str, Kind] = {"outcome": "outcome", "report": "report", "heartbeat": "heartbeat"}
_STREAMS: dict[Kind, str] = {
    "control": CONTROL,
    "outcome": OUTCOME,
    "report": REPORT,
    "external": EXTERNAL,
}


@dataclass(frozen=True)
class Subject:
    """A subject taken apart. What the kind does not have is empty."""

    kind: Kind
    run: str = ""
    job: str = ""
    replica: str = ""
    source: str = ""


def control(run: str, job: str) -> str:
    """The job's control log. Raises ValueError for what is not a slug, as all builders here."""
    return _join(run, job, "control")


def outcome(run: str, job: str, replica: str) -> str:
    """A replica's registrations, outcomes and lifecycle."""
    return _join(run, job, "outcome", replica)


def report(run: str, job: str, replica: str) -> str:
    """A replica's report batches."""
    return _join(run, job, "report", replica)


def heartbeat(run: str, job: str, replica: str) -> str:
    """A replica's heartbeats; in no stream."""
    return _join(run, job, "heartbeat", replica)


def external(source: str) -> str:
    """Events of one monitoring system."""
    return _join("external", source)


def of_job(run: str, job: str) -> tuple[tuple[str, str], ...]:
    """(stream, subject filter) of all that is kept of a job."""
    return (
        (CONTROL, control(run, job)),
        (OUTCOME, f"{_join(run, job, 'outcome')}.*"),
        (REPORT, f"{_join(run, job, 'report')}.*"),
    )


def parse(subject: str) -> Subject | None:
    """Take a subject apart, None if it is not one of ours."""
    tokens = subject.split(".")
    if tokens[0] != "weavelet" or not all(_SLUG.match(token) for token in tokens):
        return None
    if len(tokens) == 3 and tokens[1] == "external":
        return Subject("external", source=tokens[2])
    if len(tokens) == 4 and tokens[3] == "control":
        return Subject("control", run=tokens[1], job=tokens[2])
    if len(tokens) == 5 and tokens[3] in _OF_REPLICA:
        return Subject(_OF_REPLICA[tokens[3]], run=tokens[1], job=tokens[2], replica=tokens[4])
    return None


def stream_of(subject: str) -> str | None:
    """The stream that keeps a subject, None if none does."""
    parsed = parse(subject)
    return _STREAMS.get(parsed.kind) if parsed else None


def is_slug(text: str) -> bool:
    """Whether a text can be a part of a subject."""
    return _SLUG.match(text) is not None


def _join(*tokens: str) -> str:
    for token in tokens:
        if not _SLUG.match(token):
            msg = f"a part of a subject must be 1 to 64 of A-Z a-z 0-9 _ -, but got {token!r}."
            raise ValueError(msg)
    return ".".join(("weavelet", *tokens))

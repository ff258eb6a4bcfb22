"""How subjects are spelled and taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.wire import subjects
from weavelet.wire.subjects import Subject

SLUG = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")


@given(SLUG, SLUG, SLUG)
def test_what_is_built_is_taken_apart(run, job, replica):
    """Every builder's subject parses to what it was built of, and has its stream."""
    control = subjects.control(run, job)
    assert subjects.parse(control) == Subject("control", run=run, job=job)
    assert subjects.stream_of(control) == subjects.CONTROL
    for kind, stream in (
        ("outcome", subjects.OUTCOME),
        ("report", subjects.REPORT),
        ("heartbeat", None),
    ):
        subject = getattr(subjects, kind)(run, job, replica)
        assert subjects.parse(subject) == Subject(kind, run=run, job=job, replica=replica)
        assert subjects.stream_of(subject) == stream
    external = subjects.external(run)
    assert subjects.parse(external) == Subject("external", source=run)
    assert subjects.stream_of(external) == subjects.EXTERNAL


def test_a_run_may_be_called_external():
    """Names that are words of the scheme do not confuse it."""
    subject = subjects.control("external", "control")
    assert subject == "weavelet.external.control.control"
    assert subjects.parse(subject) == Subject("control", run="external", job="control")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "weavelet",
        "weavelet.a.b",
        "weavelet.a.b.control.c",
        "weavelet.a.b.outcome",
        "weavelet.a.b.other.c",
        "weavelet..b.control",
        "weavelet.*.b.control",
        "weavelet.a.b.control\n",
        f"weavelet.a.{'b' * 65}.control",
        "other.a.b.control",
        "$JS.API.STREAM.INFO.X",
    ],
)
def test_what_is_not_ours_is_none(subject):
    """Anything that no builder can make parses to None and has no stream."""
    assert subjects.parse(subject) is None
    assert subjects.stream_of(subject) is None


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "a\r\nPUB x", "ä", "a" * 65, "a\n"])
def test_a_name_that_is_no_slug_is_refused(name):
    """Names that would change a subject's shape are a ValueError that shows them."""
    for build in (
        lambda: subjects.control(name, "job"),
        lambda: subjects.outcome("run", "job", name),
        lambda: subjects.external(name),
    ):
        with pytest.raises(ValueError, match="must be 1 to 64 of") as caught:
            build()
        assert repr(name) in str(caught.value)


def test_a_job_is_kept_in_three_streams():
    """of_job() names all that must be purged to forget a job."""
    assert subjects.of_job("r", "j") == (
        (subjects.CONTROL, "weavelet.r.j.control"),
        (subjects.OUTCOME, "weavelet.r.j.outcome.*"),
        (subjects.REPORT, "weavelet.r.j.report.*"),
    )

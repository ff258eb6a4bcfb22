"""Functions for notices: when they run, and what becomes of a notice."""

import functools

import pytest

from weavelet.messages import Notice
from weavelet.notices import NoticeHandlers
from weavelet.testing import local_session


@pytest.fixture
def w():
    """A running session without a server."""
    with local_session() as session:
        yield session


def test_a_notice_comes_to_its_function_at_the_next_poll(w):
    """The function gets kind and detail at the safe point; what it returns is the result."""
    seen = []

    @w.on_notice("device_failed")
    def save(notice):
        seen.append((notice.kind, notice.detail))
        return {"saved": True}

    w.notify("device_failed", device="GPU-1", host="a")
    assert seen == []
    w.poll(7)
    assert seen == [("device_failed", {"device": "GPU-1", "host": "a"})]
    (outcome,) = w.outcomes
    assert (outcome.kind, outcome.step, outcome.result) == ("applied", 7, {"saved": True})


def test_a_notice_without_a_function_is_skipped(w):
    """A replica that has nothing for a kind says so, and nothing else happens."""
    w.on_notice("host_draining")(lambda notice: None)
    w.notify("device_failed")
    w.poll(0)
    (outcome,) = w.outcomes
    assert outcome.kind == "skipped"
    assert "device_failed" in outcome.reason


class Odd(BaseException):
    """What only a careless library raises."""


@pytest.mark.parametrize("error", [ValueError("no room"), Odd("odd")])
def test_a_function_that_raises_has_failed_and_training_goes_on(w, error):
    """The operator sees the traceback; the next poll is as any other."""

    @w.on_notice("device_failed")
    def save(notice):
        raise error

    w.notify("device_failed")
    w.poll(0)
    w.push({})
    w.poll(1)
    outcome = w.outcomes[0]
    assert outcome.kind == "failed"
    assert type(error).__name__ in outcome.reason
    assert "raise error" in outcome.traceback


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_goes_on_up(w, interruption):
    """Ctrl-C inside such a function ends the training as anywhere else, and is told."""

    @w.on_notice("device_failed")
    def save(notice):
        raise interruption

    w.notify("device_failed")
    with pytest.raises(interruption):
        w.poll(0)
    assert w.outcomes[0].kind == "failed"


def test_a_result_that_cannot_travel_does_not_undo_what_ran(w):
    """A function that returns what is no plain data has run all the same."""
    w.on_notice("device_failed")(lambda notice: object())
    w.notify("device_failed")
    w.poll(0)
    (outcome,) = w.outcomes
    assert outcome.kind == "applied"
    assert "result" in outcome.reason


def test_the_last_function_of_a_kind_counts(w):
    """Declaring a kind again, as in a notebook, replaces its function."""
    seen = []
    w.on_notice("device_failed")(lambda notice: seen.append("old"))
    w.on_notice("device_failed")(lambda notice: seen.append("new"))
    w.notify("device_failed")
    w.poll(0)
    assert seen == ["new"]


def test_the_kinds_are_announced():
    """What a session has functions for is known in the order of the alphabet."""
    handlers = NoticeHandlers()
    handlers.add("replica_failed", print)
    handlers.add("device_failed", functools.partial(print, "x"))
    assert handlers.kinds == ("device_failed", "replica_failed")
    assert handlers.run(Notice("other")).kind == "skipped"


def test_the_decorator_gives_the_function_back(w):
    """A decorated function can still be called by its name."""

    def save(notice):
        return 1

    assert w.on_notice("device_failed")(save) is save


async def coroutine(notice):
    """Never awaited."""


def generator(notice):
    """Never run."""
    yield


@pytest.mark.parametrize(
    ("kind", "function", "error", "words"),
    [
        ("device failed", print, ValueError, "'device_failed'"),
        ("", print, ValueError, "1 to 64"),
        (print, print, TypeError, "on_notice("),
        (7, print, TypeError, "text"),
        ("x", "save", TypeError, "function"),
        ("x", lambda: None, TypeError, "one argument"),
        ("x", lambda notice, more: None, TypeError, "one argument"),
        ("x", coroutine, TypeError, "plain function"),
        ("x", generator, TypeError, "plain function"),
    ],
)
def test_what_cannot_be_declared_is_refused_at_once(w, kind, function, error, words):
    """A mistake in a declaration is said where it stands, with a way out."""
    with pytest.raises(error) as caught:
        w.on_notice(kind)(function)
    assert words in str(caught.value)

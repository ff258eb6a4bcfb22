"""What a session says about itself always fits a frame."""

from __future__ import annotations

import pytest

from weavelet.announce import bye_frame, controls_frame, hello_frame
from weavelet.channel.frames import MAX_FRAME_BYTES, Reader
from weavelet.messages import Bye, ControlSpec, FromTrainer, Hello, Identity

LARGE = "x" * MAX_FRAME_BYTES


def spec(name, **fields):
    return ControlSpec(name=name, kind="control", schema=fields.pop("schema", "{}"), **fields)


def hello(*specs):
    identity = Identity(run="train", job="j", replica="r", incarnation="i", pid=1, host="h")
    return hello_frame(Hello(identity=identity, controls=specs))


def controls(*specs):
    return controls_frame(specs, "state")


def read(frame):
    (message,) = Reader(FromTrainer).feed(frame)
    return message


@pytest.mark.parametrize("make", [hello, controls])
def test_controls_are_announced_with_their_values(make):
    """As long as all fits, all is said."""
    specs = (spec("a", value=0.5), spec("b", value=[1, 2]))
    assert read(make(*specs)).controls == specs


@pytest.mark.parametrize("make", [hello, controls])
def test_values_too_large_are_left_out_before_the_controls_are(make):
    """A control with a huge value can still be set."""
    got = read(make(spec("a", value=LARGE), spec("b", value=1, unit="s"))).controls
    assert got == (spec("a"), spec("b", unit="s"))


@pytest.mark.parametrize("make", [hello, controls])
def test_declarations_too_large_leave_the_session_visible(make, caplog):
    """Without any control, and with a line in the log that says so."""
    assert read(make(spec("a", schema=LARGE))).controls == ()
    assert "the declarations of 1 controls cannot be sent" in caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [(None, None), ("no", "no"), ("x" * 5000, "x" * 2000), ("a\udcffb", "a?b")],
)
def test_a_goodbye_always_fits(error, said):
    """Long errors are cut, halves of characters replaced."""
    assert read(bye_frame(stopped=False, error=error)) == Bye(error=said)

"""The session's life: start, stop, copies, forks, and how each of them ends."""

from __future__ import annotations

import asyncio
import copy
import doctest
import functools
import logging
import os
import pickle
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import pytest

import weavelet
from harness.wired import OtherEnd, WiredSession, wire
from weavelet import testing
from weavelet.channel.page import Page, Phase
from weavelet.hotpath import poll_nothing, report_nothing
from weavelet.messages import Bye, Controls, Deliver, Entry, Hello, Position, Section, Stop
from weavelet.testing import local_session

TESTS = Path(__file__).parents[1]


@pytest.fixture
def other():
    """The sidecar's place beside `other.session`."""
    ours, other = wire()
    other.session = WiredSession(ours, run="train", job="j1")
    yield other
    other.session.stop()
    ours.close()
    other.close()


def one(messages, kind):
    """The one message of a kind."""
    (found,) = [message for message in messages if isinstance(message, kind)]
    return found


def test_the_example_in_the_docstring_works():
    """What weavelet.testing shows is what happens."""
    failed, tried = doctest.testmod(testing)
    assert tried >= 1
    assert failed == 0


# Start and stop.


def test_a_session_greets_with_who_it_is_and_what_it_can(other):
    """The first frame tells the identity and the controls there are at the start."""
    w = other.session
    w.handler("lr", type=float, get=lambda: 0.1)(lambda value: None)
    w.start()
    hello = one(other.read(), Hello)
    identity = hello.identity
    assert (identity.run, identity.job, identity.replica) == ("train", "j1", "wired")
    assert identity.incarnation == w.incarnation
    assert (identity.pid, hello.position, hello.adopt) == (os.getpid(), None, "job")
    assert [(spec.name, spec.value) for spec in hello.controls] == [("lr", 0.1)]


def test_controls_of_inside_are_announced_by_the_next_poll(other):
    """Handlers are usually declared after the start: operators see them with the first poll."""
    w = other.session.start()
    other.read()
    w.handler("lr", type=float)(lambda value: None)
    w.poll(0)
    assert [spec.name for spec in one(other.read(), Controls).controls] == ["lr"]


def test_a_session_ends_with_goodbye(other):
    """stop says Bye and closes the channel; a second stop does nothing."""
    w = other.session.start()
    assert (w.poll, w.report) != (poll_nothing, report_nothing)
    w.stop()
    w.stop()
    assert other.farewell() == Bye()
    assert (w.poll, w.report) == (poll_nothing, report_nothing)
    assert w.sidecar_pid is None


def test_what_was_reported_last_is_sent_before_the_end(other):
    """Samples that a fast loop held back go out with the goodbye."""
    w = other.session.start()
    for step in range(50):
        w.report(step, loss=1.0)
    w.stop()
    sent = [s.step for m in other.read_to_end() for s in getattr(m, "samples", ())]
    assert sent == list(range(50))


def test_a_running_session_cannot_be_started_again():
    """The error says what to do, in both modes."""
    for session in (local_session(), weavelet.session("r", mode="disabled")):
        with session, pytest.raises(weavelet.SessionError, match=r"is running; stop\(\) it first"):
            session.start()
        assert weavelet.current() is None


def test_each_start_is_a_new_incarnation():
    """Restarted, a session begins anew: other incarnation, empty counts, no stop left over."""
    w = local_session()
    assert w.incarnation == ""
    seen = []
    for _ in range(2):
        with w:
            seen.append(w.incarnation)
            assert w._page.words[Page.STEP] == 0
            assert not w.stop_requested
            assert not w.stopped
            w.poll(7)
            w.request_stop()
            w.poll(8)
        assert w.stopped
    assert len(set(seen)) == 2
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in seen)


def test_any_thread_may_own_the_next_life():
    """The owner of a session is its first poller, anew at each start."""
    w = local_session()
    with w:
        w.poll(0)
    errors = []

    def second_life():
        try:
            with w:
                w.push({})
                w.poll(0)
        except weavelet.WeaveletError as error:
            errors.append(error)

    thread = threading.Thread(target=second_life)
    thread.start()
    thread.join(10)
    assert errors == []


def test_names_are_checked_when_the_session_is_made():
    """A wrong name or choice is an error before anything runs."""
    with pytest.raises(ValueError, match="a valid spelling is 'my-run'"):
        weavelet.session(run="my run")
    with pytest.raises(ValueError, match=r"on_stop must be one of 'raise', 'flag', got 'exit'"):
        weavelet.session(on_stop="exit")
    with pytest.raises(ValueError, match="adopt must be one of"):
        weavelet.session(adopt="all")
    with pytest.raises(ValueError, match="mode"):
        weavelet.session(mode="offline")


def test_marked_methods_become_controls():
    """An object given as controls= brings its handlers and actions."""

    class Model:
        def __init__(self):
            self.rate = 0.1

        @weavelet.handler("rate")
        def set_rate(self, value: float) -> None:
            self.rate = value

        @weavelet.action()
        def reset(self) -> str:
            self.rate = 0.1
            return "reset"

    model = Model()
    with local_session(controls=[model]) as w:
        w.push(rate=0.5)
        w.poll(0)
        assert model.rate == 0.5
        w.act("reset")
        w.poll(1)
        assert model.rate == 0.1
        assert w.outcomes[-1].result == "reset"
    with pytest.raises(TypeError, match="no methods marked"):
        local_session(controls=[object()])


def test_repr_tells_who_and_whether_it_runs():
    """A session in a debugger shows its names and its state."""
    w = local_session("r1")
    assert repr(w).endswith("/r1 online>")
    with w:
        assert repr(w).endswith("/r1 running>")


# Stop, as the loop sees it.


def test_stop_passes_except_exception_and_ends_the_with_block():
    """A loop that shields each batch still ends, and the code after it can ask why."""
    steps = []
    with local_session() as w:
        w.request_stop("enough")
        for step in range(5):
            try:
                w.poll(step)
            except Exception:
                pytest.fail("StopTraining must not be an Exception")
            steps.append(step)
    assert steps == []
    assert w.stopped


def test_a_session_absorbs_its_own_stop_only():
    """The stop of an outer session goes through an inner one, and ends the outer block."""
    inside = []
    with local_session("outer") as outer:
        with local_session("inner") as inner:
            outer.request_stop()
            outer.poll(0)
        inside.append("after inner")
    assert inside == []
    assert outer.stopped
    assert not inner.stopped
    with pytest.raises(weavelet.StopTraining), local_session():
        raise weavelet.StopTraining("of somebody else")


def test_an_inner_stop_leaves_the_outer_session_running():
    """Only the innermost block is left."""
    with local_session("outer") as outer:
        with local_session("inner") as inner:
            inner.request_stop()
            inner.poll(0)
        assert inner.stopped
        assert weavelet.current() is outer
        assert outer.poll(0) == ()
    assert not outer.stopped


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (SystemExit(3), "SystemExit: 3"),
        (weavelet.StopTraining("mine"), "StopTraining: mine"),
    ],
)
def test_errors_go_through_and_are_told(other, error, text):
    """What ends the block is raised on, and is the reason in the goodbye."""
    with pytest.raises(type(error)), other.session:
        raise error
    bye = other.farewell()
    assert not bye.stopped
    assert bye.error == text


@pytest.mark.parametrize("code", [None, 0])
def test_leaving_with_success_is_no_error(other, code):
    """sys.exit() in the block is a goodbye without error."""
    with pytest.raises(SystemExit), other.session:
        sys.exit(code)
    assert other.farewell() == Bye()


def test_a_stop_by_command_is_said_in_the_goodbye(other):
    """The weaver can tell a stop from an end."""
    with other.session as w:
        entry = Entry(id="e", author="a", body=Stop("enough"))
        other.send(Deliver(entry, Position("epoch", 1)))
        w._page.ring()
        w.poll(0)
    assert w.stopped
    assert other.farewell() == Bye(stopped=True)


class SpeechlessError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [(OSError("bad name \udcff"), "OSError: bad name"), (SpeechlessError(), "SpeechlessError")],
)
def test_an_error_that_cannot_be_told_does_not_hide_itself(other, error, text):
    """Half a character, or a text that raises, does not replace the error that ended training."""
    with pytest.raises(type(error)), other.session:
        raise error
    assert other.farewell().error.startswith(text)


def test_a_long_error_is_cut(other):
    """The goodbye fits its frame."""
    with pytest.raises(ValueError), other.session:
        raise ValueError("x" * (2 << 20))
    assert len(other.farewell().error) == 500


# As a decorator.


def test_each_call_of_a_decorated_function_is_one_incarnation():
    """Arguments, result and name are the function's own."""
    w = local_session()
    seen = []

    @w
    def train(steps, *, scale=1):
        """Train."""
        seen.append(weavelet.current().incarnation)
        weavelet.poll(0)
        return steps * scale

    assert train(3, scale=2) == 6
    assert train(1) == 1
    assert len(set(seen)) == 2
    assert (train.__name__, train.__doc__) == ("train", "Train.")
    assert weavelet.current() is None


def test_a_stopped_function_returns_none():
    """The stop ends the function, not its caller."""
    w = local_session()

    @w
    def train():
        w.request_stop()
        weavelet.poll(0)
        return "unreachable"

    assert train() is None
    assert w.stopped


async def coroutine():
    pass


def generator():
    yield


async def agenerator():
    yield


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (coroutine, "a coroutine function"),
        (generator, "a generator"),
        (agenerator, "an async generator"),
        (functools.partial(coroutine), "a coroutine function"),
    ],
)
def test_functions_that_run_after_their_call_are_refused(function, kind):
    """They would poll after the end: TypeError says what to write instead."""
    with pytest.raises(TypeError, match=kind) as info:
        weavelet.session("r", mode="disabled")(function)
    assert "with weavelet.session()" in str(info.value)


# The active session.


def test_module_functions_act_on_the_innermost_session():
    """poll, report and current follow the nesting, and do nothing outside of it."""
    assert weavelet.current() is None
    assert weavelet.poll(3) == ()
    assert weavelet.report(3, loss=1.0) is None
    with local_session("outer") as outer:
        with local_session("inner") as inner:
            assert weavelet.current() is inner
            weavelet.report(1, loss=1.0)
            inner.handler("lr", type=float)(lambda value: None)
            inner.push(lr=0.1)
            assert [change.name for change in weavelet.poll(2)] == ["lr"]
        assert weavelet.current() is outer
        weavelet.report(loss=2.0)
        assert (len(inner.samples), len(outer.samples)) == (1, 1)
    assert weavelet.current() is None


def test_sessions_need_not_end_in_the_order_of_their_start():
    """With start and stop they may overlap."""
    first, second = local_session("first").start(), local_session("second").start()
    first.stop()
    assert weavelet.current() is second
    second.stop()
    assert weavelet.current() is None


def test_a_session_works_in_a_coroutine():
    """The with block is a plain one; asyncio does not matter."""

    async def train():
        with local_session() as w:
            await asyncio.sleep(0)
            w.request_stop()
            w.poll(0)
        return w.stopped

    assert asyncio.run(train())


# Disabled.


def test_disabled_binds_no_ops(monkeypatch):
    """WEAVELET_MODE=disabled costs nothing and starts nothing; the code around it runs as ever."""
    monkeypatch.setenv("WEAVELET_MODE", "disabled")
    with weavelet.session("r") as w:
        assert w.poll is poll_nothing
        assert w.report is report_nothing
        assert w.sidecar_pid is None
        assert weavelet.current() is w
        w.handler("lr", type=float)(lambda value: None)
        with w.section("checkpoint", timeout=3):
            w.poll(0)
    assert not w.stopped
    assert not w.stop_requested
    assert weavelet.current() is None


def test_a_local_session_is_not_disabled_by_the_environment(monkeypatch):
    """Tests of controls work wherever they run."""
    monkeypatch.setenv("WEAVELET_MODE", "disabled")
    with local_session() as w:
        w.request_stop()
        w.poll(0)
    assert w.stopped


def test_pushing_needs_a_running_session():
    """Before the start and after the end the error says what to do."""
    w = local_session()
    with pytest.raises(RuntimeError, match="start the session first"):
        w.push(lr=1)
    with w:
        w.poll(0)
    with pytest.raises(RuntimeError, match="start the session first"):
        w.push(lr=1)


# Copies and forks.


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda w: pickle.loads(pickle.dumps(w))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_inert(duplicate):
    """The copy has the names and does nothing; the original goes on."""
    with local_session("r1") as w:
        w.handler("lr", type=float)(lambda value: None)
        w.push(lr=0.5)
        twin = duplicate(w)
        assert (twin.run, twin.job, twin.replica_id) == (w.run, w.job, "r1")
        assert twin.poll(0) == ()
        twin.report(0, loss=1.0)
        twin.stop()
        with twin.section("checkpoint"):
            pass
        assert not twin.stopped
        assert len(w.poll(0)) == 1
        assert w.samples == []
        assert weavelet.current() is w


def test_a_model_that_holds_the_handle_can_be_copied():
    """An averaged copy of a model, or its checkpoint, does not drag the session along."""
    with local_session() as w:
        model = {"weights": [1, 2], "weavelet": w}
        twin = copy.deepcopy(model)
        assert twin["weights"] == [1, 2]
        assert twin["weavelet"].poll(0) == ()


PREAMBLE = """
import os, socket, sys
sys.path.insert(0, sys.argv[2])
import weavelet
from harness.wired import WiredSession
w = WiredSession(socket.socket(fileno=int(sys.argv[1])))
"""

FORKING = (
    PREAMBLE
    + """
w.start()
w.poll(0)
w.report(0, loss=1.0)
reader, writer = os.pipe()
channel, page = w._end.fileno(), w._page.descriptor
if os.fork() == 0:
    closed = []
    for descriptor in (channel, page):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.append(descriptor)
    said = [
        len(closed) == 2,
        w.poll(99) == () == weavelet.poll(99),
        w.report(99, loss=1.0) is None,
        weavelet.current() is None,
        w.sidecar_pid is None,
        not w.stopped,
    ]
    with w.section("in the child"):
        pass
    w.stop()
    os.write(writer, repr(said).encode())
    sys.exit(0)
os.wait()
print(os.read(reader, 1000).decode())
print(w._page.words[w._page.STEP])
w.report(1, loss=2.0)
w.stop()
"""
)


def run_wired(program, *, code=0):
    """Run a program on a wire: what it prints, what its sidecar would read, and its errors."""
    ours, other = wire()
    with ours:
        done = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, str(ours.fileno()), str(TESTS)],
            pass_fds=[ours.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    messages = other.read_to_end()
    other.close()
    output, errors = done.communicate(timeout=30)
    assert done.returncode == code, errors
    return output.split("\n")[:-1], messages, errors


def test_a_forked_worker_is_inert_and_holds_nothing():
    """Its descriptors are closed, nothing of it reaches the channel, and the parent goes on."""
    output, messages, _ = run_wired(FORKING)
    assert output == [repr([True] * 6), "0"]
    assert [type(message) for message in messages].count(Hello) == 1
    steps = [s.step for m in messages for s in getattr(m, "samples", ())]
    assert steps == [0, 1]
    assert one(messages, Bye) == Bye()
    assert not [message for message in messages if isinstance(message, Section)]


MULTIPROCESSING = (
    PREAMBLE
    + """
import multiprocessing

def train():
    w.start()
    w.report(0, loss=1.0)

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=train)
    process.start()
    w.ours.close()
    process.join()
"""
)


def test_a_trainer_in_a_child_of_multiprocessing_says_goodbye():
    """Such children leave without atexit; a session begun in one still ends properly."""
    _, messages, errors = run_wired(MULTIPROCESSING)
    assert errors == ""
    assert isinstance(messages[0], Hello)
    assert one(messages, Bye) == Bye()


@pytest.mark.parametrize(
    ("ending", "bye", "code"),
    [
        ("", Bye(), 0),
        ("raise ValueError('no')", Bye(error="ValueError: no"), 1),
        ("sys.exit(3)", Bye(), 3),
        ("w.stop()", Bye(), 0),
    ],
)
def test_a_script_that_forgets_to_stop_still_says_goodbye(ending, bye, code):
    """At the interpreter's exit an open session says Bye, with the error that ended the script."""
    _, messages, errors = run_wired(PREAMBLE + "w.start()\nw.poll(3)\n" + ending, code=code)
    assert one(messages, Bye) == bye
    assert "Exception ignored" not in errors


def test_without_goodbye_the_channel_just_ends():
    """os._exit leaves no Bye, which is how a crash is told."""
    _, messages, _ = run_wired(PREAMBLE + "w.start()\nos._exit(7)", code=7)
    assert isinstance(messages[0], Hello)
    assert not [message for message in messages if isinstance(message, Bye)]


# Sections.


def test_sections_nest_and_are_told(other):
    """Inside, the phase and the innermost name are shown; an error leaves it all the same."""
    w = other.session.start()
    words = w._page.words
    other.read()
    with w.section("evaluation", timeout=60):
        assert words[Page.PHASE] == Phase.IN_SECTION
        assert one(other.read(), Section) == Section("evaluation", 60)
        with pytest.raises(ValueError, match="inside"):  # noqa: PT012  the block is the subject
            with w.section("checkpoint"):
                assert one(other.read(), Section) == Section("checkpoint")
                raise ValueError("inside")
        assert words[Page.PHASE] == Phase.IN_SECTION
        assert one(other.read(), Section) == Section("evaluation", 60)
    assert words[Page.PHASE] == Phase.RUNNING
    assert one(other.read(), Section) == Section(None)


def test_a_new_sidecar_is_told_of_the_section(other):
    """A sidecar that comes while the trainer is in a section knows it."""
    w = other.session.start()
    with w.section("checkpoint", timeout=9):
        ours, second = wire()
        w._attach(w._end, ours)
        hello, section = second.read()
        assert isinstance(hello, Hello)
        assert section == Section("checkpoint", 9)
        second.close()


def test_a_sidecar_that_comes_after_the_end_is_turned_away(other):
    """Its socket is closed, and nothing is said."""
    w = other.session.start()
    end = w._end
    w.stop()
    w.ours, after = wire()
    w.start()
    ours, second = wire()
    w._attach(end, ours)
    assert second.read_to_end() == []
    assert isinstance(one(after.read(), Hello), Hello)
    second.close()
    after.close()


# Without means.


STARVED = """
import logging, os, resource, sys
import weavelet
free = int(sys.argv[1])
logging.basicConfig(stream=sys.stdout, format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for descriptor in held[:free]:
    os.close(descriptor)
with weavelet.session("r", run="starved", job="j") as w:
    for step in range(3):
        w.poll(step)
        w.report(step, loss=1.0)
print("done", w.stopped)
"""


@pytest.mark.parametrize("free", range(8))
def test_a_trainer_without_free_descriptors_trains_on(free, tmp_path):
    """Whatever cannot be opened at the start is one line in the log, never an error."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED, str(free)],
        env={**os.environ, "WEAVELET_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[-1] == "done False"
    assert len(lines) <= 2
    assert all("training goes on" in line for line in lines[:-1])
    assert free or len(lines) == 2


def test_one_hint_for_a_job_of_several_hosts_that_nothing_names(monkeypatch, caplog):
    """Each host would be a job of its own: the warning names the variable to set."""
    for name in ("WEAVELET_JOB", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WEAVELET_PYTHON", "/nowhere/python")
    caplog.set_level(logging.WARNING, "weavelet")
    with weavelet.session("r", run="train"):
        pass
    assert "set WEAVELET_JOB" in caplog.text
    caplog.clear()
    monkeypatch.setenv("WEAVELET_JOB", "j")
    with weavelet.session("r", run="train"):
        pass
    assert "set WEAVELET_JOB" not in caplog.text


def test_an_interpreter_that_is_not_there_is_one_line_in_the_log(monkeypatch, caplog):
    """Without a sidecar the session works on, unseen."""
    monkeypatch.setenv("WEAVELET_PYTHON", "/nowhere/python")
    with weavelet.session("r", run="train", job="j") as w:
        assert w.sidecar_pid is None
        w.poll(0)
        w.report(0, loss=1.0)
    assert len(caplog.records) == 1
    assert "/nowhere/python" in caplog.text


def test_the_other_end_is_what_it_says():
    """The harness itself: an end of file ends the reading."""
    ours, other = wire()
    ours.close()
    assert isinstance(other, OtherEnd)
    assert other.farewell() is None
    other.close()


def test_a_section_may_be_called_anything():
    """Half a Unicode character or a megabyte as its name, a number of another library as its
    time-out: training goes on, and so do later sections.
    """
    with local_session() as w:
        for name, timeout in (("\ud800", None), ("x" * 2_000_000, 3), ("save", Fraction(1, 2))):
            with w.section(name, timeout):
                w.poll()
        with pytest.raises(ValueError, match="could not convert"), w.section("save", "soon"):
            pass
        with w.section("last"):
            assert w.poll() == ()


def test_a_poll_bound_before_a_fork_leaves_the_parents_page_alone():
    """What a forked child polls and reports is not seen beside the parent."""
    script = """
import os
from weavelet.channel.page import Page
from weavelet.testing import local_session

with local_session() as w:
    poll, report, words = w.poll, w.report, w._page.words
    poll(5)
    child = os.fork()
    if not child:
        for step in range(1000, 1010):
            poll(step)
            report(step, loss=1.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(words[Page.STEP], words[Page.SAMPLED])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("5 0\n", 0), done.stderr

"""The trainer's end on real socket pairs: what it keeps, drops, counts and never waits for."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page
from weavelet.channel.trainer import TrainerEnd
from weavelet.messages import (
    Bye,
    Decided,
    Deliver,
    Entry,
    FromTrainer,
    Kept,
    Outcome,
    Position,
    Refused,
    Reports,
    Resume,
    Sample,
    Section,
)

CAPACITY = 64
GREETING = encode(Section("greeting"))


class Peer:
    """The other end: reads and writes raw bytes, as the sidecar's socket does."""

    def __init__(self, end, greeting=GREETING, *, kind=socket.socket):
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        theirs.setblocking(False)
        self.socket = theirs
        self.reader = Reader(FromTrainer)
        end.attach(kind(fileno=ours.detach()), greeting)

    def read(self):
        """All messages that are here now."""
        messages = []
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return messages
            if not data:
                return messages
            messages += self.reader.feed(data)

    def drain(self, end):
        """All messages that the trainer has for us, with as many flushes as it takes."""
        messages = []
        while True:
            end.flush()
            more = self.read()
            if not more and not end._partial:
                return messages
            messages += more

    def send(self, *messages):
        self.socket.sendall(b"".join(map(encode, messages)))

    def close(self):
        self.socket.close()


@pytest.fixture
def end():
    """A trainer's end with a small ring."""
    page = Page.create()
    end = TrainerEnd(page, CAPACITY)
    yield end
    end.close(patience=0)
    page.close_descriptor()


@pytest.fixture
def peer(end):
    """A sidecar's socket attached to it, with the greeting read."""
    peer = Peer(end)
    assert peer.read() == [Section("greeting")]
    yield peer
    peer.close()


def sample(number, **metrics):
    """A sample whose step is its own number."""
    return Sample(number, 0.0, metrics or {"loss": 0.5})


def large(number):
    """A sample that fills a socket with a few of its like."""
    return sample(number, text="x" * 1000)


def numbered(messages):
    """(count over the incarnation, step) of all samples in messages."""
    return [
        (message.first + offset, each.step)
        for message in messages
        if isinstance(message, Reports)
        for offset, each in enumerate(message.samples)
    ]


def outcome(sequence, reason=None):
    """An outcome's frame."""
    return encode(
        Decided(
            Outcome(
                entry=f"e{sequence}",
                sequence=sequence,
                replica="r",
                incarnation="i",
                kind="applied",
                reason=reason,
            )
        )
    )


def sequences(messages):
    """The sequences of all outcomes in messages."""
    return [message.outcome.sequence for message in messages if isinstance(message, Decided)]


def deliver(sequence):
    """An entry on its way."""
    entry = Entry(id=f"e{sequence}", author="a", body=Resume())
    return Deliver(entry, Position("epoch", sequence))


# Samples.


def test_a_ring_without_reader_drops_the_oldest_and_counts_exactly(end):
    """Without a sidecar the newest stay; the page says how many came and how many were lost."""
    for number in range(CAPACITY + 11):
        end.sample(sample(number))
    end.flush()
    assert end.page.words[Page.SAMPLED] == CAPACITY + 11
    assert end.page.words[Page.DROPPED] == 11
    peer = Peer(end)
    assert numbered(peer.drain(end)) == [(n, n) for n in range(11, CAPACITY + 11)]
    assert end.page.words[Page.DROPPED] == 11
    peer.close()


def test_a_full_socket_never_blocks_and_never_tears_a_frame(end, peer):
    """Ten thousand large samples into a sidecar that sleeps: no wait, and what arrives is whole."""
    for number in range(10_000):
        end.sample(large(number))
        end.flush()
    assert end._partial
    got = numbered(peer.drain(end))
    assert peer.reader.malformed == 0
    assert all(count == step for count, step in got)
    assert got == sorted(set(got))
    assert len(got) + end.page.words[Page.DROPPED] == 10_000


def test_a_partial_write_is_finished_before_the_next_frame(end, peer):
    """A frame that is half out goes on first, whatever was posted and decided meanwhile."""
    end.post(encode(Section("a" * 300_000)), "long")
    assert end._partial
    end.decide(1, outcome(1))
    end.post(encode(Section("b")), "short")
    got = peer.drain(end)
    assert [message.name[0] for message in got if isinstance(message, Section)] == ["a", "b"]
    assert sequences(got) == [1]
    assert peer.reader.malformed == 0


def test_an_unsent_message_is_replaced_by_a_newer_of_its_kind(end, peer):
    """Only the last state of a kind goes out, other kinds are not touched."""
    end.post(encode(Section("a" * 300_000)), "long")
    for name in ("one", "two", "three"):
        end.post(encode(Section(name)), "section")
    end.post(encode(Bye()), "bye")
    got = peer.drain(end)
    assert [m.name for m in got if isinstance(m, Section)][1:] == ["three"]
    assert got[-1] == Bye()


def test_a_sample_that_cannot_travel_is_counted_and_takes_no_other_with_it(end, peer):
    """One that is too large and one that msgpack cannot hold are drops; their neighbours arrive."""
    bad = {3: "x" * (1 << 20), 5: 2**64, 6: "\udcff"}
    for number in range(10):
        end.sample(sample(number, value=bad.get(number, 1.0)))
    got = numbered(peer.drain(end))
    assert got == [(n, n) for n in range(10) if n not in bad]
    assert end.page.words[Page.DROPPED] == len(bad)


class Accounting(RuleBasedStateMachine):
    """Samples against a sidecar that reads when it likes, dies, and is replaced."""

    def __init__(self):
        super().__init__()
        self.page = Page.create()
        self.end = TrainerEnd(self.page, CAPACITY)
        self.peer = None
        self.count = 0
        self.got = []
        self.dead_with_some = False

    @rule(count=st.integers(1, 2 * CAPACITY), size=st.sampled_from([0, 200]))
    def sample(self, count, size):
        for _ in range(count):
            self.end.sample(sample(self.count, text="x" * size))
            self.count += 1

    @rule()
    def flush(self):
        self.end.flush()

    @rule()
    def attach(self):
        if self.peer is not None:
            self.kill()
        self.peer = Peer(self.end)

    @precondition(lambda self: self.peer is not None)
    @rule()
    def read(self):
        self.got += numbered(self.peer.read())
        assert self.peer.reader.malformed == 0

    @precondition(lambda self: self.peer is not None)
    @rule()
    def kill(self):
        self.peer.close()
        self.peer = None
        self.dead_with_some = True

    @invariant()
    def all_is_accounted_for(self):
        held = len(self.end._ring)
        assert self.page.words[Page.SAMPLED] == self.count
        self.end.flush()
        dropped = self.page.words[Page.DROPPED]
        assert self.count == self.end._sent + dropped + len(self.end._ring)
        assert 0 <= dropped <= self.count
        assert held <= CAPACITY

    @invariant()
    def numbers_are_true_and_rise(self):
        assert all(count == step for count, step in self.got)
        assert self.got == sorted(set(self.got))

    def teardown(self):
        if self.peer is None:
            self.peer = Peer(self.end)
        self.got += numbered(self.peer.drain(self.end))
        self.numbers_are_true_and_rise()
        missing = self.count - self.page.words[Page.DROPPED] - len(self.got)
        assert missing >= 0
        if not self.dead_with_some:
            assert missing == 0
        self.peer.close()
        self.end.close(patience=0)
        self.page.close_descriptor()


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=60, stateful_step_count=25)


# Outcomes.


def test_outcomes_are_offered_again_until_they_are_kept(end):
    """A new sidecar gets every outcome that the bus has not stored, once, in order."""
    first = Peer(end)
    for sequence in (1, 2, 3):
        end.decide(sequence, outcome(sequence))
    assert sequences(first.read()) == [1, 2, 3]
    first.send(Kept(2))
    assert end.receive() == []
    first.close()
    second = Peer(end)
    assert sequences(second.drain(end)) == [1, 3]
    second.send(Kept(1), Kept(3), Refused("x"))
    assert end.receive() == [Refused("x")]
    third = Peer(end)
    assert sequences(third.drain(end)) == []
    second.close()
    third.close()


def test_an_outcome_that_was_half_sent_is_offered_again_whole(end):
    """A sidecar that dies in the midst of an outcome takes nothing with it."""
    first = Peer(end)
    end.decide(1, outcome(1, reason="x" * 300_000))
    assert end._partial
    first.close()
    end.flush()
    assert not end.attached
    second = Peer(end)
    (_, got) = second.drain(end)
    assert got.outcome.reason == "x" * 300_000
    second.close()


def test_what_was_decided_without_a_sidecar_follows_the_greeting(end):
    """The greeting comes first, then outcomes, then samples."""
    end.decide(1, outcome(1))
    end.sample(sample(0))
    peer = Peer(end)
    kinds = [type(message) for message in peer.drain(end)]
    assert kinds == [Section, Decided, Reports]
    peer.close()


def test_kept_of_an_unsent_outcome_sends_nothing_in_its_place(end, peer):
    """An outcome that a former sidecar has stored after all is skipped without a trace."""
    end.post(encode(Section("a" * 300_000)), "long")
    end.decide(1, outcome(1))
    end.decide(2, outcome(2))
    peer.send(Kept(1))
    end.receive()
    assert sequences(peer.drain(end)) == [2]
    assert peer.reader.malformed == 0


# Receiving.


def test_messages_come_in_order_however_they_are_cut(end, peer):
    """Deliveries split over many writes are received in order."""
    stream = b"".join(encode(deliver(n)) for n in range(5))
    got = []
    for at in range(0, len(stream), 7):
        peer.socket.sendall(stream[at : at + 7])
        got += end.receive()
    assert [message.position.sequence for message in got] == [0, 1, 2, 3, 4]


def test_what_a_dying_sidecar_sent_is_still_received(end, peer):
    """Entries before the end of file are not lost with it, and the end detaches quietly."""
    peer.send(deliver(1))
    peer.close()
    assert [message.position.sequence for message in end.receive()] == [1]
    assert not end.attached
    assert end.receive() == []


def test_a_broken_pipe_detaches_and_keeps_what_was_received(end, peer):
    """Writing to a dead sidecar is no error; what it had sent before is there."""
    peer.send(deliver(1), Kept(9))
    peer.close()
    end.post(encode(Section("x")), "section")
    assert not end.attached
    assert [message.position.sequence for message in end.receive()] == [1]


def test_half_a_message_of_a_dead_sidecar_does_not_spoil_the_next(end, peer):
    """A new sidecar's stream begins afresh."""
    peer.socket.sendall(encode(deliver(1))[:9])
    end.receive()
    peer.close()
    end.receive()
    second = Peer(end)
    second.send(deliver(2))
    assert [message.position.sequence for message in end.receive()] == [2]
    second.close()


def test_waiting_ends_when_something_comes(end, peer):
    """A paused trainer wakes with the message, not with the clock."""
    timer = threading.Timer(0.05, peer.send, [deliver(1)])
    timer.start()
    began = time.monotonic()
    end.wait(30)
    assert time.monotonic() - began < 10
    assert len(end.receive()) == 1
    timer.join()


def test_waiting_without_a_sidecar_only_takes_its_time(end):
    """Without a channel it waits and returns."""
    began = time.monotonic()
    end.wait(0.02)
    assert time.monotonic() - began >= 0.02


# Closing.


def test_close_sends_what_a_slow_reader_takes_in_time(end, peer):
    """The goodbye gets out behind a full socket if the sidecar reads."""
    end.post(encode(Section("a" * 300_000)), "long")
    end.post(encode(Bye()), "bye")
    got = []

    def read():
        while data := (select.select([peer.socket], [], [], 10), peer.socket.recv(1 << 16))[1]:
            got.extend(peer.reader.feed(data))

    reading = threading.Thread(target=read)
    reading.start()
    end.close(patience=10)
    reading.join()
    assert got[-1] == Bye()


def test_close_does_not_wait_longer_than_its_patience(end, peer):
    """A sidecar that does not read cannot hold the trainer at its end."""
    end.post(encode(Section("a" * 300_000)), "long")
    began = time.monotonic()
    end.close(patience=0.05)
    assert time.monotonic() - began < 5
    assert not end.attached


def test_a_forked_child_waits_for_no_thread_of_its_parent(end, peer):
    """The lock that another thread held at the fork is nobody's there."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with end._lock:
            held.set()
            done.wait(20)

    def report():
        end.sample(Sample(1, 0.0, {"a": 1}))
        end.flush()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    end.close_in_child()
    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    reporter.join(5)
    waits = reporter.is_alive()
    done.set()
    holder.join()
    reporter.join()
    assert not waits
    assert not end.attached


def test_a_closed_end_takes_no_new_sidecar(end):
    """A sidecar that comes too late finds its socket closed."""
    end.close()
    peer = Peer(end)
    assert peer.socket.recv(10) == b""
    assert not end.attached
    peer.close()


# Signals and threads.


class Interrupted(socket.socket):
    """A socket during whose every send a signal arrives."""

    def send(self, data, flags=0):
        sent = super().send(data, flags)
        signal.raise_signal(signal.SIGUSR1)
        return sent


def test_a_signal_handler_may_report_in_the_midst_of_a_report(end):
    """A report from a handler that interrupts a sending neither blocks nor corrupts the stream."""
    count = 0
    left = 40

    def report():
        nonlocal count
        end.sample(large(count))
        count += 1
        end.flush()

    def handler(number, frame):
        nonlocal left
        if left:
            left -= 1
            report()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        peer = Peer(end, kind=Interrupted)
        got = numbered(peer.read())
        for _ in range(100):
            report()
            got += numbered(peer.read())
        got += numbered(peer.drain(end))
        end.close()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert left == 0
    assert peer.reader.malformed == 0
    assert [step for _, step in got] == sorted({step for _, step in got})
    assert all(number == step for number, step in got)
    assert len(got) + end.page.words[Page.DROPPED] == count
    peer.close()


def test_timer_signals_anywhere_in_a_report_keep_the_account(end):
    """Signals that arrive at any instruction leave numbers and counts exact."""
    peer = Peer(end)
    count = 0

    def report(*_):
        nonlocal count
        count += 1
        end.sample(sample(0))
        end.flush()

    got = []
    before = signal.signal(signal.SIGALRM, report)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            report()
            got += numbered(peer.read())
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    got += numbered(peer.drain(end))
    numbers = [number for number, _ in got]
    assert peer.reader.malformed == 0
    assert numbers == sorted(set(numbers))
    assert len(got) + end.page.words[Page.DROPPED] == end.page.words[Page.SAMPLED] == count
    peer.close()


def test_threads_report_together_without_loss(end):
    """Samples of several threads are all counted, and numbered without a gap."""
    peer = Peer(end)

    def report():
        for _ in range(500):
            end.sample(sample(0))
            end.flush()

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    got = []
    while any(thread.is_alive() for thread in threads):
        got += numbered(peer.read())
    for thread in threads:
        thread.join()
    got += numbered(peer.drain(end))
    assert end.page.words[Page.SAMPLED] == 2000
    assert len({number for number, _ in got}) == len(got)
    assert len(got) + end.page.words[Page.DROPPED] == 2000
    peer.close()


SIGPIPE = """
import signal, socket
from weavelet.channel.page import Page
from weavelet.channel.trainer import TrainerEnd
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
end = TrainerEnd(Page.create())
ours, theirs = socket.socketpair()
end.attach(ours, b"")
theirs.close()
end.post(b"frame", "key")
print("alive", end.attached)
"""

MANY_FILES = """
import fcntl, os, resource, socket, time
from weavelet.channel.frames import encode
from weavelet.channel.page import Page
from weavelet.channel.trainer import TrainerEnd
from weavelet.messages import Kept, Section
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
end = TrainerEnd(Page.create())
ours, theirs = socket.socketpair()
high = fcntl.fcntl(ours.fileno(), fcntl.F_DUPFD, 1500)
end.attach(socket.socket(fileno=high), b"")
began = time.monotonic()
end.wait(0.1)
print(time.monotonic() - began >= 0.1)
theirs.send(encode(Kept(1)))
began = time.monotonic()
end.wait(30)
print(time.monotonic() - began < 10)
end.post(encode(Section("x" * 900_000)), "long")
end.close()
print(end.attached)
"""


def output_of(program):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_dead_sidecar_does_not_kill_a_script_that_restored_sigpipe():
    """With SIGPIPE at its default a write to a dead sidecar must not end training."""
    assert output_of(SIGPIPE) == ["alive", "False"]


def test_a_trainer_with_a_thousand_open_files_waits_and_closes():
    """Descriptors beyond 1023, which select() refuses, are waited for like others."""
    assert output_of(MANY_FILES) == ["True", "True", "False"]

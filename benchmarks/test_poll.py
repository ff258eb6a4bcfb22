"""poll() with nothing waiting, and with changes."""

from __future__ import annotations

import multiprocessing
import queue
import socket
import statistics
import time

from measure import Turns, without_garbage_collection

import weavelet
from weavelet.channel.frames import encode
from weavelet.channel.page import Page
from weavelet.channel.trainer import TrainerEnd
from weavelet.messages import Deliver, Entry, Position, Set


class Empty:
    def poll(self, step=None):
        pass


def polls(owner):
    def loop(steps):
        for step in steps:
            owner.poll(step)

    return loop


def looks_into(waiting):
    def loop(steps):
        for _ in steps:
            try:
                waiting.get_nowait()
            except queue.Empty:
                pass

    return loop


def register(session, count):
    """Declare controls c0, c1, ...; returns their values, where handlers put them."""
    values = {}

    def declare(name):
        values[name] = 0.0

        @session.handler(name, get=lambda: values[name])
        def set_value(value: float) -> None:
            values[name] = value

    for at in range(count):
        declare(f"c{at}")
    return values


def test_poll_with_nothing_waiting(benchmark, figures, unreachable):
    """Beside an empty method and an empty multiprocessing.Queue, in one loop each, in turns."""
    waiting = multiprocessing.Queue()
    sessions = {count: weavelet.session(f"with-{count}").start() for count in (0, 10, 1000)}
    for count, session in sessions.items():
        register(session, count)
        session.poll(0)
    turns = Turns(
        {
            "an empty method": polls(Empty()),
            **{f"poll, {count} controls": polls(each) for count, each in sessions.items()},
            "poll, 10 controls again": polls(sessions[10]),
            "an empty method again": polls(Empty()),
            "mp.Queue.get_nowait": looks_into(waiting),
        }
    )
    with without_garbage_collection():
        benchmark.pedantic(turns.take, rounds=200, warmup_rounds=5)
    for session in sessions.values():
        session.stop()
    waiting.close()

    empty = turns.nanoseconds("an empty method")
    poll = turns.nanoseconds("poll, 10 controls")
    for name in turns.seconds:
        if name:
            figures.add(name, turns.nanoseconds(name), "ns", note="the bare loop taken off")
    figures.add("poll / an empty method", poll / empty, "x", at_most=4, note="aim: 2")
    figures.add(
        "poll / mp.Queue.get_nowait",
        poll / turns.nanoseconds("mp.Queue.get_nowait"),
        "x",
        at_most=1 / 15,
    )
    again = turns.nanoseconds("poll, 10 controls again")
    figures.add("poll / the same poll (A against A)", again / poll, "x")
    benchmark.extra_info |= {name: turns.nanoseconds(name) for name in turns.seconds if name}


class Wired:
    """A session whose other end is here, so that a poll's work is this process's alone."""

    def __init__(self, controls):
        self.session = weavelet.session("wired")
        self.values = register(self.session, controls)
        page = Page.create()
        end = TrainerEnd(page)
        self.session._connect(page, end)
        self._page = page
        ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        end.attach(ours, b"")
        self._sequence = 0
        self.session.poll(0)

    def deliver(self, values):
        self._sequence += 1
        entry = Entry(id=f"e{self._sequence}", author="bench", body=Set(values))
        self._theirs.send(encode(Deliver(entry, Position("epoch", self._sequence))))
        self._page.ring()

    def drain(self):
        try:
            while self._theirs.recv(1 << 16):
                pass
        except BlockingIOError:
            pass

    def close(self):
        self._theirs.close()
        self.session.stop()


def test_poll_with_changes(benchmark, figures, unreachable):
    """From the ring to the answer's way out; the handlers store one number each."""
    wired = Wired(10)
    seconds = {1: [], 10: []}

    def turn():
        for count, each in seconds.items():
            value = float(len(each))
            wired.deliver({f"c{at}": value for at in range(count)})
            began = time.perf_counter()
            changes = wired.session.poll(1)
            each.append(time.perf_counter() - began)
            assert len(changes) == count
            wired.drain()

    benchmark.pedantic(turn, rounds=1000, warmup_rounds=10)
    wired.close()
    for count, bound in ((1, None), (10, 200)):
        figures.add(
            f"poll with {count} change{'s' * (count > 1)}, p50",
            statistics.median(seconds[count]) * 1e6,
            "us",
            at_most=bound,
            note="with handlers that store a number",
        )


def test_registering(benchmark, figures, unreachable):
    """100 controls declared on a running session."""
    began_with = []

    def declare():
        session = weavelet.session("registers").start()
        began = time.perf_counter()
        register(session, 100)
        began_with.append(time.perf_counter() - began)
        session.stop()

    benchmark.pedantic(declare, rounds=10, warmup_rounds=1)
    figures.add("100 registrations", statistics.median(began_with) * 1e3, "ms", at_most=20)

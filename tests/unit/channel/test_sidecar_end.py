"""The sidecar's end against a real trainer's end, on one loop."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from weavelet.channel import sidecar
from weavelet.channel.frames import MAX_FRAME_BYTES, encode
from weavelet.channel.page import Page
from weavelet.channel.sidecar import SidecarEnd
from weavelet.channel.trainer import TrainerEnd
from weavelet.exceptions import MalformedError
from weavelet.messages import Kept, Refused, Reports, Sample, Section

DEADLINE = 20.0


class Channel:
    """Both ends, as two processes would hold them."""

    def __init__(self):
        self.page = Page.create()
        self.ours, theirs = socket.socketpair()
        for each in (self.ours, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.shared = Page(os.dup(self.page.descriptor))
        self.sidecar = SidecarEnd(theirs.detach(), self.shared)
        self.trainer = TrainerEnd(self.page)
        self.trainer.attach(self.ours, encode(Section("greeting")))

    def close(self):
        self.trainer.close(patience=0)
        self.sidecar._socket.close()
        self.page.close_descriptor()
        self.shared.close_descriptor()

    @property
    def bell(self):
        return self.page.words[Page.BELL]

    def silence(self):
        self.page.words[Page.BELL] = 0


@pytest.fixture
def channel():
    channel = Channel()
    yield channel
    channel.close()


async def rung(channel):
    """Wait until the trainer's bell rings."""
    until = asyncio.get_running_loop().time() + DEADLINE
    while not channel.bell:
        assert asyncio.get_running_loop().time() < until, "the bell did not ring in time"
        await asyncio.sleep(0)


def run(test):
    """Run a coroutine with a deadline."""
    return asyncio.run(asyncio.wait_for(test, DEADLINE))


@pytest.mark.parametrize("size", [1 << 19, 100], ids=["one large frame", "many small ones"])
def test_what_finds_no_room_is_fetched(channel, size):
    """A trainer that sends only when its bell rings gets all across, however little fits."""
    count = 1 if size > 100 else 1000
    channel.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 106_496)  # Linux's default
    names = []

    async def read():
        async for message in channel.sidecar.messages():
            names.append(message.name.strip())
            if len(names) == count + 1:
                break

    async def poll():
        while True:
            await rung(channel)
            channel.silence()
            channel.trainer.flush()

    async def both():
        polling = asyncio.ensure_future(poll())
        try:
            await read()
        finally:
            polling.cancel()

    for at in range(count):
        channel.trainer.post(encode(Section(f"{at}".ljust(size))), at)
    channel.silence()
    run(both())
    assert names == ["greeting", *map(str, range(count))]


def test_messages_come_in_order_until_the_trainer_closes(channel):
    """What was posted before the end is read, then the iteration ends."""

    async def read():
        return [message async for message in channel.sidecar.messages()]

    for name in "abc":
        channel.trainer.post(encode(Section(name)), name)
    channel.trainer.close()
    assert [message.name for message in run(read())] == ["greeting", "a", "b", "c"]


def test_a_message_rings_the_bell_when_it_can_be_read(channel):
    """The ring comes after the bytes: a trainer that hears it finds them."""

    async def send():
        channel.silence()
        channel.sidecar.send(Refused("x"))
        await rung(channel)
        return channel.trainer.receive()

    assert run(send()) == [Refused("x")]


def test_more_than_the_socket_takes_arrives_whole_while_the_trainer_polls(channel):
    """Many large messages to a trainer that looks whenever it is rung: all come, in order."""
    sent = [Refused(f"{number} " + "x" * 50_000) for number in range(20)]

    async def send():
        got = []
        for message in sent:
            channel.sidecar.send(message)
        while len(got) < len(sent):
            await rung(channel)
            channel.silence()
            got += channel.trainer.receive()
        return got

    assert run(send()) == sent


def test_a_full_socket_rings_for_what_is_there_already(channel):
    """A trainer that has not been rung would never make room."""

    async def send():
        channel.silence()
        channel.sidecar.send(Refused("x" * 900_000))
        await rung(channel)
        return channel.trainer.receive()

    assert run(send()) == []


def test_a_message_too_large_for_a_frame_is_refused_at_once(channel):
    """The error comes to whoever sends it, and the channel goes on."""

    async def send():
        with pytest.raises(MalformedError):
            channel.sidecar.send(Refused("x" * (MAX_FRAME_BYTES + 1)))
        channel.sidecar.send(Refused("y"))
        await rung(channel)
        return channel.trainer.receive()

    assert run(send()) == [Refused("y")]


def test_sending_to_a_trainer_that_is_gone_is_no_error(channel):
    """Its end is told by other means."""

    async def send():
        channel.ours.close()
        channel.sidecar.send(Kept(1))
        await channel.sidecar._sending
        channel.sidecar.send(Kept(2))
        await channel.sidecar._sending

    run(send())


def test_what_a_dead_trainer_left_is_read_without_its_end(channel):
    """A forked worker holds the socket open: what lies in it comes, without waiting for more."""
    worker = channel.ours.dup()
    for number in range(3):
        channel.trainer.sample(Sample(number, 0.0, {"loss": 1.0}))
    channel.trainer.close()
    section, reports = channel.sidecar.remaining()
    assert section == Section("greeting")
    assert isinstance(reports, Reports)
    assert [sample.step for sample in reports.samples] == [0, 1, 2]
    assert channel.sidecar.remaining() == []
    worker.close()
    assert channel.sidecar.remaining() == []


def test_half_a_message_before_the_cancellation_is_whole_after_it(channel):
    """Reading can be given up and finished with what remains."""
    frame = encode(Section("x" * 100))

    async def read():
        messages = channel.sidecar.messages()
        greeting = await anext(messages)
        channel.ours.send(frame[:50])
        reading = asyncio.ensure_future(anext(messages))
        await asyncio.wait([reading], timeout=0.01)
        reading.cancel()
        await asyncio.wait([reading])
        return greeting

    assert run(read()) == Section("greeting")
    assert channel.sidecar._reader._buffer
    channel.ours.send(frame[50:])
    assert channel.sidecar.remaining() == [Section("x" * 100)]


def test_garbage_is_counted_and_read_over(channel):
    """A body that is no message costs itself alone."""
    channel.ours.send(b"\x00\x00\x00\x01\xc1" + encode(Section("after")))
    assert channel.sidecar.remaining() == [Section("greeting"), Section("after")]
    assert channel.sidecar.malformed == 1


def test_a_ring_by_itself_makes_the_trainer_look(channel):
    """Without a message, to have held samples sent."""
    channel.silence()
    channel.sidecar.ring()
    assert channel.bell


def test_what_comes_unasked_is_looked_for(channel, monkeypatch):
    """Nobody waits on the socket of a trainer that owes no answer, and still it is read."""
    monkeypatch.setattr(sidecar, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(sidecar, "LOOK_SECONDS", 0.01)

    async def read():
        messages = channel.sidecar.messages()
        await anext(messages)
        reading = asyncio.ensure_future(anext(messages))
        await asyncio.wait([reading], timeout=0.02)
        channel.trainer.post(encode(Section("later")), "section")
        waited_on = asyncio.get_running_loop().remove_reader(channel.sidecar._socket)
        return await reading, waited_on

    assert run(read()) == (Section("later"), False)


def test_an_answer_is_waited_for(channel, monkeypatch):
    """After a message to the trainer, what it says is read as soon as it comes."""
    monkeypatch.setattr(sidecar, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(sidecar, "LOOK_SECONDS", 10 * DEADLINE)

    async def read():
        messages = channel.sidecar.messages()
        await anext(messages)
        reading = asyncio.ensure_future(anext(messages))
        await asyncio.wait([reading], timeout=0.01)
        monkeypatch.setattr(sidecar, "ANSWER_SECONDS", 20 * DEADLINE)
        channel.sidecar.send(Kept(1))
        await asyncio.wait([reading], timeout=0.01)
        channel.trainer.post(encode(Section("answer")), "section")
        return await reading

    assert run(read()) == Section("answer")

"""Messages to test the weaver with, a running weaver, and both of its neighbours."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from contextlib import asynccontextmanager

import aiohttp

from weavelet.exceptions import MalformedError
from weavelet.messages import (
    Change,
    ControlSpec,
    Entry,
    Heartbeat,
    Identity,
    Lifecycle,
    Outcome,
    Registration,
    ReportBatch,
    Set,
)
from weavelet.weaver.service import Options, Service
from weavelet.wire import envelope, subjects

LR = ControlSpec(
    name="lr",
    kind="control",
    schema='{"type": "number", "exclusiveMinimum": 0, "maximum": 1}',
    value=0.1,
)
SAVE = ControlSpec(
    name="save",
    kind="action",
    schema=(
        '{"type": "object", "properties": {"path": {"type": "string"}},'
        ' "required": ["path"], "additionalProperties": false}'
    ),
)


def identity(replica="rank-0", *, run="train", job="j1", incarnation="a"):
    """Who a replica is."""
    return Identity(run=run, job=job, replica=replica, incarnation=incarnation, pid=1, host="host")


def registration(replica="rank-0", *, controls=(LR, SAVE), **who):
    """A replica's announcement."""
    return Registration(identity=identity(replica, **who), controls=controls)


def beat(replica="rank-0", *, incarnation="a", state="running", **more):
    """A heartbeat."""
    return Heartbeat(replica=replica, incarnation=incarnation, state=state, **more)


def lifecycle(state, replica="rank-0", *, incarnation="a", **more):
    """The end of an incarnation, or a conflict."""
    return Lifecycle(replica=replica, incarnation=incarnation, state=state, **more)


def outcome(entry, kind="applied", replica="rank-0", *, sequence=2, incarnation="a", **more):
    """What became of an entry."""
    return Outcome(
        entry=entry, sequence=sequence, replica=replica, incarnation=incarnation, kind=kind, **more
    )


def set_entry(entry="e1", addressed=("rank-0",), *, deadline=60.0, body=None, **more):
    """An entry that sets the learning rate."""
    return Entry(
        id=entry,
        author="ann@host",
        body=body if body is not None else Set({"lr": 0.5}),
        addressed=addressed,
        deadline=deadline,
        **more,
    )


@asynccontextmanager
async def serving(home, **options):
    """A weaver with its own NATS server, or with `nats_url`, in this loop and on a free port."""
    service = Service(Options(home=home, port=options.pop("port", 0), **options))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


class FakeReplica:
    """A replica that speaks the real protocol: registers, beats, follows the log and answers.

    `answers` maps a control to what becomes of a Set of it; the default is applied. While `mute`
    it reads nothing.
    """

    def __init__(self, bus, replica="rank-0", *, run="train", job="j1", incarnation="a"):
        self.bus = bus
        self.name, self.run, self.job, self.incarnation = replica, run, job, incarnation
        self.answers = {}
        self.mute = False
        self.step = 0
        self.received = 0
        self.state = "running"
        self.seen = []
        self.result = None
        self._count = 0
        self._reported = 0

    async def store(self, message):
        """Put a message into the outcome stream."""
        self._count += 1
        await self.bus.append(
            subjects.outcome(self.run, self.job, self.name),
            envelope.encode(message),
            message_id=f"{self.incarnation}-{self._count}-{secrets.token_hex(4)}",
        )

    async def register(self, controls=(LR, SAVE)):
        """Announce itself, and be heard."""
        who = identity(self.name, run=self.run, job=self.job, incarnation=self.incarnation)
        await self.store(Registration(identity=who, controls=controls))
        await self.beat()

    async def beat(self):
        """One heartbeat."""
        said = beat(
            self.name,
            incarnation=self.incarnation,
            state=self.state,
            step=self.step,
            received=self.received,
        )
        await self.bus.publish(
            subjects.heartbeat(self.run, self.job, self.name), envelope.encode(said)
        )

    async def report(self, **metrics):
        """One sample."""
        batch = ReportBatch(
            replica=self.name,
            incarnation=self.incarnation,
            first=self._reported,
            steps=(self.step,),
            at=(0.0,),
            columns={name: (value,) for name, value in metrics.items()},
        )
        await self.bus.store(
            subjects.report(self.run, self.job, self.name),
            envelope.encode(batch),
            message_id=f"{self.incarnation}.report.{self._reported}",
            timeout=20.0,
        )
        self._reported += 1

    async def end(self, state="exited"):
        """Say that this life is over."""
        await self.store(lifecycle(state, self.name, incarnation=self.incarnation))

    async def live(self):
        """Register, then beat once a second and answer the log until cancelled."""
        await self.register()
        await asyncio.gather(self._beat(), self._answer())

    async def _beat(self):
        while True:
            await asyncio.sleep(1.0)
            await self.beat()

    async def _answer(self):
        epoch = await self.bus.epoch()
        log = self.bus.follow(
            subjects.CONTROL, subjects.control(self.run, self.job), 0, epoch=epoch
        )
        async for stored in log:
            try:
                entry = envelope.decode(stored.data)
            except MalformedError:
                continue
            self.seen.append(entry)
            if self.mute or self.name not in entry.addressed:
                continue
            self.received = stored.sequence
            await self.store(self._outcome(entry, stored.sequence))

    def _outcome(self, entry, sequence):
        values = entry.body.values if isinstance(entry.body, Set) else {}
        kind, reason = next((self.answers[name] for name in values if name in self.answers), OK)
        changes = [Change(name, 0.1, new) for name, new in values.items() if kind == "applied"]
        return Outcome(
            entry=entry.id,
            sequence=sequence,
            replica=self.name,
            incarnation=self.incarnation,
            kind=kind,
            step=self.step,
            changes=tuple(changes),
            reason=reason,
            result=self.result,
        )

    async def saw(self, kind):
        """The first body of a kind that it reads in the log."""
        while True:
            for entry in self.seen:
                if isinstance(entry.body, kind):
                    return entry.body
            await asyncio.sleep(0.01)


OK = ("applied", None)


@asynccontextmanager
async def living(bus, *names, **who):
    """Fake replicas that live on a bus."""
    replicas = [FakeReplica(bus, name, **who) for name in names or ("rank-0",)]
    tasks = [asyncio.ensure_future(replica.live()) for replica in replicas]
    try:
        yield replicas
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Talk:
    """A WebSocket client that speaks the protocol as plain dictionaries."""

    def __init__(self, socket):
        self.socket = socket
        self.heard = []
        self._numbers = itertools.count(1)

    async def next(self):
        """The next message."""
        message = await asyncio.wait_for(self.socket.receive(), 20)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        self.heard.append(json.loads(message.data))
        return self.heard[-1]

    async def until(self, condition):
        """The first message from now on that meets a condition."""
        while not condition(message := await self.next()):
            pass
        return message

    async def send(self, kind, **fields):
        """Send a request; returns its id."""
        number = fields.pop("id", None) or f"n{next(self._numbers)}"
        await self.socket.send_str(json.dumps({"type": kind, "id": number, **fields}))
        return number

    async def ask(self, kind, **fields):
        """Send a request; returns the first answer to it."""
        number = await self.send(kind, **fields)
        return await self.until(lambda message: message.get("id") == number)

    async def command(self, kind, **fields):
        """Send a command; returns its last answer."""
        number = await self.send(kind, **fields)
        return await self.until(
            lambda message: (
                message.get("id") == number
                and (message["type"] == "error" or message.get("settled"))
            )
        )

    async def rows(self, condition):
        """Subscribe, and wait until the rows, by replica, meet a condition."""
        rows = {}
        await self.send("subscribe")
        while True:
            message = await self.next()
            if message["type"] == "snapshot":
                rows = {row["replica"]: row for job in message["jobs"] for row in job["replicas"]}
            elif message["type"] == "status_update":
                rows.update({row["replica"]: row for row in message["replicas"]})
            if condition(rows):
                return rows


@asynccontextmanager
async def talking(endpoint, *, token=None, headers=None):
    """A connection to a weaver, by default with the operator's token."""
    sent = {"Authorization": f"Bearer {token or endpoint.token}", **(headers or {})}
    async with aiohttp.ClientSession() as session:
        url = f"{endpoint.http_url}/ws"
        async with session.ws_connect(url, headers=sent, max_msg_size=0) as socket:
            yield Talk(socket)

"""A world of simulated ranks: one store, one clock, one operator, and every order of events drawn
from a seed. `World(seed).run()` raises `BrokenError` where an invariant of agreement does not hold.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict

from msgspec.structs import replace

from weavelet import adoption, agreement
from weavelet.keystore import Add, Claim, Delete, Put, Read, Sleep, StoreLostError
from weavelet.messages import (
    Act,
    Change,
    Deliver,
    Entry,
    Outcome,
    Pause,
    Position,
    Resume,
    Set,
    Settled,
    Stop,
)
from weavelet.sidecar.joining import Logged, plan
from weavelet.transaction import Verdict

NAMES = ("lr", "wd", "clip")
RUN_AHEADS = (0, 2, 7, 25, None, None)
PATIENCE = 5.0
OPERATOR_PATIENCE = 15.0
MOST_EVENTS = 300_000
LAST = 1.0
"""Seconds for which a sidecar outlives its trainer; a launcher takes longer to start it anew."""
END = "the end of training"


class BrokenError(AssertionError):
    """An invariant does not hold."""


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


class MemoryStore:
    """A dict that treats counters and texts as torch's TCPStore does."""

    def __init__(self):
        self.data = {}

    def put(self, key, value):
        if not isinstance(value, bytes) or value in {b"", b"?"}:
            raise BrokenError(f"{key} was to be set to {value!r}")
        self.data[key] = value

    def add(self, key, amount):
        total = int(self.data.get(key, b"0")) + amount
        self.data[key] = str(total).encode()
        return total

    def claim(self, key, value):
        return self.data.setdefault(key, value)

    def read(self, key):
        return self.data.get(key)

    def delete(self, key):
        self.data.pop(key, None)

    def carry_out(self, request):
        kind = type(request)
        if kind is Read:
            return self.data.get(request.key)
        if kind is Add:
            return self.add(request.key, request.amount)
        if kind is Claim:
            return self.claim(request.key, request.value)
        if kind is Put:
            return self.put(request.key, request.value)
        return self.delete(request.key)


class Train:
    """A training step."""


class Barrier:
    """The collective at the end of a step."""


TRAIN, BARRIER = Train(), Barrier()


class Fault:
    """What happens to a rank at its nth operation, of all or of those on some keys."""

    def __init__(self, rng):
        self.kind = rng.choice(("die", "die", "freeze", "freeze", "interrupt", "lose"))
        self.after = rng.random() < 0.5
        self.where = rng.choice(("", "/x/", "/x/", "/d/", "/e/"))
        self.count = int(2 ** rng.uniform(0, 5.5 if self.where else 10))
        self.seconds = rng.choice((0.01, 0.3, 3.0, 0.6 * PATIENCE, 1.1 * PATIENCE, 2.5 * PATIENCE))

    def strikes(self, request):
        if self.where not in getattr(request, "key", ""):
            return False
        self.count -= 1
        return self.count == 0


class Trainer:
    """One rank in one life; also the replica that its agreement acts for."""

    def __init__(self, world, life, rank, values, past):
        self.world, self.life, self.rank = world, life, rank
        self.values = dict(values)
        self.start_values = dict(values)
        self.past = dict(past)
        self.name = f"rank-{rank}"
        self.agreement = agreement.Agreement(
            self,
            rank=rank,
            ranks=world.ranks,
            name=self.name,
            incarnation=f"{world.rng.getrandbits(64):016x}",
            clock=lambda: world.now,
            patience=PATIENCE,
            seconds=world.seconds,
            past=past,
        )
        self.status = "running"  # finished, dead
        self.inbox = []
        self.done = life.first - 1
        self.step = life.first - 1
        self.tick_times = []
        self.ran = set()
        self.olds = {}
        self.endings = {}
        self.submitted = set()
        self.waited = 0.0
        self.must_hold = False
        self.came = None
        self.folded = False
        self.unadopted = []
        self.alone = {}
        self.was_off = False
        self.mute_from = None
        self.skip_at = None
        self.leave_at = None
        self.fault = None
        self.interrupt_run = None
        self.interrupted = False
        self.lost = False
        self.skew = 1.0
        self.program = self.main()
        self.pending = None

    # The replica.

    def validate(self, entry):
        refuse, _ = self.world.behaviour.get(entry.id, (None, None))
        return "not with me" if refuse == self.rank else None

    def run(self, entry):
        self.check(entry.id not in self.ran, f"{entry.id} ran twice in one life")
        self.ran.add(entry.id)
        at_step = entry.at_step
        self.check(at_step is None or self.step >= at_step, f"{entry.id} ran before its step")
        _, fail = self.world.behaviour.get(entry.id, (None, None))
        body = entry.body
        if isinstance(body, Set):
            if body.dry_run:
                return Verdict("skipped", reason="dry run")
            self.come_to_harm()
            if fail == self.rank:
                return Verdict("failed", reason="handler raised")
            changes = tuple(Change(k, self.values.get(k), v) for k, v in body.values.items())
            self.olds[entry.id] = changes
            self.values.update(body.values)
            return Verdict("applied", changes)
        if isinstance(body, Act):
            self.come_to_harm()
            self.world.count_action(self, entry.id)
            if fail == self.rank:
                return Verdict("failed", reason="action raised")
            return Verdict("applied", result=self.rank)
        if isinstance(body, (Pause, Resume)):
            self.must_hold = isinstance(body, Pause) and body.lease is None
        return Verdict("applied")

    def come_to_harm(self):
        if self.interrupt_run is not None and len(self.ran) >= self.interrupt_run:
            self.interrupt_run = None
            raise Interrupted

    def undo(self, entry):
        for change in self.olds.pop(entry.id):
            self.values[change.name] = change.old

    def conclude(self, ending):
        orders = {each.entry: each.order for each in ending.adopts}
        for identifier, order in (orders or {ending.entry.id: ending.order}).items():
            self.check(identifier not in self.endings, f"two outcomes of {identifier}")
            early = bool(ending.adopts) and ending.verdict.kind == "applied"
            self.check(not early or self.world.has_come(identifier, self.step), "adopted too early")
            again = identifier in self.past and (
                order != self.past[identifier].order or ending.entry.id != identifier
            )
            self.check(not again, f"{identifier} of an earlier life was decided again")
            self.endings[identifier] = ending
        self.world.report(self, ending)

    # The training script.

    def main(self):
        for step in range(self.life.first, self.world.steps):
            self.step = step
            if self.leave_at == step:
                break
            if self.is_polling(step):
                yield from self.poll(step)
                if self.world.rng.random() < self.world.twice:
                    yield from self.poll(step)
            if self.agreement.stop is not None or self.interrupted:
                break
            self.check(self.agreement.off or not self.must_hold, "trained while paused")
            self.world.save(self, step)
            yield TRAIN
            self.done = step
            yield BARRIER
        yield from self.agreement.leave(END)

    def is_polling(self, step):
        return step != self.skip_at and (self.mute_from is None or step < self.mute_from)

    def poll(self, step):
        due = self.agreement.tick(step)
        if len(self.tick_times) < self.agreement._tick + 1:
            self.tick_times.append(self.world.now)
        self.take()
        if not due:
            self.adopt_alone()
            return
        program = self.agreement.poll()
        answer = None
        self.waited = 0.0
        self.came = self.world.now
        while True:
            try:
                request = program.send(answer)
            except StopIteration:
                break
            except Interrupted:
                self.life.cause = "interrupted in a handler"
                self.interrupted = True
                program, answer = self.agreement.leave("interrupted"), None
                continue
            try:
                answer = yield request
            except StoreLostError:
                self.agreement.break_off("its store is lost")
                break
            if type(request) is Sleep and request.paused:
                self.take()
        off = self.agreement.off is not None
        self.adopt_alone()
        if off and not self.was_off:
            self.was_off = True
            self.world.lost(self)
        self.came = None

    def take(self):
        """What the sidecar brought, handled between two polls or while paused."""
        while self.inbox:
            message = self.inbox.pop(0)
            if isinstance(message, Deliver):
                self.submit(message)
                continue
            self.folded = True
            self.unadopted = message
            applied = [adoption.committed(one) for one in message]
            plan = adoption.fold(applied, self.agreement.decided, self.step)
            self.check_fold(applied, plan)
            self.agreement.adopt(plan)

    def adopt_alone(self):
        """What the ranks could not adopt together."""
        if self.agreement.off is None:
            return
        left = self.agreement.left_over(self.unadopted)
        self.unadopted = [one for one in left if (one.at_step or 0) > self.step]
        for one in left:
            self.submitted.discard(one.entry)
            if one not in self.unadopted:
                self.alone.update(one.values)
                self.values.update(one.values)

    def check_fold(self, applied, plan):
        """Who committed last holds, now or, if it waits for its step, then."""
        last = {}
        decided = self.agreement.decided
        waiting = {each.entry.id: each.entry.body.values for each in plan.waiting}

        def order(each):
            past = decided.get(each.entry.id)
            return max(each.order, past.order if past else 0)

        for each in sorted(applied, key=order):
            last.update(dict.fromkeys(each.entry.body.values, each.entry))
        held = adoption._held(decided.values())
        orders = {each.entry.id: order(each) for each in applied}
        for name, entry in last.items():
            if entry.id not in decided and held.get(name, 0) <= orders[entry.id]:
                come = self.world.has_come(entry.id, self.step)
                given = plan.values.values if come else waiting.get(entry.id, {})
                self.check(given.get(name) == entry.body.values[name], f"{entry.id} lost")

    def submit(self, message):
        targets = message.entry.targets
        if not targets or self.name in targets:
            self.submitted.add(message.entry.id)
        self.agreement.submit(message)

    def decided(self):
        """What the ranks decided in this life, in order."""
        return [
            (key, "committed", past.order, past.step)
            if past.kind in {"applied", "skipped"}
            else (key, past.kind, past.order)
            for key, past in self.agreement.decided.items()
            if not any(key in each.past for each in self.life.trainers)
        ]

    def check(self, condition, text):
        if not condition:
            raise BrokenError(f"life {self.life.number} rank {self.rank} step {self.step}: {text}")


class Life:
    """One life of the job: its ranks from start to end."""

    def __init__(self, world, number, first):
        self.number, self.first = number, first
        self.began = world.now
        self.cause = None
        self.over = False
        self.loses = world.rng.random() < 0.5
        self.doomed_at = None
        self.trainers = []


class World:
    """Everything that happens to one job, drawn from one seed."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        self.seed = seed
        self.now = 0.0
        self.count = 0
        self.heap = []
        self.store = MemoryStore()
        self.ranks = rng.choice((1, 2, 2, 3, 3, 4, 5))
        self.run_ahead = rng.choice(RUN_AHEADS)
        self.steps = rng.choice((20, 40, 60, 120))
        self.twice = rng.choice((0.0, 0.0, 0.2))
        self.pace = 10 ** rng.uniform(-2.5, -0.4)
        self.seconds = rng.choice((0.5, 0.02, 0.02, 3.0))
        self.every = rng.choice((5, 10, 25, 1000))
        self.latency = 10 ** rng.uniform(-4.5, -2.5)
        self.lives = rng.choice((1, 1, 2, 3, 4))
        self.transit = rng.choice((20.0, 5.0, 0.3))
        self.kind = rng.choice(("any",) * 8 + ("straggler", "restarts", "restarts"))
        if self.kind == "restarts":
            self.lives = 4
            self.steps = 40
            self.pace = 10 ** rng.uniform(-1.5, -0.7)
        if self.kind == "straggler":
            self.ranks, self.run_ahead, self.lives = rng.choice((2, 3)), None, 1
            self.steps, self.seconds = 150, 0.001
            self.pace = 10 ** rng.uniform(-2.5, -1.8)
        self.behaviour = {}
        self.entries = []
        self.known = {}
        self.outcomes = defaultdict(dict)
        self.settles = rng.random() < 0.5
        self.actions = defaultdict(int)
        self.checkpoints = {}
        self.stopped = False
        self.life = None
        self.lost_with_cause = False
        self.most_groups = 0
        span = self.steps * self.pace * self.lives
        for _ in range(1 if self.kind == "straggler" else rng.choice((1, 5, 10, 16))):
            self.at(rng.uniform(0, span), self.command)
        if self.kind == "any" and rng.random() < 0.2:
            self.at(rng.uniform(0.2, 1) * span / self.lives, self.append, Stop())

    def at(self, when, what, *arguments):
        self.count += 1
        heapq.heappush(self.heap, (when, self.count, what, arguments))

    # The operator.

    def command(self):
        rng = self.rng
        if self.stopped:
            return
        kind = rng.choice(("set",) * 8 + ("act",) * 3 + ("pause", "dry", "stop", "resume"))
        if self.kind == "restarts":
            kind = "set"
        at_step, targets, deadline = None, (), rng.choice((None, 60.0, 60.0, 600.0, 2.0))
        refuse = rng.randrange(self.ranks) if rng.random() < 0.12 else None
        fail = rng.randrange(self.ranks) if rng.random() < 0.15 else None
        if kind in {"set", "dry"}:
            names = rng.sample(NAMES[: 2 if self.kind == "restarts" else 3], rng.randint(1, 2))
            body = Set({name: len(self.entries) * 10 for name in names}, dry_run=kind == "dry")
            if kind == "set" and rng.random() < 0.3:
                at_step, deadline = rng.randrange(self.steps), None
        elif kind == "act":
            body = Act("evaluate")
        elif kind == "pause":
            body = Pause(rng.choice((None, None, 0.2, 20.0)))
            if body.lease is None:
                self.at(
                    self.now + rng.choice((0.01, 1.0, 1.0, 1.2 * PATIENCE)), self.append, Resume()
                )
        else:
            body = Stop() if kind == "stop" else Resume()
        if kind in {"act", "dry"} and rng.random() < 0.4:
            targets = (f"rank-{rng.randrange(self.ranks)}",)
        if not isinstance(body, (Set, Act)):
            fail = None
        self.append(
            body, at_step=at_step, targets=targets, deadline=deadline, behaviour=(refuse, fail)
        )

    def append(self, body, *, behaviour=(None, None), **fields):
        entry = Entry(id=f"x{len(self.entries) + 1}", author="op", body=body, **fields)
        self.behaviour[entry.id] = behaviour
        self.entries.append((entry, self.now))
        if self.life is not None:
            for trainer in self.life.trainers:
                self.at(self.now + self.rng.expovariate(20), self.bring, trainer, len(self.entries))

    # Sidecars.

    def bring(self, trainer, upto):
        """Everything up to an entry, in order: a sidecar reads the log as a whole."""
        if trainer.status != "running" or not trainer.read:
            return
        for sequence in range(trainer.read_to + 1, upto + 1):
            entry, appended = self.entries[sequence - 1]
            expires = None if entry.deadline is None else appended + entry.deadline
            self.hand_over(trainer, entry, sequence, expires)
        trainer.read_to = max(trainer.read_to, upto)

    def hand_over(self, trainer, entry, sequence, expires, *, earlier=False, begun=False):
        if entry.targets and trainer.name not in entry.targets and trainer.rank != 0:
            return
        trainer.inbox.append(Deliver(entry, Position("e", sequence), expires, earlier, begun))

    def read_log(self, trainer):
        """A sidecar of a new life reads what there is: what was applied, and what is undecided."""
        log = []
        everybody = tuple(f"rank-{rank}" for rank in range(self.ranks))
        for sequence, (issued, appended) in enumerate(self.entries, 1):
            before = appended <= trainer.life.began
            addressed = (issued.targets or everybody) if before else ()
            entry = replace(issued, addressed=addressed)
            expires = None if entry.deadline is None else appended + entry.deadline
            log.append(Logged(sequence, entry, expires))
            said = self.outcomes[entry.id]
            if said or (before and self.settles):
                log.append(Logged(sequence, self.settled(entry, said)))
        todo = plan(log, trainer.name, self.now, epoch="e", whole_log=True)
        trainer.inbox.append(todo.adopt.sets)
        for one in todo.deliver:
            self.hand_over(
                trainer, one.entry, one.sequence, one.expires, earlier=one.earlier, begun=one.begun
            )
        trainer.read, trainer.read_to = True, len(self.entries)

    def settled(self, entry, said):
        """How the weaver ends an entry: who died without a word is `unknown`."""
        outcomes = [
            Outcome(
                entry=entry.id, sequence=0, replica=name, incarnation="", kind=kind, order=order
            )
            for name, (kind, order) in said.items()
        ]
        outcomes += [
            Outcome(entry=entry.id, sequence=0, replica=name, incarnation="", kind="unknown")
            for name in entry.addressed
            if name not in said
        ]
        return Entry(id=f"end-{entry.id}", author="", body=Settled(entry.id, 0, tuple(outcomes)))

    def has_come(self, key, step):
        at_step = next(entry.at_step for entry, _ in self.entries if entry.id == key)
        return at_step is None or at_step <= step

    def entry_with(self, key, values):
        entry = next(each for each, _ in self.entries if each.id == key)
        return Entry(id=key, author="op", body=Set(values), at_step=entry.at_step)

    def report(self, trainer, ending):
        """An outcome is on its way to the log; it may be lost with its rank."""
        when = self.now + min(LAST, self.rng.expovariate(self.transit))
        self.at(when, self.store_outcome, trainer, ending)

    def store_outcome(self, trainer, ending):
        if trainer.deaf:
            return
        if trainer.status == "dead" and (trainer.life.loses or self.now > trainer.died + LAST):
            return
        applied = ending.verdict.kind == "applied"
        changes = {change.name: change.new for change in ending.verdict.changes}
        if ending.adopts:
            return
        key = ending.entry.id
        self.outcomes[key][trainer.name] = (ending.verdict.kind, ending.order)
        new = key not in self.known or ending.order > self.known[key][0]
        if applied and new and isinstance(ending.entry.body, Set):
            self.known[key] = (ending.order, ending.sequence, changes)

    # What trainers do.

    def save(self, trainer, step):
        if step % self.every == self.every - 1:
            saved = (dict(trainer.values), dict(trainer.agreement.decided))
            self.checkpoints.setdefault(step, {})[trainer.rank] = saved

    def count_action(self, trainer, key):
        self.actions[key, trainer.rank] += 1
        trainer.check(self.actions[key, trainer.rank] == 1, f"action {key} ran twice")

    def lost(self, trainer):
        """Agreement ended at a rank: there must be a cause, or somebody has finished."""
        life = trainer.life
        if any(each.status == "finished" for each in life.trainers):
            return
        self.find_lag(life)
        trainer.check(life.cause is not None, f"agreement lost: {trainer.agreement.off}")

    def find_lag(self, life):
        """Ranks further apart than patience are a cause of their own."""
        ticks = max(len(each.tick_times) for each in life.trainers)
        for tick in range(ticks):
            times = [
                each.tick_times[tick] if tick < len(each.tick_times) else each.came or self.now
                for each in life.trainers
            ]
            if max(times) - min(times) > 0.45 * PATIENCE:
                life.cause = life.cause or "ranks far apart"

    # The course of events.

    def run(self):
        for number in range(self.lives):
            last = number == self.lives - 1
            self.begin(number, calm=last and self.rng.random() < 0.7)
            self.live()
            self.check_life(self.life, last=last or self.stopped)
            if self.stopped or all(each.status == "finished" for each in self.life.trainers):
                break
            self.now += self.rng.choice((LAST, 3.0, 10.0))
        return self

    def begin(self, number, *, calm):
        rng = self.rng
        steps = [
            s
            for s, ranks in self.checkpoints.items()
            if len(ranks) == self.ranks and s + 1 < self.steps
        ]
        step = max(steps, default=-1)
        if rng.random() < 0.6:
            step = rng.choice([*steps, -1, -1])
        saved = self.checkpoints.get(step, {})
        self.checkpoints = {s: each for s, each in self.checkpoints.items() if s <= step}
        life = self.life = Life(self, number, step + 1)
        for rank in range(self.ranks):
            values, past = saved.get(rank, (dict.fromkeys(NAMES, 0), {}))
            trainer = Trainer(self, life, rank, values, past)
            trainer.skew = 1.0 if self.run_ahead is not None else rng.uniform(0.4, 2.0)
            trainer.deaf = False
            trainer.read, trainer.read_to = False, 0
            life.trainers.append(trainer)
        if not calm:
            self.trouble(life)
        for trainer in life.trainers:
            delay = rng.expovariate(3)
            if not calm and rng.random() < 0.03:
                delay, life.cause = rng.uniform(0.3, 3) * PATIENCE, "late to join"
            self.at(self.now + delay, self.advance, trainer)
            if number == 0:
                trainer.read = True
            when = self.now + rng.choice((0.0, 0.05, 0.5)) + rng.expovariate(5)
            self.at(when, self.read_log if number else self.bring, trainer, *self.so_far(number))

    def so_far(self, number):
        return () if number else (len(self.entries),)

    def trouble(self, life):
        rng = self.rng
        if rng.random() < 0.1:
            for trainer in life.trainers:
                trainer.deaf = True
        if life.number + 1 < self.lives and (self.kind == "restarts" or rng.random() < 0.7):
            span = (self.steps - life.first) * self.pace
            self.at(self.now + rng.uniform(0.4, 1.2) * span, self.crash, rng.choice(life.trainers))
        for _ in range(0 if self.kind == "restarts" else rng.choice((0, 1, 1, 2))):
            trainer = rng.choice(life.trainers)
            step = rng.randrange(life.first, self.steps)
            kind = rng.choice(("fault",) * 6 + ("leave", "mute", "skip", "skip", "handler"))
            if kind == "fault":
                trainer.fault = Fault(rng)
            elif kind == "handler":
                trainer.interrupt_run = rng.choice((1, 2, 4))
            elif kind == "leave":
                trainer.leave_at, life.cause = step, "a rank leaves"
            elif kind == "mute":
                trainer.mute_from, life.cause = step, "a rank polls no more"
            else:
                trainer.skip_at, life.cause = step, "a rank misses a poll"

    def crash(self, trainer):
        if trainer.status == "running" and not trainer.life.over:
            trainer.life.cause = trainer.life.cause or "crash"
            self.end(trainer, "dead")

    def live(self):
        life = self.life
        while self.heap:
            when, _, what, arguments = heapq.heappop(self.heap)
            self.require(when < self.now + 1e4 and self.count < MOST_EVENTS, "no end in sight")
            self.now = max(self.now, when)
            what(*arguments)
            if all(each.status != "running" for each in life.trainers):
                break
            if life.doomed_at is not None and self.now >= life.doomed_at:
                for each in life.trainers:
                    if each.status == "running":
                        each.status, each.died = "dead", self.now
                break
        life.over = True

    def advance(self, trainer):
        """Carry out what a rank asked for, and let it go on to the next thing."""
        if trainer.status != "running" or trainer.life.over:
            return
        request, answer = trainer.pending, None
        kind = type(request)
        fault = trainer.fault
        struck = fault is not None and request is not None and fault.strikes(request)
        if struck and not fault.after and self.strike(trainer, fault):
            return
        if kind in {Read, Add, Claim, Put, Delete}:
            answer = self.store.carry_out(request)
            if kind in {Add, Claim, Put} or (answer and request.key.endswith("/verdict")):
                trainer.waited = 0.0
        elif kind is Sleep and not request.paused:
            trainer.waited += request.seconds
            trainer.check(trainer.waited <= PATIENCE + 1, "waited beyond patience")
        if struck and fault.after and self.strike(trainer, fault, answer):
            return
        self.resume(trainer, answer)

    def strike(self, trainer, fault, answer=None):
        trainer.fault = None
        trainer.life.cause = f"{fault.kind} of rank {trainer.rank}"
        if fault.kind == "die":
            self.end(trainer, "dead")
            return True
        if fault.kind == "freeze":
            if fault.after:
                self.at(self.now + fault.seconds, self.resume, trainer, answer)
            else:
                self.at(self.now + fault.seconds, self.advance, trainer)
            return True
        trainer.interrupted = True
        if fault.kind == "lose":
            trainer.lost = True
            self.step_on(trainer, lambda: trainer.program.throw(StoreLostError()))
            return True
        trainer.program = trainer.agreement.leave("interrupted")
        trainer.pending = None
        self.resume(trainer, None)
        return True

    def resume(self, trainer, answer):
        if trainer.status != "running" or trainer.life.over:
            return
        self.step_on(trainer, lambda: trainer.program.send(answer))

    def step_on(self, trainer, program):
        try:
            request = program()
        except StopIteration:
            self.end(trainer, "finished")
            return
        except StoreLostError:
            # It cannot say that it leaves.
            trainer.agreement.break_off("its store is lost")
            self.end(trainer, "finished")
            return
        trainer.pending = request
        kind = type(request)
        if kind is Sleep:
            self.at(self.now + request.seconds, self.advance, trainer)
            if request.paused:
                self.watch_pause(trainer, request)
        elif kind is Train:
            self.at(self.now + self.training_time(trainer), self.advance, trainer)
        elif kind is Barrier:
            trainer.waiting_since = self.now
            self.release(trainer.life)
        else:
            self.at(self.now + self.rng.expovariate(1 / self.latency), self.advance, trainer)

    def training_time(self, trainer):
        rng = self.rng
        if rng.random() < 0.02:
            return rng.uniform(0, 0.3 * PATIENCE)
        return self.pace * trainer.skew * rng.uniform(0.8, 1.2)

    def watch_pause(self, trainer, request):
        """An operator who finds the job paused for long resumes it."""
        life = trainer.life
        life.paused = getattr(life, "paused", 0.0) + (request.seconds if trainer.rank == 0 else 0)
        if life.paused > OPERATOR_PATIENCE:
            life.paused = 0.0
            self.append(Resume())

    def release(self, life):
        """Let those go on that the collective does not hold."""
        inside = [each for each in life.trainers if each.status != "finished"]
        slowest = min((each.done for each in inside), default=0)
        for trainer in inside:
            if trainer.status != "running" or trainer.pending is not BARRIER:
                continue
            if self.run_ahead is None or trainer.done - self.run_ahead <= slowest:
                trainer.pending = None
                self.at(self.now, self.advance, trainer)

    def end(self, trainer, state):
        trainer.status, trainer.died = state, self.now
        life = trainer.life
        if state == "finished" and trainer.agreement.stop is not None:
            self.stopped = True
        if state == "dead" and life.doomed_at is None:
            life.doomed_at = self.now + self.rng.choice((0.05, 0.5, 5.0, 3 * PATIENCE))
            self.at(life.doomed_at, lambda: None)
        self.release(life)

    # What must hold.

    def check_life(self, life, *, last):
        trainers = life.trainers
        lists = [each.decided() for each in trainers]
        for trainer, mine in zip(trainers, lists, strict=True):
            if trainer.lost and mine and mine[-1][1] == "unknown":
                mine.pop()  # it cannot know what the others came to
        for one in lists:
            for other in lists:
                shared = min(len(one), len(other))
                self.require(one[:shared] == other[:shared], f"lists differ: {lists}")
        for trainer in trainers:
            self.check_trainer(trainer)
        self.find_lag(life)
        if life.cause is None:
            self.check_calm(life)
        if last and all(each.status == "finished" for each in trainers):
            self.check_settings(life)

    def check_trainer(self, trainer):
        if trainer.agreement._open is not None:
            trainer.check(trainer.status == "dead", "a transaction was left open")
            return
        values = dict(trainer.start_values)
        concluded = [e for e in trainer.endings.values() if e.order and e.verdict.kind == "applied"]
        seen = set()
        for ending in concluded:
            if ending.entry.id in trainer.past or id(ending) in seen:
                continue
            seen.add(id(ending))
            values.update({change.name: change.new for change in ending.verdict.changes})
        values.update(trainer.alone)
        trainer.check(values == trainer.values, f"values {trainer.values}, committed {values}")
        if trainer.status == "finished":
            # Its sidecar tells of what was to be adopted when training ended.
            missing = trainer.submitted - trainer.endings.keys() - trainer.agreement._spoken_for
            trainer.check(not missing, f"no outcome of {missing}")

    def check_calm(self, life):
        """Without a cause nothing is lost and nothing is refused."""
        for trainer in life.trainers:
            new = (each for key, each in trainer.endings.items() if key not in trainer.past)
            for ending in new:
                wanted = self.behaviour.get(ending.entry.id, (None, None)) == (None, None)
                if ending.order and wanted:
                    reason = ending.verdict.reason or ""
                    fine = ending.verdict.kind not in {"rejected", "failed"} or "passed" in reason
                    fine = fine or "is for all ranks" in reason
                    trainer.check(fine, f"{ending.entry.id} {ending.verdict}")
                if ending.order and not wanted and ending.verdict.kind in {"rejected", "failed"}:
                    named = "rank " in ending.verdict.reason or "passed" in ending.verdict.reason
                    trainer.check(named, f"nobody is named: {ending.verdict}")

    def check_settings(self, life):
        leader = life.trainers[0]
        if leader.deaf or (life.number and not leader.folded):
            return
        self.drain()
        # The checkpoint may know what the log has lost.
        known = {
            key: (past.order, 0, {change.name: change.new for change in past.changes})
            for key, past in leader.past.items()
            if past.kind == "applied"
        }
        values = dict.fromkeys(NAMES, 0)
        for _, _, changes in sorted({**known, **self.known}.values(), key=lambda each: each[0]):
            values.update(changes)
        for trainer in life.trainers:
            # Training ended before the next boundary.
            left = trainer.agreement.left_over(trainer.unadopted)
            early = END in trainer.agreement.off and (left or not trainer.folded)
            fits = trainer.interrupted or early or values == trainer.values
            trainer.check(fits, f"values {trainer.values}, the log {values}")

    def drain(self):
        """Let the outcomes that are on their way arrive."""
        while self.heap:
            when, _, what, arguments = heapq.heappop(self.heap)
            if what == self.store_outcome:
                self.now = max(self.now, when)
                what(*arguments)

    def require(self, condition, text):
        if not condition:
            raise BrokenError(f"life {self.life.number}: {text}")

"""A few ranks in lockstep over one store in memory, driven by a test step by step."""

from __future__ import annotations

from harness.ranks import MemoryStore
from weavelet.agreement import Agreement
from weavelet.keystore import Sleep
from weavelet.messages import Act, Change, Deliver, Entry, Position, Set
from weavelet.transaction import Verdict


class Rank:
    """A replica of three values, and what became of entries on it."""

    def __init__(self, circle, rank, **arguments):
        self.rank = rank
        self.values = {"lr": 0.1, "wd": 0.0, "clip": 1.0}
        self.endings = []
        self.refuses = None
        self.fails = None
        self.olds = ()
        self.agreement = Agreement(
            self,
            rank=rank,
            ranks=circle.size,
            name=f"rank-{rank}",
            incarnation=f"life{circle.lives}-{rank}",
            clock=lambda: circle.now,
            **arguments,
        )

    def validate(self, entry):
        return self.refuses

    def run(self, entry):
        match entry.body:
            case Set(values=values, dry_run=False):
                if self.fails:
                    return Verdict("failed", reason=self.fails)
                self.olds = {name: self.values.get(name) for name in values}
                changes = tuple(Change(n, self.olds[n], v) for n, v in values.items())
                self.values.update(values)
                return Verdict("applied", changes)
            case Act():
                return Verdict("applied", result=f"from {self.rank}")
        return Verdict("applied")

    def undo(self, entry):
        self.values.update(self.olds)

    def conclude(self, ending):
        self.endings.append(ending)

    @property
    def outcomes(self):
        return [(each.entry.id, each.verdict.kind, each.step) for each in self.endings]

    @property
    def last(self):
        return self.endings[-1].verdict


class Circle:
    """Ranks that poll together. `seconds` passes with each step; naps pass at once."""

    def __init__(self, size=3, *, seconds=0.02, store=None, **arguments):
        self.size = size
        self.now = 0.0
        self.seconds = seconds
        self.lives = 1 if store is None else 2
        self.store = store or MemoryStore()
        self.step = -1
        self.count = 0
        self.requests = 0
        self.ranks = [Rank(self, rank, **arguments) for rank in range(size)]
        self.while_paused = []

    @property
    def leader(self):
        return self.ranks[0]

    def submit(self, body, *, to=None, **fields):
        """Bring an entry to all ranks, or to some; returns its id."""
        self.count += 1
        more = {key: fields.pop(key) for key in ("expires", "begun") if key in fields}
        entry = Entry(id=f"x{self.count}", author="op", body=body, **fields)
        for rank in self.ranks if to is None else to:
            rank.agreement.submit(Deliver(entry, Position("e", self.count), **more))
        return entry.id

    def poll(self, steps=1, *, ranks=None):
        """Let the ranks poll so many steps; `while_paused` holds what to do in a pause."""
        for _ in range(steps):
            self.step += 1
            self.now += self.seconds
            self.drive(
                [
                    rank.agreement.poll()
                    for rank in (self.ranks if ranks is None else ranks)
                    if rank.agreement.tick(self.step)
                ]
            )

    def drive(self, programs):
        """Carry out computations in turns until all have ended."""
        answers = dict.fromkeys(programs)
        paused = 0
        while answers:
            for program, answer in list(answers.items()):
                try:
                    request = program.send(answer)
                except StopIteration:
                    del answers[program]
                    continue
                answers[program] = self.carry_out(request)
                paused += isinstance(request, Sleep) and request.paused
            if paused > 20 and self.while_paused:
                paused = 0
                self.while_paused.pop(0)()

    def carry_out(self, request):
        if isinstance(request, Sleep):
            self.now += request.seconds
            return None
        self.requests += 1
        return self.store.carry_out(request)

    def leave(self, rank, reason="done"):
        self.drive([rank.agreement.leave(reason)])

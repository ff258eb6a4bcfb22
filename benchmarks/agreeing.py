"""One of several gloo ranks: `python agreeing.py PORT RANK RANKS ROUNDS`; rank 0 prints JSON.

Each way to agree takes its turn for a round of steps. What is measured is the time inside it, after
a collective that has brought the ranks together, as in training.
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import time
from datetime import timedelta

import torch
from torch import distributed

from weavelet.agreement import Agreement
from weavelet.keystore import TorchStore, drive
from weavelet.messages import Deliver, Entry, Position, Set
from weavelet.transaction import Verdict

STEP_SECONDS = 0.01
STEPS = 100
SPACINGS = (1, 10, 25, 50)
EVERY = 50


class Replica:
    """Takes everything, touches nothing."""

    def validate(self, entry):
        return None

    def run(self, entry):
        return Verdict("applied")

    def undo(self, entry):
        pass

    def state(self):
        return ""

    def conclude(self, ending):
        pass


class Agreeing:
    """Agreement with boundaries `spacing` steps apart, or as it chooses where that is None."""

    def __init__(self, store, rank, ranks, *, spacing=None, entries=False):
        self.keys = TorchStore(store.clone())
        self.entries = entries and rank == 0
        self.step = -1
        self.agreement = Agreement(
            Replica(),
            rank=rank,
            ranks=ranks,
            name=f"rank-{rank}",
            incarnation=secrets.token_hex(8),
            clock=time.monotonic,
        )
        if spacing and rank == 0:
            planner = self.agreement._leader.planner
            planner.spacing = spacing
            planner.measure = lambda now: None

    def poll(self):
        self.step += 1
        if self.entries and self.step % EVERY == 0:
            entry = Entry(id=str(self.step), author="op", body=Set({"lr": self.step}))
            self.agreement.submit(Deliver(entry, Position("e", self.step + 1)))
        if self.agreement.tick(self.step):
            drive(self.agreement.poll(), self.keys, lambda nap: time.sleep(nap.seconds))


def object_list(rank):
    def poll():
        box = [None if rank else {"entries": []}]
        distributed.broadcast_object_list(box, src=0)

    return poll


def one_number():
    number = torch.zeros(1, dtype=torch.int64)
    return lambda: distributed.broadcast(number, src=0)


def main(port, rank, ranks, rounds):
    store = distributed.TCPStore("127.0.0.1", port, None, False, timedelta(seconds=60))
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    ways = {
        f"agreement, a boundary every {spacing} steps": Agreeing(
            store, rank, ranks, spacing=spacing
        ).poll
        for spacing in SPACINGS
    }
    ways["agreement"] = Agreeing(store, rank, ranks).poll
    ways["agreement, an entry every 50 steps"] = Agreeing(store, rank, ranks, entries=True).poll
    ways["broadcast of one number"] = one_number()
    ways["broadcast_object_list"] = object_list(rank)
    spent = {name: [] for name in ways}
    together = torch.zeros(1)
    for turn in range(rounds + 1):
        for name, poll in ways.items():
            inside = 0.0
            for _ in range(STEPS):
                time.sleep(STEP_SECONDS)
                distributed.all_reduce(together)
                began = time.perf_counter()
                poll()
                inside += time.perf_counter() - began
            if turn:
                spent[name].append(inside / STEPS * 1e6)
    boxes = [None] * ranks
    distributed.all_gather_object(boxes, spent)
    if rank == 0:
        merged = {name: [value for box in boxes for value in box[name]] for name in ways}
        json.dump({name: statistics.median(values) for name, values in merged.items()}, sys.stdout)
    distributed.barrier()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

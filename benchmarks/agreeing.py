"""One of several gloo ranks: `python agreeing.py PORT RANK RANKS ROUNDS`; rank 0 prints JSON.

Each way to agree takes its turn for a round of steps. What is measured is the time inside it, after
a collective that has brought the ranks together, as in training. "agreement" is `poll` of a session
with its sidecar; the variants with fixed boundaries are what it is made of.
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

import weavelet
from weavelet.agreement import Agreement
from weavelet.keystore import TorchStore, drive
from weavelet.testing import local_session
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
    """Agreement with boundaries `spacing` steps apart."""

    def __init__(self, store, rank, ranks, spacing):
        self.keys = TorchStore(store.clone(), f"every-{spacing}/")
        self.step = -1
        self.agreement = Agreement(
            Replica(),
            rank=rank,
            ranks=ranks,
            name=f"rank-{rank}",
            incarnation=secrets.token_hex(8),
            clock=time.monotonic,
        )
        if rank == 0:
            planner = self.agreement._leader.planner
            planner.spacing = spacing
            planner.measure = lambda now: None

    def poll(self):
        self.step += 1
        if self.agreement.tick(self.step):
            drive(self.agreement.poll(), self.keys, lambda nap: time.sleep(nap.seconds))


class Polling:
    """`poll` of a session, with a Set every 50 steps if it is one whose operator is here."""

    def __init__(self, session, *, entries=False):
        self.session = session.start()
        self.entries = entries
        self.step = -1
        value = [0]

        @session.handler("value", get=lambda: value[0])
        def set_value(new: int) -> None:
            value[0] = new

    def poll(self):
        self.step += 1
        if self.entries and self.step % EVERY == 0:
            self.session.push(value=self.step)
        self.session.poll(self.step)


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
        f"a boundary every {spacing} steps": Agreeing(store, rank, ranks, spacing).poll
        for spacing in SPACINGS
    }
    ways["agreement"] = Polling(weavelet.session(f"rank-{rank}")).poll
    ways["agreement, an entry every 50 steps"] = Polling(
        local_session(f"rank-{rank}"), entries=rank == 0
    ).poll
    ways["poll without agreement"] = Polling(weavelet.session(agreement="off")).poll
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

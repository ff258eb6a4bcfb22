"""One rank that trains nothing, over a real store: `python agreeing.py PORT RANK RANKS ENTRIES`.

Rank 0 has the entries decided; each prints what it came to as JSON: (tick, entry, kind, step).
"""

from __future__ import annotations

import json
import random
import secrets
import sys
import time
from datetime import timedelta

from torch.distributed import TCPStore

from weavelet.agreement import Agreement
from weavelet.keystore import TorchStore, drive
from weavelet.messages import Act, Change, Deliver, Entry, Position, Set
from weavelet.transaction import Verdict


class Replica:
    """Two values; every seventh Set fails on rank 1 and every eleventh is refused by rank 2."""

    def __init__(self, rank):
        self.rank = rank
        self.values = {"lr": 0, "wd": 0}
        self.olds = {}
        self.told = []
        self.agreement = None

    def validate(self, entry):
        refused = self.rank == 2 and int(entry.id) % 11 == 0
        return "not here" if refused else None

    def run(self, entry):
        if isinstance(entry.body, Act):
            return Verdict("applied", result=self.rank)
        if self.rank == 1 and int(entry.id) % 7 == 0:
            return Verdict("failed", reason="ValueError: seven")
        self.olds = dict(self.values)
        self.values.update(entry.body.values)
        changes = tuple(Change(k, self.olds[k], v) for k, v in entry.body.values.items())
        return Verdict("applied", changes)

    def undo(self, entry):
        self.values = dict(self.olds)

    def state(self):
        return repr(self.values)

    def conclude(self, ending):
        row = (self.agreement._tick, ending.entry.id, ending.verdict.kind, ending.step)
        self.told.append(row)


def entry(number):
    body = Act("look") if number % 5 == 0 else Set({("lr", "wd")[number % 2]: number})
    return Deliver(Entry(id=str(number), author="op", body=body), Position("e", number))


def main(port, rank, ranks, entries):
    store = TCPStore(
        "127.0.0.1", port, None, is_master=False, timeout=timedelta(seconds=30)
    ).clone()
    replica = Replica(rank)
    agreement = replica.agreement = Agreement(
        replica,
        rank=rank,
        ranks=ranks,
        name=f"rank-{rank}",
        incarnation=secrets.token_hex(8),
        clock=time.monotonic,
        patience=60.0,
        seconds=0.02,
    )
    rng = random.Random(rank)
    fed = 0
    keys = TorchStore(store)
    for step in range(2 * entries + 100):
        while rank == 0 and fed < min(entries, step) and rng.random() < 0.7:
            fed += 1
            agreement.submit(entry(fed))
        if agreement.tick(step):
            drive(agreement.poll(), keys, lambda nap: time.sleep(nap.seconds))
        time.sleep(rng.choice((0, 0, 0, 0.001, 0.004)))
    drive(agreement.leave("the end"), keys, lambda nap: time.sleep(nap.seconds))
    told = replica.told[:entries]
    json.dump({"told": told, "values": replica.values}, sys.stdout)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

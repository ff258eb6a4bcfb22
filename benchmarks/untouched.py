"""Steps of about 1 ms by torch alone: `python untouched.py SECONDS`, JSON out.

One network trains in blocks: without any hook, as `weavelet run` steers it, and without again. Out
come the seconds of CPU that each step took its thread: what other programs take from the machine
meanwhile is not ours.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from measure import until
from torch.optim import optimizer as hooked

import weavelet
from weavelet.integrations import auto

STEP_SECONDS = 1e-3
BLOCK = 50


class Training:
    """A small network, and as much arithmetic beside it as makes a step long enough."""

    def __init__(self, repeats: int) -> None:
        torch.manual_seed(0)
        self.repeats = repeats
        self.weight = torch.randn(128, 128)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4)

    def __call__(self) -> None:
        inputs = torch.randn(16, 64)
        for _ in range(self.repeats):
            torch.mm(self.weight, self.weight)
        self.optimizer.zero_grad()
        self.model(inputs).square().mean().backward()
        self.optimizer.step()


def timed(step: Callable[[], None]) -> list[float]:
    """The seconds of each step of a block."""
    clock = time.thread_time
    moments = [clock()]
    for _ in range(BLOCK):
        step()
        moments.append(clock())
    return [after - before for before, after in pairwise(moments)]


@contextmanager
def unhooked(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """As if torch had never been told of us."""
    tables = (
        hooked._global_optimizer_pre_hooks,
        hooked._global_optimizer_post_hooks,
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
    )
    kept = [dict(table) for table in tables]
    watched = vars(torch.Tensor)["backward"]
    for table in tables:
        table.clear()
    torch.Tensor.backward = watched.method
    yield
    for table, hooks in zip(tables, kept, strict=True):
        table.update(hooks)
    torch.Tensor.backward = watched


def main(seconds: float) -> None:
    torch.set_num_threads(1)
    repeats = 0
    while min(timed(Training(repeats))) < STEP_SECONDS:
        repeats += 1
    training = Training(repeats)
    auto.Steering().attach()
    training()
    session = weavelet.current()
    until(lambda: training() or session._safe_point.position is not None)
    blocks: dict[str, list[float]] = {"plain": [], "steered": [], "again": []}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        with unhooked(training.optimizer):
            blocks["plain"] += timed(training)
        blocks["steered"] += timed(training)
        with unhooked(training.optimizer):
            blocks["again"] += timed(training)
    json.dump(blocks, sys.stdout)


if __name__ == "__main__":
    main(float(sys.argv[1]))

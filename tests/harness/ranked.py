"""One of several ranks that train together, for torchrun: `ranked.py FOLDER [OPTIONS]`.

Each rank writes what it came to into FOLDER/rank-{rank}.json when it ends.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import random
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import weavelet


class Training:
    """A small model in DDP, its settings, and handlers that do not work on every rank."""

    def __init__(self, rank):
        torch.manual_seed(0)
        self.rank = rank
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.model = DistributedDataParallel(model)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        self.data = torch.Generator().manual_seed(rank)
        self.weak = 0

    @property
    def settings(self):
        return self.optimizer.param_groups[0]

    @weavelet.handler(get=lambda self: self.settings["lr"])
    def lr(self, value: Annotated[float, weavelet.Meta(gt=0, le=1)]) -> None:
        self.settings["lr"] = value

    @weavelet.handler(get=lambda self: self.settings["momentum"])
    def momentum(self, value: Annotated[float, weavelet.Meta(ge=0, lt=1)]) -> None:
        self.settings["momentum"] = value

    @weavelet.handler(get=lambda self: self.weak)
    def fragile(self, value: int) -> None:
        if value == self.rank:
            msg = f"{value} breaks it"
            raise RuntimeError(msg)
        self.weak = value

    @weavelet.action
    def where(self) -> int:
        return self.rank

    @weavelet.action
    def fail_on(self, rank: int) -> None:
        if rank == self.rank:
            msg = "asked to"
            raise RuntimeError(msg)

    def step(self):
        inputs = torch.randn(8, 4, generator=self.data)
        loss = self.model(inputs).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def parameters(self):
        data = b"".join(each.detach().numpy().tobytes() for each in self.model.parameters())
        return hashlib.sha256(data).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--skew", type=float, default=0.004, help="longest nap in a step, seconds")
    parser.add_argument("--timeout", type=float, default=60.0, help="of the group, seconds")
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--group-after", type=int, help="make the group before this step")
    parser.add_argument("--destroy-after", type=int, help="destroy the group before this step")
    parser.add_argument("--skip", type=int, help="the last rank polls no more from this step on")
    parser.add_argument("--unnamed", action="store_true", help="poll without the step")
    parser.add_argument("--checkpoint", type=Path, help="resume from it, and write it every step")
    parser.add_argument("--agreement", default="auto")
    parser.add_argument("--last-only", action="store_true", help="a control on the last rank alone")
    parser.add_argument("--nested", action="store_true", help="a second session inside")
    arguments = parser.parse_args()
    rank = int(os.environ["RANK"])
    logging.basicConfig(
        filename=arguments.folder / f"rank-{rank}.log", format="%(message)s", level=logging.INFO
    )
    torch.set_num_threads(1)
    Rank(arguments, rank).run()


class Rank:
    """One life of a rank: what the options ask for, and the settings that it came through."""

    def __init__(self, arguments, rank):
        self.arguments = arguments
        self.rank = rank
        self.is_last = rank == int(os.environ["WORLD_SIZE"]) - 1
        self.rng = random.Random(rank)
        self.first = 0
        self.changes = []
        self.training = None

    def run(self):
        arguments = self.arguments
        if arguments.group_after is None:
            self.make_group()
        replay = arguments.replay and str(arguments.replay)
        with weavelet.session(run="ranked", replay=replay, agreement=arguments.agreement) as w:
            if self.training is not None:
                self.declare(w)
            if arguments.nested:
                with weavelet.session(f"inner-{self.rank}", run="inner") as inner:
                    inner.handler("depth", type=int)(lambda value: None)
                    self.loop(w, inner)
            else:
                self.loop(w)
        self.write(w)
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def make_group(self):
        distributed.init_process_group("gloo", timeout=timedelta(seconds=self.arguments.timeout))
        self.training = Training(self.rank)

    def declare(self, w):
        w.register(self.training)
        if self.arguments.last_only and self.is_last:
            w.handler("mine", type=int)(lambda value: None)
        path = self.arguments.checkpoint
        if path is not None and path.exists():
            saved = json.loads(path.read_text())
            self.first = saved["step"]
            w.load_state_dict(saved["weavelet"])

    def loop(self, w, inner=None):
        arguments = self.arguments
        step = self.first
        # As in a loop that keeps its functions in variables.
        held = None if inner is None else inner.poll
        while step < arguments.steps:
            if step == arguments.group_after:
                self.make_group()
                self.declare(w)
            if step == arguments.destroy_after:
                distributed.destroy_process_group()
                self.training = None
            self.poll(w, step)
            if held is not None:
                held(step)
            self.work(w, step)
            step += 1

    def poll(self, w, step):
        if self.arguments.skip is not None and self.is_last and step >= self.arguments.skip:
            return
        made = w.poll() if self.arguments.unnamed else w.poll(step)
        self.changes += [[step, each.name, each.old, each.new] for each in made]

    def work(self, w, step):
        arguments = self.arguments
        if arguments.checkpoint is not None and self.rank == 0:
            partial = arguments.checkpoint.with_suffix(".partial")
            partial.write_text(json.dumps({"step": step, "weavelet": w.state_dict()}))
            partial.replace(arguments.checkpoint)
        if self.training is not None:
            w.report(step, loss=self.training.step())
        if arguments.skew:
            time.sleep(self.rng.choice((0, 0, 0.25, 1.0)) * arguments.skew)

    def write(self, w):
        said = {
            "changes": self.changes,
            "stopped": w.stopped,
            "parameters": None if self.training is None else self.training.parameters(),
            "lr": None if self.training is None else self.training.settings["lr"],
        }
        (self.arguments.folder / f"rank-{self.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()

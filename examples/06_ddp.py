"""Four processes that train one model: what is set comes at the same step on all of them.

weavelet up
torchrun --standalone --nproc-per-node=4 examples/06_ddp.py     # its job is a run of its own
weavelet set 06_ddp lr=0.01 momentum=0.9                        # applied at one step, or on no rank
"""

from __future__ import annotations

import argparse
import hashlib
from typing import Annotated

import torch
from sklearn.datasets import load_digits
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import weavelet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()

    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32)[rank::ranks] / 16
    labels = torch.tensor(digits.target)[rank::ranks]
    layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    model = DistributedDataParallel(layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = optimizer.param_groups[0]

    with weavelet.session() as w:

        @w.handler("lr", get=lambda: settings["lr"])
        def set_lr(value: Annotated[float, weavelet.Meta(gt=0, le=1)]) -> None:
            """Learning rate."""
            settings["lr"] = value

        @w.handler("momentum", get=lambda: settings["momentum"])
        def set_momentum(value: Annotated[float, weavelet.Meta(ge=0, lt=1)]) -> None:
            """Momentum of SGD."""
            settings["momentum"] = value

        for step in range(arguments.steps):
            for change in w.poll(step):  # the step is what the ranks agree on
                print(f"rank {rank}, step {step}: {change.name} {change.old} -> {change.new}")
            batch = torch.randint(0, len(images), (16,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss)

    parameters = b"".join(each.detach().numpy().tobytes() for each in layers.parameters())
    print(f"rank {rank}: parameters {hashlib.sha256(parameters).hexdigest()[:16]}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()

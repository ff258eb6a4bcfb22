"""LocalSGD: ranks train apart and average their parameters every `sync_every` steps, set live.

weavelet up
torchrun --nproc-per-node 2 examples/13_local_sgd.py
weavelet set 13_local_sgd sync_every=32

All ranks change `sync_every` at the same step: if one did so a step later, it would wait for ever
in an average to which the others do not come.
"""

from __future__ import annotations

import argparse
from typing import Annotated

import torch
from sklearn.datasets import load_digits
from torch import distributed

import weavelet
from weavelet.integrations.torch import bind


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    arguments = parser.parse_args()

    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shuffle = torch.Generator().manual_seed(rank)
    sync_every = 8
    apart = averages = 0

    with weavelet.session() as w:
        bind(w, optimizer=optimizer)

        @w.handler("sync_every", get=lambda: sync_every, unit="steps")
        def set_sync_every(value: Annotated[int, weavelet.Meta(ge=1, le=1000)]) -> None:
            """Steps between two averages."""
            nonlocal sync_every
            sync_every = value

        for step in range(arguments.steps):
            w.poll(step)
            batch = torch.randint(rank, 1500, (32,), generator=shuffle)
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            apart += 1
            if apart >= sync_every:
                average(model, ranks)
                apart, averages = 0, averages + 1
            w.report(step, loss=loss, averages=averages, sync_every=sync_every)

    average(model, ranks)
    right = model(images[1500:]).argmax(1) == labels[1500:]
    print(f"rank {rank}: accuracy {right.float().mean():.3f}, {averages} averages")
    distributed.destroy_process_group()


def average(model: torch.nn.Module, ranks: int) -> None:
    """Give all ranks the mean of their parameters."""
    for parameter in model.parameters():
        distributed.all_reduce(parameter.data)
        parameter.data /= ranks


if __name__ == "__main__":
    main()
